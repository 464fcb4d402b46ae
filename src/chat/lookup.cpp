#include "chat/lookup.h"

#include <algorithm>

namespace qwen35 {
namespace {

constexpr std::size_t kLongestPause = 64;

std::uint64_t hash_of(std::span<const TokenId> tokens) {
  std::uint64_t hash = 0;
  for (const TokenId id : tokens) hash = (hash ^ static_cast<std::uint32_t>(id)) * 0x9E3779B97F4A7C15U;
  return hash ^ (hash >> 32);
}

}  // namespace

std::span<const TokenId> Lookup::guess(std::span<const TokenId> tokens, std::size_t most) {
  guesses_.clear();
  if (tokens.size() < kMatch) return guesses_;
  index(tokens.first(tokens.size() - 1));  // its own end is no past
  if (pause_ > 0) {
    --pause_;
    return guesses_;
  }
  const auto last = tokens.last(kMatch);
  const auto found = ends_.find(hash_of(last));
  if (found == ends_.end()) return guesses_;
  const std::size_t end = found->second;
  if (!std::equal(last.begin(), last.end(), tokens.begin() + static_cast<std::ptrdiff_t>(end - kMatch)))
    return guesses_;
  const std::size_t count = std::min({most, length_, tokens.size() - end});
  guesses_.assign(tokens.begin() + static_cast<std::ptrdiff_t>(end),
                  tokens.begin() + static_cast<std::ptrdiff_t>(end + count));
  return guesses_;
}

void Lookup::learn(std::size_t guessed, std::size_t right) {
  if (guessed == 0) return;
  if (right == guessed) {
    length_ = std::min<std::size_t>(2 * length_, 64);
    patience_ = 8;
  } else if (right == 0) {
    length_ = 2;
    pause_ = patience_;
    patience_ = std::min(2 * patience_, kLongestPause);
  } else {
    length_ = std::max<std::size_t>(right + 1, 2);
  }
}

void Lookup::reset() {
  ends_.clear();
  indexed_ = 0;
}

void Lookup::index(std::span<const TokenId> tokens) {
  for (indexed_ = std::max(indexed_, kMatch - 1); indexed_ < tokens.size(); ++indexed_) {
    ends_[hash_of(tokens.subspan(indexed_ + 1 - kMatch, kMatch))] = static_cast<std::uint32_t>(indexed_ + 1);
  }
}

}  // namespace qwen35
