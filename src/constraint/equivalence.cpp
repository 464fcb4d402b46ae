#include <algorithm>
#include <map>
#include <tuple>

#include "constraint/machine.h"

namespace qwen35::constraint {
namespace {

/// Partition refinement, a round for each byte that a token can have. What looks the same for so many bytes is the
/// same to every token. In each round only states are looked at whose successors changed class in the round before.
class Refinement {
 public:
  Refinement(const Automaton& automaton, const Costs& costs) : a_(automaton), classes_(automaton.size()) {
    using Seen = std::tuple<bool, std::uint32_t, std::uint32_t, std::vector<std::uint32_t>>;
    std::map<Seen, std::uint32_t> numbers;
    for (std::uint32_t s = 0; s < a_.size(); ++s) {
      std::vector<std::uint32_t> calls;
      for (const Automaton::Call& call : a_.calls_of(s)) {
        calls.push_back(call.start);
        calls.push_back(call.to);
      }
      Seen seen{a_.states[s].accepts, a_.states[s].height, costs[s], std::move(calls)};
      classes_[s] = numbers.try_emplace(std::move(seen), static_cast<std::uint32_t>(numbers.size())).first->second;
    }
    sizes_.assign(numbers.size(), 0);
    for (const std::uint32_t c : classes_) ++sizes_[c];
    index_sources();
  }

  std::vector<std::uint32_t> run(std::size_t rounds) {
    std::vector<std::uint32_t> changed(a_.size());
    for (std::uint32_t s = 0; s < a_.size(); ++s) changed[s] = s;
    for (std::size_t round = 0; round < rounds && !changed.empty(); ++round) {
      changed = split(round == 0 ? changed : callers(changed));
    }
    return std::move(classes_);
  }

 private:
  using Signature = std::vector<std::uint32_t>;

  void index_sources() {
    first_source_.assign(a_.size() + 1, 0);
    for (const Automaton::Edge& edge : a_.edges) ++first_source_[edge.to + 1];
    for (std::size_t i = 1; i < first_source_.size(); ++i) first_source_[i] += first_source_[i - 1];
    sources_.resize(a_.edges.size());
    std::vector<std::uint32_t> at = first_source_;
    for (std::uint32_t s = 0; s < a_.size(); ++s) {
      for (const Automaton::Edge& edge : a_.edges_of(s)) sources_[at[edge.to]++] = s;
    }
  }

  [[nodiscard]] std::vector<std::uint32_t> callers(const std::vector<std::uint32_t>& states) const {
    std::vector<std::uint32_t> out;
    for (const std::uint32_t s : states) {
      out.insert(out.end(), sources_.begin() + first_source_[s], sources_.begin() + first_source_[s + 1]);
    }
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
  }

  [[nodiscard]] Signature signature(std::uint32_t s) const {
    Signature out{classes_[s]};
    int end = -1;  // of the last range
    for (const Automaton::Edge& edge : a_.edges_of(s)) {
      const std::uint32_t to = classes_[edge.to];
      if (end + 1 == edge.lo && out.size() > 1 && out.back() == to) {
        out[out.size() - 2] = edge.hi;
      } else {
        out.insert(out.end(), {edge.lo, edge.hi, to});
      }
      end = edge.hi;
    }
    return out;
  }

  /// Splits the classes of `states` by signature; returns those that got another class. A state of a class that is not
  /// among `states` has no successor that changed, while each of `states` has one: they are told apart.
  std::vector<std::uint32_t> split(const std::vector<std::uint32_t>& states) {
    std::map<Signature, std::vector<std::uint32_t>> groups;
    for (const std::uint32_t s : states) groups[signature(s)].push_back(s);
    std::vector<std::uint32_t> changed;
    for (auto it = groups.begin(); it != groups.end();) {
      const std::uint32_t old = it->first.front();
      auto last = it;
      std::size_t listed = 0;
      auto keeps = it;
      for (; last != groups.end() && last->first.front() == old; ++last) {
        listed += last->second.size();
        if (last->second.size() > keeps->second.size()) keeps = last;
      }
      const bool others = listed < sizes_[old];  // then they keep the number
      for (; it != last; ++it) {
        if (!others && it == keeps) continue;
        const auto fresh = static_cast<std::uint32_t>(sizes_.size());
        sizes_.push_back(it->second.size());
        sizes_[old] -= it->second.size();
        for (const std::uint32_t s : it->second) classes_[s] = fresh;
        changed.insert(changed.end(), it->second.begin(), it->second.end());
      }
    }
    return changed;
  }

  const Automaton& a_;
  std::vector<std::uint32_t> classes_;
  std::vector<std::size_t> sizes_;
  std::vector<std::uint32_t> first_source_;
  std::vector<std::uint32_t> sources_;
};

}  // namespace

std::vector<std::uint32_t> token_classes(const Automaton& automaton, const Costs& costs, std::size_t longest_token) {
  return Refinement(automaton, costs).run(longest_token);
}

}  // namespace qwen35::constraint
