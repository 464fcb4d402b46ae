#pragma once

#include <cstddef>
#include <limits>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/token.h"
#include "constraint/grammar.h"
#include "constraint/stacks.h"
#include "constraint/token_trie.h"

namespace qwen35 {

/// One reply's place in a grammar. Every text it lets through can be brought to an end. A value: a copy is cheap (a few
/// hundred bytes), goes its own way, and is how tokens are tried. One thread at a time; copies are independent.
class Constraint {
 public:
  static constexpr std::size_t no_budget = std::numeric_limits<std::size_t>::max();

  /// `ends`: tokens that end a reply (<|im_end|>), outside the trie. Throws invalid_argument when the vocabulary lacks
  /// a token for a single byte that the grammar may need.
  Constraint(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTrie> trie,
             std::vector<TokenId> ends = {});

  /// Sets every illegal token's logit to -infinity: tokens that the text cannot go on with, added tokens, tokens
  /// without bytes, ids beyond the vocabulary. `ends` are legal exactly when the text may end here.
  ///
  /// `budget`: how many tokens of text may still come, this one included; `ends` do not count. Tokens behind which the
  /// shortest ending would not fit are illegal too. A reply that starts with budget >= ending_size() and counts it down
  /// by one a token is whole when the budget is used up. Where less is left than ending_size(), the shortest ending is
  /// forced all the same.
  ///
  /// Exact, but for grammars so ambiguous that a mask would take longer than a few hundredths of a second: there tokens
  /// of several bytes may be masked too. Every text stays possible, and so does the shortest ending.
  void mask(std::span<float> logits, std::size_t budget = no_budget) const;
  /// Whether this token is legal, exactly: cheap, for a sampler that first looks at the best candidate only.
  [[nodiscard]] bool allows(TokenId token, std::size_t budget = no_budget) const;

  /// Moves on by a token. False, and nothing has changed, when it is not legal.
  bool accept(TokenId token);
  /// Moves on by bytes, wherever tokens begin and end. False, and nothing has changed, when they are not legal.
  bool accept_bytes(std::string_view bytes);

  /// Whether the text may end here.
  [[nodiscard]] bool can_end() const { return config_.at_end; }
  /// Whether nothing may follow.
  [[nodiscard]] bool must_end() const;
  /// Whether one of `ends` was accepted.
  [[nodiscard]] bool ended() const { return ended_; }

  /// Tokens that bring the text to an end, as few as the grammar's shortest text from here can be cut into; no `ends`.
  [[nodiscard]] std::vector<TokenId> shortest_ending() const;
  /// How many those are; kept up to date, costs nothing.
  [[nodiscard]] std::size_t ending_size() const { return ending_size_; }

 private:
  [[nodiscard]] bool is_end(TokenId token) const;
  [[nodiscard]] std::uint32_t most_left(std::size_t budget) const;
  [[nodiscard]] TokenId ending_token() const;
  void update();

  std::shared_ptr<const Grammar> grammar_;
  std::shared_ptr<constraint::Machine> machine_;
  std::shared_ptr<const std::vector<TokenId>> ends_;
  constraint::Stacks stacks_;
  constraint::Config config_;
  std::size_t ending_size_ = 0;
  bool ended_ = false;
};

}  // namespace qwen35
