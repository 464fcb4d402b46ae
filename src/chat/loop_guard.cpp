#include "chat/loop_guard.h"

#include <algorithm>

namespace qwen35 {
namespace {

constexpr std::uint64_t kFactor = 0x9E3779B97F4A7C15U;

constexpr std::uint64_t power(std::uint64_t base, std::size_t exponent) {
  std::uint64_t result = 1;
  for (; exponent > 0; --exponent) result *= base;
  return result;
}

std::uint64_t digit(TokenId token) { return static_cast<std::uint32_t>(token) + std::uint64_t{1}; }

}  // namespace

LoopGuard::Loop LoopGuard::push(TokenId token) {
  if (loop_ != Loop::none) return loop_;
  tokens_.push_back(token);
  const std::size_t longest = std::min(kLongestPeriod, tokens_.size() - 1);
  for (std::size_t period = 1; period <= longest; ++period) {
    matched_[period] = token == back(period) ? matched_[period] + 1 : 0;
    if (period_ == 0 && repeats(period)) period_ = period;
  }
  if (period_ != 0) {
    loop_ = Loop::repetition;
  } else if (note_gram()) {
    loop_ = Loop::no_progress;
  }
  return loop_;
}

bool LoopGuard::repeats(std::size_t period) const {
  const std::size_t length = matched_[period] + period;
  if (length < std::max(kLeastTokens, kLeastRepeats * period)) return false;
  if (length >= kLeastPlainTokens) return true;
  std::array<TokenId, kVariedTokens> different{};
  std::size_t count = 0;
  for (std::size_t i = 0; i < period && count < kVariedTokens; ++i) {
    const auto end = different.begin() + static_cast<std::ptrdiff_t>(count);
    if (std::find(different.begin(), end, back(i)) == end) different[count++] = back(i);
  }
  return count == kVariedTokens;
}

/// Counts the kGram tokens that end here. True: the reply makes no progress.
bool LoopGuard::note_gram() {
  constexpr std::uint64_t oldest = power(kFactor, kGram);
  hash_ = hash_ * kFactor + digit(back(0));
  if (tokens_.size() > kGram) hash_ -= digit(back(kGram)) * oldest;
  bool stale = false;
  const auto here = static_cast<std::uint32_t>(tokens_.size());
  if (tokens_.size() >= kGram) {
    Seen& seen = grams_[hash_ ^ (hash_ >> 32)];
    stale = seen.times >= kStaleSeen;
    if (seen.times == 0 || here - seen.last >= kGram) {
      ++seen.times;
      seen.last = here;
    }
  }
  bool& slot = stale_[tokens_.size() % kWindow];
  stale_count_ = stale_count_ + (stale ? 1 : 0) - (slot ? 1 : 0);
  slot = stale;
  return stale_count_ >= kStaleTokens;
}

}  // namespace qwen35
