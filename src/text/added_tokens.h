#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/token.h"

namespace qwen35 {

/// Finds added tokens in text: the leftmost, and of those that begin there the longest.
class AddedTokenMatcher {
 public:
  struct Match {
    std::size_t begin;
    std::size_t end;
    TokenId id;
  };

  /// `content` is not empty and at most `longest_content` bytes, which bounds the work a byte of text can cost.
  void add(std::string content, TokenId id);
  /// To be called once after the last add().
  void finish();

  [[nodiscard]] bool empty() const { return tokens_.empty(); }
  /// The first match at or behind `from` that ends at or before `end`.
  [[nodiscard]] std::optional<Match> find(std::string_view text, std::size_t from, std::size_t end) const;
  /// The id of the token that is exactly `content`.
  [[nodiscard]] std::optional<TokenId> exact(std::string_view content) const;
  [[nodiscard]] std::size_t memory_bytes() const;

  static constexpr std::size_t longest_content = 256;

 private:
  struct Token {
    std::string content;
    TokenId id;
  };
  std::vector<Token> tokens_;     ///< sorted by content
  std::vector<bool> first_byte_;  ///< 256: whether a token begins with the byte
};

}  // namespace qwen35
