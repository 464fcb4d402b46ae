#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace qwen35 {

/// How a model is loaded. Defaults suit a desktop or a small board.
struct LoadOptions {
  int threads = 0;               ///< compute threads, the caller's included; 0: one for each core this process may use
  std::string backend = "auto";  ///< "auto", "cpu" (fast) or "reference" (scalar, float32: the readable definition)
  bool float32 = false;          ///< cpu: float32 arithmetic on the stored weights instead of quantised activations
  std::size_t context = 0;       ///< most tokens a conversation may hold; 0: the model's own limit
};

/// How one reply is produced.
struct GenerateOptions {
  /// Replaces the conversation's system message; nullopt keeps it, "" removes it.
  std::optional<std::string> system_prompt = {};
  float temperature = 0.6F;                ///< 0: greedy; otherwise in (0, 100]
  int top_k = 50;                          ///< 0: off
  float top_p = 0.95F;                     ///< in (0, 1]; 1: off
  int max_tokens = 512;                    ///< of the answer, at least 1; thinking is counted apart
  float repetition_penalty = 1.1F;         ///< in (0, 100]; 1: off; control tokens are exempt
  int repetition_window = 64;              ///< tokens of prompt and reply it looks back over, 0 to 1048576
  bool enable_thinking = true;             ///< let the model think between <think> and </think> first
  int max_thinking_tokens = 100;           ///< then </think> is forced and the answer gets its tokens; 0: none
  std::optional<std::uint64_t> seed = {};  ///< repeatable on one backend; nullopt: drawn from the system
  std::string tools = {};                  ///< JSON array of tool definitions (OpenAI form) for this call; "": none
};

}  // namespace qwen35
