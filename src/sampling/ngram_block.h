#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/token.h"

namespace qwen35 {

/// Keeps any n tokens in a row from coming twice in a reply (Paulus et al. 2017, as `no_repeat_ngram_size` elsewhere).
/// A step costs O(n) and the tokens it bans. A plain value: a copy goes on by itself, pop() takes tokens back.
class NgramBlock {
 public:
  /// `n`: 2 to 256, or 0: never bans. Throws invalid_argument.
  explicit NgramBlock(int n);

  /// Adds the next token of the reply.
  void push(TokenId token);
  /// Takes the last `count` tokens back; all, if there are no more.
  void pop(std::size_t count);
  [[nodiscard]] std::size_t size() const { return tokens_.size(); }

  /// The tokens that must not come next: after the last n - 1 tokens they have come before. Valid until the next call
  /// of a member that changes this object. Tokens that are exempt (the end of a turn) are the caller's to leave out.
  [[nodiscard]] std::span<const TokenId> banned();
  /// Sets the logits of banned() to -infinity; ids outside `logits` are passed over. Returns how many that were.
  std::size_t ban(std::span<float> logits);

 private:
  static constexpr std::uint32_t kNone = 0xFFFFFFFFU;

  [[nodiscard]] std::uint64_t hash_before(std::size_t position) const;
  [[nodiscard]] bool same_context(std::size_t a, std::size_t b) const;

  std::size_t context_;  ///< n - 1; 0: off
  std::vector<TokenId> tokens_;
  /// By hash of n - 1 tokens: the last position that followed such a hash. From there earlier_ leads to the others.
  std::unordered_map<std::uint64_t, std::uint32_t> latest_;
  std::vector<std::uint32_t> earlier_;  ///< by position
  std::vector<TokenId> banned_;
};

}  // namespace qwen35
