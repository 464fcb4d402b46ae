#pragma once

#include <qwen35/message.h>

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/token.h"

namespace qwen35 {

/// What stands for all tokens before a place: their number and a hash of 128 bits, keyed with a secret of this process,
/// so that nobody who sends requests can make two beginnings look alike. Means nothing to another process.
struct PrefixKey {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  std::size_t tokens = 0;
  bool operator==(const PrefixKey&) const = default;
};

/// Takes tokens as they are fed, in any portions, and gives the key of those so far.
class TokenHash {
 public:
  TokenHash();
  ~TokenHash();
  TokenHash(const TokenHash&) = delete;
  TokenHash& operator=(const TokenHash&) = delete;

  void add(std::span<const TokenId> tokens);
  [[nodiscard]] PrefixKey key() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
  std::size_t count_ = 0;
};

/// Replies in the tokens that they were sampled as, found by the tokens that stood before them and by their text. The
/// template would render them otherwise (without their thinking, split into other tokens), and everything after them
/// would have to be computed again. All conversations over one model share one: whoever continues a conversation finds
/// its replies, and who sends another beginning finds none of them. Those longest unused go when there are more than
/// kMostTokens. Thread-safe.
class ReplyMemory {
 public:
  static constexpr std::size_t kMostTokens = std::size_t{1} << 20;

  struct Reply {
    PrefixKey before;             ///< of all tokens before the reply's <|im_start|>assistant
    Message message;              ///< with its thinking
    std::vector<TokenId> tokens;  ///< from there to the "\n" behind its <|im_end|>
  };

  /// `most_tokens`: kept together, but for the last reply, which is kept whatever its length.
  explicit ReplyMemory(std::size_t most_tokens = kMostTokens) : most_tokens_(most_tokens) {}

  /// Takes the place of a reply that a caller could not tell from this one.
  void remember(Reply reply);
  /// The reply to what `before` stands for that a caller would call `given` (see same_message); null: none.
  [[nodiscard]] std::shared_ptr<const Reply> find(const PrefixKey& before, const Message& given);
  void clear();
  [[nodiscard]] std::size_t tokens() const;

 private:
  using Replies = std::list<std::shared_ptr<const Reply>>;
  struct KeyHash {
    std::size_t operator()(const PrefixKey& key) const { return key.low; }
  };

  [[nodiscard]] Replies::iterator place(const PrefixKey& before, const Message& given);
  void drop(Replies::iterator reply);

  mutable std::mutex mutex_;
  const std::size_t most_tokens_;
  Replies replies_;  ///< the longest unused first
  std::unordered_multimap<PrefixKey, Replies::iterator, KeyHash> places_;
  std::size_t tokens_ = 0;
};

/// Whether a caller that gives `given` back means the message we kept: role and content are the same, of a reply also
/// its tool calls; white space around a reply and its thinking do not count.
bool same_message(const Message& kept, const Message& given);

}  // namespace qwen35
