#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "base/token.h"

namespace qwen35 {

/// One State and the timeline of tokens that were really fed to it. Owns the state; the backend must outlive the
/// session. Not thread-safe.
class Session {
 public:
  explicit Session(Backend& backend);

  /// Tokens the state holds, in order; always equal in number to the state's position.
  [[nodiscard]] std::span<const TokenId> timeline() const { return timeline_; }
  [[nodiscard]] std::size_t position() const { return timeline_.size(); }

  /// Prepares for feeding the rest of `tokens`: keeps the timeline when it is a proper prefix of them, else empties the
  /// state, because S cannot be run backwards. Returns how many tokens are kept. Restoring a snapshot at the longest
  /// common prefix belongs here.
  std::size_t align(std::span<const TokenId> tokens);

  /// Feeds `tokens` in slices and leaves the last one's logits in logits(). Returns false when `cancelled` was seen
  /// before a slice: what was fed until then stays in the timeline. Throws what Backend::forward throws; the next
  /// align() then starts afresh, because a pass that failed midway leaves a state nobody can vouch for.
  bool feed(std::span<const TokenId> tokens, const std::atomic<bool>& cancelled);

  /// vocab_size logits of the last token fed; scratch for the sampler.
  [[nodiscard]] std::span<float> logits() { return logits_; }

  /// Bytes of state and buffers.
  [[nodiscard]] std::size_t memory_bytes() const;

  /// Most tokens in one forward pass: a cancel waits at most this long during prefill.
  static constexpr std::size_t kSlice = 256;

 private:
  void reset();

  Backend& backend_;
  std::unique_ptr<State> state_;
  std::vector<TokenId> timeline_;
  std::vector<float> logits_;
  bool broken_ = false;
};

}  // namespace qwen35
