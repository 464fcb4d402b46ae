#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace qwen35::server {

/// What is known of one request when its answer has been written: for the log and the metrics.
struct RequestNotes {
  std::chrono::steady_clock::time_point began = std::chrono::steady_clock::now();
  std::string id;               ///< ours, or the client's X-Request-Id made harmless
  std::string route = "other";  ///< one of a fixed set, never what a client wrote
  std::string outcome;          ///< of a generation: its finish reason, "error", or "" for all else
  double queue_ms = 0;
  double first_token_ms = 0;  ///< 0: there was none
  std::size_t prompt_tokens = 0;
  std::size_t reused_tokens = 0;
  std::size_t generated_tokens = 0;
  std::string prompt;  ///< filled only where prompts may be logged
};

}  // namespace qwen35::server
