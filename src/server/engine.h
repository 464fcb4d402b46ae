#pragma once

#include <qwen35/chat.h>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qwen35::server {

/// What the loaded model takes of the machine, at most.
struct MemoryPlan {
  std::size_t weights = 0;      ///< bytes of model and tokenizer
  std::size_t per_request = 0;  ///< bytes of one state in a full context, with logits
  std::size_t session = 0;      ///< LoadOptions::session_memory
};

/// The one loaded model, and a conversation of its own for each generation that runs: what one request computed is
/// found by the next through the checkpoints that all share. Thread-safe.
class Engine {
 public:
  /// `chat`: freshly loaded, no conversation in it.
  Engine(Chat chat, MemoryPlan memory) : chat_(std::move(chat)), info_(chat_.info()), memory_(memory) {}

  /// An empty conversation; for one thread.
  [[nodiscard]] Chat conversation() {
    const std::lock_guard hold(mutex_);
    return chat_.fork();
  }
  [[nodiscard]] const ModelInfo& info() const { return info_; }
  [[nodiscard]] const MemoryPlan& memory() const { return memory_; }

  [[nodiscard]] std::vector<std::int32_t> tokenize(std::string_view text, bool special) const {
    return chat_.tokenize(text, special);
  }
  [[nodiscard]] std::string detokenize(std::span<const std::int32_t> tokens) const { return chat_.detokenize(tokens); }

 private:
  std::mutex mutex_;
  Chat chat_;
  const ModelInfo info_;
  const MemoryPlan memory_;
};

}  // namespace qwen35::server
