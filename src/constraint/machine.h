#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "constraint/automaton.h"
#include "constraint/stacks.h"
#include "constraint/token_set.h"
#include "constraint/token_trie.h"

namespace qwen35::constraint {

/// States that no token of the vocabulary tells apart get one class: their masks are the same. (equivalence.cpp)
std::vector<std::uint32_t> token_classes(const Automaton& automaton, const Costs& costs, std::size_t longest_token);

/// A grammar over a vocabulary: what each state costs to end in tokens, and the masks found so far. Shared by all
/// replies; any thread may call.
///
/// A mask is put together from walks. A walk takes the tree of tokens through the automaton from one state, knowing
/// nothing of the stack below it. Where a rule ends in the middle of a token it notes the place in the tree (an
/// escape); there a second walk goes on from the state to which the rule returns. Walks depend on the state and the
/// places they begin at only, so that they are kept and found again, whatever the stack.
class Machine {
 public:
  /// Throws invalid_argument when the vocabulary has no token for a byte of the grammar.
  Machine(std::shared_ptr<const Automaton> automaton, std::shared_ptr<const TokenTrie> trie);

  [[nodiscard]] const Automaton& automaton() const { return *automaton_; }
  [[nodiscard]] const TokenTrie& trie() const { return *trie_; }
  [[nodiscard]] const Costs& costs() const { return costs_; }

  /// Adds to `out` all tokens that may come next and leave at most `most_left` tokens to the shortest end. False when
  /// the grammar is so ambiguous that tokens of several bytes were left out to bound the time.
  bool add_legal(const Config& config, const Stacks& stacks, std::uint32_t most_left, TokenBits& out);

  /// The first token of the shortest way to the end of the rule; the way of `state` begins with a byte.
  [[nodiscard]] TokenId first_token(std::uint32_t state) const { return first_tokens_[state]; }

  /// Of the kept walks.
  [[nodiscard]] std::size_t cached_bytes() const;
  [[nodiscard]] std::size_t walks() const;

 private:
  using Nodes = std::vector<std::uint32_t>;  ///< of the tree, sorted
  struct Walk {
    TokenSet tokens;
    std::uint32_t escapes = 0;  ///< number of a set of nodes; 0 = none
    std::uint32_t need = 0;     ///< levels that would have to be free for nothing to be left out
    std::uint32_t worst = 0;    ///< greatest cost left behind a token
    bool complete = true;       ///< not cut short
  };
  struct Key {
    std::uint32_t nodes = 0;
    std::uint32_t state = 0;   ///< its class
    std::uint32_t levels = 0;  ///< free
    std::int64_t slack = 0;    ///< greatest cost that may be left
    auto operator<=>(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const;
  };
  struct NodesHash {
    std::size_t operator()(const Nodes& nodes) const;
  };
  class Walker;

  void compute_costs();
  void check_bytes() const;
  std::uint32_t number(Nodes nodes);
  const Walk& walk(std::uint32_t nodes, std::uint32_t state, std::uint32_t levels, std::int64_t slack);
  void compute(std::uint32_t nodes, std::uint32_t state, std::uint32_t levels, std::int64_t slack);
  void forget();

  std::shared_ptr<const Automaton> automaton_;
  std::shared_ptr<const TokenTrie> trie_;
  Costs costs_;
  std::vector<TokenId> first_tokens_;
  std::vector<std::uint32_t> classes_;
  TokenBits all_;

  mutable std::mutex mutex_;  ///< guards what follows
  std::unordered_map<Key, Walk, KeyHash> walks_;
  std::unordered_map<Nodes, std::uint32_t, NodesHash> numbers_;
  std::vector<const Nodes*> sets_;  ///< by number
  std::size_t cached_bytes_ = 0;
};

}  // namespace qwen35::constraint
