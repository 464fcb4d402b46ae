#pragma once

#include <httplib.h>

#include <chrono>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>

namespace qwen35::load {

using Clock = std::chrono::steady_clock;

/// What every request asks for.
struct RequestShape {
  std::string url;                                   ///< e.g. "http://127.0.0.1:8080"
  std::string api_key;                               ///< "": none
  nlohmann::json fields = nlohmann::json::object();  ///< of each request beside messages and stream
  double timeout_seconds = 600;
  int retries = 10;  ///< after 429 and 503, when the server says it is time; 0: none
};

/// What became of one request. Times are milliseconds from when it was due.
struct Outcome {
  std::string error;  ///< "": a whole reply; else "429", "cut", "connection refused" and the like
  std::string text;
  double first_ms = 0;  ///< to the first piece of thinking or answer
  double total_ms = 0;
  double stream_ms = 0;    ///< between the first piece and the end
  std::size_t tokens = 0;  ///< generated, as the server counts them
  std::size_t prompt_tokens = 0;
  std::size_t cached_tokens = 0;
  int retries = 0;
  Clock::time_point began;  ///< when it was due
};

/// One connection to the server, kept open between requests. For one thread.
class LoadClient {
 public:
  explicit LoadClient(const RequestShape& shape);
  /// Sends a streamed chat request and reads it to its end. `due`: when it should have been sent, which may be a while
  /// ago: a client that comes late must not make the server look fast.
  Outcome send(const nlohmann::json& messages, Clock::time_point due);

 private:
  /// Returns the seconds after which the server wants to be asked again; negative: it does not.
  double attempt(const std::string& body, Outcome& outcome);

  const RequestShape& shape_;
  httplib::Client client_;
};

}  // namespace qwen35::load
