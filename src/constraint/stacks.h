#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "constraint/automaton.h"

namespace qwen35::constraint {

/// What a state or a stack costs to bring to its end, in tokens. Indexed by state.
using Costs = std::vector<std::uint32_t>;

/// Stacks of return states as a graph, each node once. A node stands for the set of stacks that its frames begin, so
/// that ways of reading a text which differ below the top are one item: their number never exceeds that of the
/// automaton's states times the levels, however ambiguous the grammar is. A value: copies are independent.
class Stacks {
 public:
  struct Frame {
    std::uint32_t state = 0;  ///< where to go on; no_state in the bottom
    std::uint32_t node = 0;   ///< the stack below
    bool operator==(const Frame&) const = default;
  };
  /// The node below all: to return to it is to end the text.
  static constexpr std::uint32_t bottom = 0;

  explicit Stacks(const Costs* costs);

  /// `frames`: sorted by (state, depth of the node), each pair once. `depth`: levels open.
  std::uint32_t node(std::span<const Frame> frames, std::uint32_t depth);
  /// The stacks of both, which have the same depth.
  std::uint32_t join(std::uint32_t a, std::uint32_t b);

  [[nodiscard]] std::span<const Frame> frames(std::uint32_t node) const {
    return std::span(frames_).subspan(nodes_[node].first, nodes_[node].count);
  }
  [[nodiscard]] std::uint32_t depth(std::uint32_t node) const { return nodes_[node].depth; }
  /// Tokens of the cheapest way from a return to this node to the end.
  [[nodiscard]] std::uint32_t cost(std::uint32_t node) const { return nodes_[node].cost; }
  [[nodiscard]] std::size_t size() const { return nodes_.size(); }

  /// What has been done so far, in frames and items looked at: the measure of an ambiguous grammar's cost.
  [[nodiscard]] std::uint64_t work() const { return work_; }
  void add_work(std::size_t n) { work_ += n; }

  /// Keeps only what `roots` reach and renumbers them.
  void compact(std::span<std::uint32_t* const> roots);

 private:
  struct Node {
    std::uint32_t first = 0;
    std::uint32_t count = 0;
    std::uint32_t depth = 0;
    std::uint32_t cost = 0;
  };
  [[nodiscard]] std::size_t hash(std::span<const Frame> frames) const;
  void rehash(std::size_t slots);

  const Costs* costs_;
  std::vector<Node> nodes_;
  std::vector<Frame> frames_;
  std::vector<std::uint32_t> slots_;  ///< open addressing; empty = 0xFFFFFFFF
  std::unordered_map<std::uint64_t, std::uint32_t> joined_;
  std::uint64_t work_ = 0;
};

inline constexpr std::uint32_t most_cost = 1U << 30;
inline std::uint32_t add_costs(std::uint32_t a, std::uint32_t b) { return a + b < most_cost ? a + b : most_cost; }

/// Every way of reading the text so far.
struct Config {
  struct Item {
    std::uint32_t state = 0;
    std::uint32_t node = 0;
    bool kernel = false;  ///< reached by a byte, not by a call or a return behind it
  };
  std::vector<Item> items;
  bool at_end = false;  ///< the text may end here
};

/// Moves configurations over bytes.
class Runner {
 public:
  explicit Runner(const Automaton& automaton) : a_(&automaton) {}

  [[nodiscard]] Config begin(std::uint32_t state, Stacks& stacks, std::uint32_t levels) const;
  /// The configuration behind `byte`: no items when nothing goes on and at_end false when it is not legal. `pruned` is
  /// set when the level limit took something away.
  [[nodiscard]] Config step(const Config& from, std::uint8_t byte, Stacks& stacks, std::uint32_t levels,
                            bool* pruned = nullptr) const;
  /// Tokens of the cheapest way to the end.
  [[nodiscard]] std::uint32_t cost(const Config& config, const Stacks& stacks, const Costs& costs) const;

 private:
  void close(Config& config, Stacks& stacks, std::uint32_t levels, bool* pruned) const;
  const Automaton* a_;
};

}  // namespace qwen35::constraint
