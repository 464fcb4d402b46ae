#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "constraint/expression.h"

namespace qwen35::constraint {

inline constexpr std::size_t nfa_state_limit = 600'000;
inline constexpr std::size_t dfa_state_limit = 200'000;
/// Rules that one state may call: they are all followed at once.
inline constexpr std::size_t call_limit = 256;

/// A deterministic automaton over bytes, with calls of other rules beside the bytes. Every state can reach an accepting
/// one (calls taken as passable), but for the start of an empty language.
struct Dfa {
  struct Edge {
    std::uint8_t lo = 0;
    std::uint8_t hi = 0;
    std::uint32_t to = 0;
    bool operator==(const Edge&) const = default;
  };
  struct Call {
    RuleId rule = 0;
    std::uint32_t to = 0;  ///< where it goes on behind the rule
    bool operator==(const Call&) const = default;
  };
  struct State {
    std::vector<Edge> edges;  ///< sorted, disjoint
    std::vector<Call> calls;  ///< sorted by rule, each rule once
    bool accepts = false;
  };
  std::vector<State> states;  ///< the start is states[0]
  bool empty = false;         ///< matches nothing
};

/// A nondeterministic automaton with edges for bytes, calls and nothing.
class Nfa {
 public:
  std::uint32_t add_state();
  void byte_edge(std::uint32_t from, std::uint32_t to, std::uint8_t lo, std::uint8_t hi);
  void call_edge(std::uint32_t from, std::uint32_t to, RuleId rule);
  void empty_edge(std::uint32_t from, std::uint32_t to);
  void insert(const Dfa& dfa, std::uint32_t from, std::uint32_t to);

  /// The same language without choice (subset construction). `place` names it in errors: too many states.
  [[nodiscard]] Dfa determinise(std::uint32_t start, std::uint32_t end, std::string_view place) const;

 private:
  friend class SubsetConstruction;
  enum class Kind : std::uint8_t { byte, call, empty };
  struct Edge {
    std::uint32_t next;  ///< of the same state; none = the last
    std::uint32_t to;
    std::uint32_t rule;
    Kind kind;
    std::uint8_t lo;
    std::uint8_t hi;
  };
  static constexpr std::uint32_t none = 0xFFFFFFFF;
  void add_edge(std::uint32_t from, Edge edge);

  std::vector<std::uint32_t> first_;  ///< of each state
  std::vector<Edge> edges_;
};

/// What both match (or, with `negate`, what `a` matches and `b` does not). Neither has calls.
Dfa intersect(const Dfa& a, const Dfa& b, bool negate, std::string_view place);

/// Takes out what cannot reach an accepting state.
void trim(Dfa& dfa);

}  // namespace qwen35::constraint
