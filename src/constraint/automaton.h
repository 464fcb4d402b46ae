#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "constraint/expression.h"
#include "constraint/nfa.h"

namespace qwen35::constraint {

/// Calls of recursive rules that may be open at once: for JSON, how deep a reference may be followed into itself.
inline constexpr std::uint32_t level_limit = 32;

/// A grammar ready to run: one deterministic automaton a rule, all in one array of states, and a stack at run time for
/// the rules that could not be copied into their callers. Immutable.
struct Automaton {
  struct Edge {
    std::uint8_t lo = 0;
    std::uint8_t hi = 0;
    std::uint32_t to = 0;
  };
  struct Call {
    std::uint32_t start = 0;  ///< first state of the rule
    std::uint32_t to = 0;     ///< where it goes on
    bool counted = false;     ///< opens one more level
    bool tail = false;        ///< nothing follows at `to`: the caller's frame is not needed, nor a level
  };
  /// The first step of the way to the rule's end that opens the fewest levels and has, nearly always, the fewest bytes.
  struct Way {
    enum class Kind : std::uint8_t { end, byte, call } kind = Kind::end;
    std::uint8_t byte = 0;
    std::uint32_t to = 0;  ///< the state behind the byte, or the index in `calls`
  };
  struct State {
    std::uint32_t first_edge = 0;  ///< its edges end where the next state's begin
    std::uint32_t first_call = 0;
    bool accepts = false;
    std::uint32_t height = 0;  ///< levels that `way` opens at once
    std::uint32_t bytes = 0;   ///< along `way`
    Way way;
  };

  std::vector<State> states;  ///< and one more behind the last
  std::vector<Edge> edges;
  std::vector<Call> calls;
  std::vector<std::uint32_t> by_cost;  ///< all states, each behind those its way leads to
  std::uint32_t start = 0;

  [[nodiscard]] std::size_t size() const { return states.size() - 1; }
  [[nodiscard]] std::span<const Edge> edges_of(std::uint32_t s) const {
    return std::span(edges).subspan(states[s].first_edge, states[s + 1].first_edge - states[s].first_edge);
  }
  [[nodiscard]] std::span<const Call> calls_of(std::uint32_t s) const {
    return std::span(calls).subspan(states[s].first_call, states[s + 1].first_call - states[s].first_call);
  }
  static constexpr std::uint32_t no_state = 0xFFFFFFFF;
  /// The state behind `byte`, or no_state.
  [[nodiscard]] std::uint32_t next(std::uint32_t s, std::uint8_t byte) const {
    std::uint32_t lo = states[s].first_edge;
    std::uint32_t hi = states[s + 1].first_edge;
    while (lo < hi) {
      const std::uint32_t mid = (lo + hi) / 2;
      if (edges[mid].hi < byte) {
        lo = mid + 1;
      } else {
        hi = mid;
      }
    }
    return lo < states[s + 1].first_edge && edges[lo].lo <= byte ? edges[lo].to : no_state;
  }
  [[nodiscard]] std::size_t memory_bytes() const;
};

/// Throws invalid_argument: undefined rules, left recursion, rules that never end, empty languages, too many states.
Automaton compile(const Expressions& expressions, RuleId root);

/// Fills in height, bytes, way and by_cost; returns a state that can never end, if there is one. (ways.cpp)
std::optional<std::uint32_t> find_ways(Automaton& automaton);

}  // namespace qwen35::constraint
