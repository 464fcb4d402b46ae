#include <algorithm>
#include <queue>
#include <tuple>

#include "constraint/automaton.h"

namespace qwen35::constraint {
namespace {

constexpr std::uint32_t most_bytes = 1U << 30;  // saturating

/// Knuth's generalisation of Dijkstra's algorithm to grammars, over (levels, bytes): a state is settled when its best
/// first step leads to settled states only. Levels come first, so that a way never fails at the level limit.
class Search {
 public:
  explicit Search(Automaton& automaton) : a_(automaton), settled_(automaton.size(), false) { index_callers(); }

  std::optional<std::uint32_t> run() {
    for (std::uint32_t s = 0; s < a_.size(); ++s) {
      if (a_.states[s].accepts) queue_.push({0, 0, s, {}});
    }
    while (!queue_.empty()) {
      const Candidate best = queue_.top();
      queue_.pop();
      if (settled_[best.state]) continue;
      settled_[best.state] = true;
      Automaton::State& state = a_.states[best.state];
      state.height = best.height;
      state.bytes = best.bytes;
      state.way = best.way;
      a_.by_cost.push_back(best.state);
      spread(best.state);
    }
    for (std::uint32_t s = 0; s < a_.size(); ++s) {
      if (!settled_[s]) return s;
    }
    return std::nullopt;
  }

 private:
  struct Candidate {
    std::uint32_t height;
    std::uint32_t bytes;
    std::uint32_t state;
    Automaton::Way way;
    bool operator>(const Candidate& o) const {
      return std::tie(height, bytes, state) > std::tie(o.height, o.bytes, o.state);
    }
  };
  struct Source {
    std::uint32_t to;
    std::uint32_t from;
    std::uint32_t index;  ///< of the edge or call
    bool is_call;
  };

  void index_callers() {
    for (std::uint32_t s = 0; s < a_.size(); ++s) {
      for (std::uint32_t e = a_.states[s].first_edge; e < a_.states[s + 1].first_edge; ++e) {
        sources_.push_back({a_.edges[e].to, s, e, false});
      }
      for (std::uint32_t c = a_.states[s].first_call; c < a_.states[s + 1].first_call; ++c) {
        sources_.push_back({a_.calls[c].to, s, c, true});
        sources_.push_back({a_.calls[c].start, s, c, true});
      }
    }
    std::sort(sources_.begin(), sources_.end(),
              [](auto& x, auto& y) { return std::tie(x.to, x.from, x.index) < std::tie(y.to, y.from, y.index); });
  }

  void spread(std::uint32_t settled) {
    const auto first = std::lower_bound(sources_.begin(), sources_.end(), settled,
                                        [](const Source& source, std::uint32_t to) { return source.to < to; });
    for (auto it = first; it != sources_.end() && it->to == settled; ++it) {
      if (settled_[it->from]) continue;
      if (it->is_call) {
        const Automaton::Call& call = a_.calls[it->index];
        if (!settled_[call.start] || !settled_[call.to]) continue;
        const Automaton::State& callee = a_.states[call.start];
        const Automaton::State& behind = a_.states[call.to];
        queue_.push({std::max(callee.height + (call.counted ? 1 : 0), behind.height),
                     std::min(most_bytes, callee.bytes + behind.bytes),
                     it->from,
                     {Automaton::Way::Kind::call, 0, it->index}});
      } else {
        const Automaton::State& to = a_.states[settled];
        queue_.push({to.height,
                     std::min(most_bytes, to.bytes + 1),
                     it->from,
                     {Automaton::Way::Kind::byte, a_.edges[it->index].lo, settled}});
      }
    }
  }

  Automaton& a_;
  std::vector<bool> settled_;
  std::vector<Source> sources_;
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue_;
};

}  // namespace

std::optional<std::uint32_t> find_ways(Automaton& automaton) {
  automaton.by_cost.clear();
  return Search(automaton).run();
}

}  // namespace qwen35::constraint
