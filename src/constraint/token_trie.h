#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/token.h"
#include "text/tokenizer.h"

namespace qwen35 {

/// The bytes of a vocabulary's tokens as a tree, in preorder: a node's subtree is a run of nodes, its tokens a run of
/// tokens. Added tokens and tokens without bytes are not in it. Immutable.
class TokenTrie {
 public:
  explicit TokenTrie(const Tokenizer& tokenizer);
  /// `size` ids; `bytes_of` gives a token's bytes, "" for one that must never be chosen. For other vocabularies and
  /// tests.
  TokenTrie(std::size_t size, const std::function<std::string_view(TokenId)>& bytes_of);

  /// One more than the largest id, as of the tokenizer.
  [[nodiscard]] std::size_t vocabulary_size() const { return vocabulary_size_; }
  /// Bytes of the longest token.
  [[nodiscard]] std::size_t longest() const { return longest_; }
  /// The bytes of a token; "" for one that is not in the tree or out of range.
  [[nodiscard]] std::string_view bytes(TokenId id) const;
  [[nodiscard]] std::size_t memory_bytes() const;

  // Nodes. 0 is the root; the children of `n` begin at n + 1.
  [[nodiscard]] std::uint32_t end(std::uint32_t node) const { return ends_[node]; }
  [[nodiscard]] std::uint8_t byte(std::uint32_t node) const { return bytes_[node]; }
  [[nodiscard]] std::uint8_t depth(std::uint32_t node) const { return depths_[node]; }
  /// The tokens whose bytes lead exactly to `node`.
  [[nodiscard]] std::span<const TokenId> tokens(std::uint32_t node) const {
    return std::span(tokens_).subspan(first_token_[node], first_token_[node + 1] - first_token_[node]);
  }
  [[nodiscard]] std::size_t node_count() const { return bytes_.size(); }
  /// All tokens in the tree.
  [[nodiscard]] std::span<const TokenId> all_tokens() const { return tokens_; }
  [[nodiscard]] std::optional<std::uint32_t> child(std::uint32_t node, std::uint8_t byte) const;

 private:
  void build(const std::function<std::string_view(TokenId)>& bytes_of);

  std::size_t vocabulary_size_ = 0;
  std::size_t longest_ = 0;
  std::vector<std::uint8_t> bytes_;           ///< of each node
  std::vector<std::uint8_t> depths_;          ///< of each node
  std::vector<std::uint32_t> ends_;           ///< behind each node's subtree
  std::vector<std::uint32_t> first_token_;    ///< of each node, and the end
  std::vector<TokenId> tokens_;               ///< in order of their bytes
  std::vector<std::uint32_t> root_children_;  ///< by byte; 0 = none
  std::vector<char> text_;                    ///< the tokens' bytes in order of ids
  std::vector<std::uint32_t> text_at_;        ///< of each id, and the end
};

}  // namespace qwen35
