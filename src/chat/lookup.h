#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/token.h"

namespace qwen35 {

/// Guesses the next tokens of a text from its own past (prompt lookup decoding, Saxena 2023): where its last few tokens
/// stood before, it may go on as it did then. Whoever uses the guesses checks them against the model, so a wrong one
/// costs time and nothing else; after wrong ones it guesses less, or for a while not at all.
class Lookup {
 public:
  /// Tokens that must be the same for a guess.
  static constexpr std::size_t kMatch = 3;

  /// Up to `most` guesses for what follows `tokens`, the whole text so far: it only grows between calls, but for
  /// reset().
  std::span<const TokenId> guess(std::span<const TokenId> tokens, std::size_t most);
  /// How many of the last guesses were right.
  void learn(std::size_t guessed, std::size_t right);
  void reset();

 private:
  void index(std::span<const TokenId> tokens);

  /// Hash of kMatch tokens → where they last ended.
  std::unordered_map<std::uint64_t, std::uint32_t> ends_;
  std::size_t indexed_ = 0;  ///< tokens whose n-grams are in `ends_`
  std::vector<TokenId> guesses_;
  std::size_t length_ = 2;    ///< guesses made at once
  std::size_t pause_ = 0;     ///< calls to come without a guess
  std::size_t patience_ = 8;  ///< how long the next pause is
};

}  // namespace qwen35
