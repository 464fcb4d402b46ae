#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/token.h"

namespace qwen35 {

/// Notices that a reply goes in circles. It sees the tokens one by one, at about 64 comparisons each, and errs on the
/// side of patience: a cut good reply is worse than a loop that ends some tokens later. Two kinds are told apart:
///
/// * repetition: the tail repeats the same 1 to 64 tokens word for word, at least 4 times and over at least 128 tokens.
///   Where fewer than 8 different tokens repeat it must be 256 tokens: rulers, laughter, tables of equal cells and
///   grids of zeros (8 × 8 at three tokens a cell) are such and are no loops. So a loop of period p is noticed within
///   max(256, 4p) tokens. Lists that count, similar items and indentation do not repeat word for word and never match.
/// * no progress: a longer circle, or one with small changes. A token is stale when the 24 tokens that end in it came
/// at
///   least 4 times before, apart from each other. When three quarters of the last 256 tokens are stale, the reply has
///   said nothing new. A circle of period p is noticed within 5p + 256 tokens. A form filled in again and again passes
///   as long as something new comes at least every 90 tokens.
///
/// A plain value. Counting starts anew with a new object, as a reply does when its thinking ends.
class LoopGuard {
 public:
  static constexpr std::size_t kLongestPeriod = 64;
  static constexpr std::size_t kLeastRepeats = 4;
  static constexpr std::size_t kLeastTokens = 128;  ///< that repeat, first time included
  static constexpr std::size_t kVariedTokens = 8;   ///< a period with fewer different ones is plain
  static constexpr std::size_t kLeastPlainTokens = 256;
  static constexpr std::size_t kGram = 24;
  static constexpr std::size_t kStaleSeen = 4;
  static constexpr std::size_t kWindow = 256;
  static constexpr std::size_t kStaleTokens = 192;  ///< of the window

  enum class Loop { none, repetition, no_progress };

  /// Adds the next token of the reply and says whether it is in a loop; what it said once it goes on saying.
  Loop push(TokenId token);
  [[nodiscard]] Loop loop() const { return loop_; }
  /// Of a repetition: the tokens of one round. 0 otherwise.
  [[nodiscard]] std::size_t period() const { return period_; }

 private:
  struct Seen {
    std::uint32_t times = 0;
    std::uint32_t last = 0;  ///< where it ended the last time that counted
  };

  [[nodiscard]] TokenId back(std::size_t distance) const { return tokens_[tokens_.size() - 1 - distance]; }
  [[nodiscard]] bool repeats(std::size_t period) const;
  bool note_gram();

  std::vector<TokenId> tokens_;
  std::array<std::uint32_t, kLongestPeriod + 1>
      matched_{};           ///< by period p: tokens at the end equal to the p-th before
  std::uint64_t hash_ = 0;  ///< of the last kGram tokens
  std::unordered_map<std::uint64_t, Seen> grams_;
  std::array<bool, kWindow> stale_{};  ///< of the last kWindow tokens, a ring
  std::size_t stale_count_ = 0;
  Loop loop_ = Loop::none;
  std::size_t period_ = 0;
};

}  // namespace qwen35
