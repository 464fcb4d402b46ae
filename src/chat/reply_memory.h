#pragma once

#include <qwen35/message.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "base/token.h"

namespace qwen35 {

/// FNV-1a over token ids, as they are fed.
class TokenHash {
 public:
  void add(std::span<const TokenId> tokens) {
    for (const TokenId id : tokens) value_ = (value_ ^ static_cast<std::uint32_t>(id)) * 1099511628211U;
    count_ += tokens.size();
  }
  bool operator==(const TokenHash&) const = default;

 private:
  std::uint64_t value_ = 14695981039346656037U;
  std::size_t count_ = 0;
};

/// Replies in the tokens that they were sampled as, found by the tokens that stood before them and by their text. The
/// template would render them otherwise (without their thinking, split into other tokens), and everything after them
/// would have to be computed again. The oldest go when there are more than kMostTokens.
class ReplyMemory {
 public:
  static constexpr std::size_t kMostTokens = std::size_t{1} << 18;

  struct Reply {
    TokenHash before;             ///< of all tokens before the reply's <|im_start|>assistant
    Message message;              ///< with its thinking
    std::vector<TokenId> tokens;  ///< from there to the "\n" behind its <|im_end|>
  };

  void remember(Reply reply);
  /// The reply to what `before` stands for that a caller would call `given` (see same_message); null: none.
  [[nodiscard]] const Reply* find(const TokenHash& before, const Message& given) const;
  void clear();

 private:
  std::deque<Reply> replies_;  ///< oldest first
  std::size_t tokens_ = 0;
};

/// Whether a caller that gives `given` back means the message we kept: role and content are the same, of a reply also
/// its tool calls; white space around a reply and its thinking do not count.
bool same_message(const Message& kept, const Message& given);

}  // namespace qwen35
