#include "constraint/nfa.h"

#include <algorithm>
#include <array>
#include <map>
#include <unordered_map>

namespace qwen35::constraint {
namespace {

/// NFA states visited while determinising; a pattern that needs more has exponentially many states, or nearly so.
constexpr std::size_t subset_work_limit = 20'000'000;

struct SetHash {
  std::size_t operator()(const std::vector<std::uint32_t>& set) const {
    std::size_t h = set.size();
    for (const std::uint32_t v : set) h = (h ^ v) * 0x9E3779B97F4A7C15ULL;
    return h ^ (h >> 29);
  }
};

[[noreturn]] void refuse_states(std::string_view place) {
  refuse(place, "needs more than " + std::to_string(dfa_state_limit) +
                    " automaton states; use smaller repetitions or a simpler pattern");
}

}  // namespace

std::uint32_t Nfa::add_state() {
  if (first_.size() >= nfa_state_limit) {
    throw Error(ErrorCode::invalid_argument,
                "the grammar or schema is too large: its repetitions and references come to more than " +
                    std::to_string(nfa_state_limit) + " states; use smaller repetitions");
  }
  first_.push_back(none);
  return static_cast<std::uint32_t>(first_.size() - 1);
}

void Nfa::add_edge(std::uint32_t from, Edge edge) {
  edge.next = first_[from];
  first_[from] = static_cast<std::uint32_t>(edges_.size());
  edges_.push_back(edge);
}

void Nfa::byte_edge(std::uint32_t from, std::uint32_t to, std::uint8_t lo, std::uint8_t hi) {
  add_edge(from, {none, to, 0, Kind::byte, lo, hi});
}
void Nfa::call_edge(std::uint32_t from, std::uint32_t to, RuleId rule) {
  add_edge(from, {none, to, rule, Kind::call, 0, 0});
}
void Nfa::empty_edge(std::uint32_t from, std::uint32_t to) { add_edge(from, {none, to, 0, Kind::empty, 0, 0}); }

void Nfa::insert(const Dfa& dfa, std::uint32_t from, std::uint32_t to) {
  if (dfa.empty) return;
  std::vector<std::uint32_t> mine(dfa.states.size());
  for (std::uint32_t& state : mine) state = add_state();
  empty_edge(from, mine[0]);
  for (std::size_t i = 0; i < mine.size(); ++i) {
    for (const Dfa::Edge& e : dfa.states[i].edges) byte_edge(mine[i], mine[e.to], e.lo, e.hi);
    for (const Dfa::Call& c : dfa.states[i].calls) call_edge(mine[i], mine[c.to], c.rule);
    if (dfa.states[i].accepts) empty_edge(mine[i], to);
  }
}

/// The subsets of an NFA's states that can be reached, numbered as they are found.
class SubsetConstruction {
 public:
  SubsetConstruction(const Nfa& nfa, std::uint32_t end, std::string_view place)
      : nfa_(nfa), end_(end), place_(place), stamp_(nfa.first_.size(), 0) {}

  Dfa run(std::uint32_t start) {
    number({start});
    for (std::size_t i = 0; i < subsets_.size(); ++i) expand(i);
    trim(dfa_);
    return std::move(dfa_);
  }

 private:
  using Set = std::vector<std::uint32_t>;

  /// The number of the subset that `seeds` and everything reached from them without a byte make up.
  std::uint32_t number(Set seeds) {
    ++epoch_;
    Set set;
    while (!seeds.empty()) {
      const std::uint32_t state = seeds.back();
      seeds.pop_back();
      if (stamp_[state] == epoch_) continue;
      stamp_[state] = epoch_;
      if (++work_ > subset_work_limit) refuse_states(place_);
      bool matters = state == end_;
      for (std::uint32_t e = nfa_.first_[state]; e != Nfa::none; e = nfa_.edges_[e].next) {
        if (nfa_.edges_[e].kind == Nfa::Kind::empty) {
          seeds.push_back(nfa_.edges_[e].to);
        } else {
          matters = true;
        }
      }
      if (matters) set.push_back(state);
    }
    std::sort(set.begin(), set.end());
    const auto [it, is_new] = numbers_.try_emplace(set, static_cast<std::uint32_t>(subsets_.size()));
    if (is_new) {
      if (subsets_.size() >= dfa_state_limit) refuse_states(place_);
      subsets_.push_back(&it->first);  // a node of the map: it stays where it is
      dfa_.states.emplace_back();
      dfa_.states.back().accepts = std::binary_search(set.begin(), set.end(), end_);
    }
    return it->second;
  }

  void expand(std::size_t index) {
    std::vector<const Nfa::Edge*> bytes;
    std::map<RuleId, Set> calls;
    for (const std::uint32_t state : *subsets_[index]) {
      for (std::uint32_t e = nfa_.first_[state]; e != Nfa::none; e = nfa_.edges_[e].next) {
        const Nfa::Edge& edge = nfa_.edges_[e];
        if (edge.kind == Nfa::Kind::byte) bytes.push_back(&edge);
        if (edge.kind == Nfa::Kind::call) calls[edge.rule].push_back(edge.to);
      }
    }
    std::vector<Dfa::Edge> edges;
    std::array<bool, 257> cut{};
    for (const Nfa::Edge* edge : bytes) cut[edge->lo] = cut[std::size_t{edge->hi} + 1] = true;
    // Edges by where they begin; those still open are carried from cut to cut.
    std::sort(bytes.begin(), bytes.end(), [](auto* a, auto* b) { return a->lo < b->lo; });
    std::size_t next = 0;
    std::vector<const Nfa::Edge*> open;
    for (unsigned lo = 0; lo < 256;) {
      unsigned end = lo + 1;
      while (end < 256 && !cut[end]) ++end;
      while (next < bytes.size() && bytes[next]->lo <= lo) open.push_back(bytes[next++]);
      std::erase_if(open, [lo](auto* edge) { return edge->hi < lo; });
      work_ += open.size();
      if (!open.empty()) {
        Set seeds;
        for (const Nfa::Edge* edge : open) seeds.push_back(edge->to);
        const std::uint32_t to = number(std::move(seeds));
        if (!edges.empty() && edges.back().to == to && edges.back().hi + 1U == lo) {
          edges.back().hi = static_cast<std::uint8_t>(end - 1);
        } else {
          edges.push_back({static_cast<std::uint8_t>(lo), static_cast<std::uint8_t>(end - 1), to});
        }
      }
      lo = end;
    }
    dfa_.states[index].edges = std::move(edges);
    if (calls.size() > call_limit) {
      refuse(place_, "more than " + std::to_string(call_limit) + " references are possible at one place");
    }
    std::vector<Dfa::Call> targets;
    for (auto& [rule, seeds] : calls) targets.push_back({rule, number(std::move(seeds))});
    dfa_.states[index].calls = std::move(targets);
  }

  const Nfa& nfa_;
  std::uint32_t end_;
  std::string_view place_;
  std::vector<std::uint32_t> stamp_;
  std::uint32_t epoch_ = 0;
  std::size_t work_ = 0;
  std::unordered_map<Set, std::uint32_t, SetHash> numbers_;
  std::vector<const Set*> subsets_;
  Dfa dfa_;
};

Dfa Nfa::determinise(std::uint32_t start, std::uint32_t end, std::string_view place) const {
  return SubsetConstruction(*this, end, place).run(start);
}

void trim(Dfa& dfa) {
  const std::size_t n = dfa.states.size();
  std::vector<std::uint32_t> begin(n + 2, 0);
  const auto each = [&](auto&& visit) {
    for (std::uint32_t i = 0; i < n; ++i) {
      for (const Dfa::Edge& e : dfa.states[i].edges) visit(i, e.to);
      for (const Dfa::Call& c : dfa.states[i].calls) visit(i, c.to);
    }
  };
  each([&](std::uint32_t, std::uint32_t to) { ++begin[to + 2]; });
  for (std::size_t i = 2; i < begin.size(); ++i) begin[i] += begin[i - 1];
  std::vector<std::uint32_t> from(begin.back());
  each([&](std::uint32_t i, std::uint32_t to) { from[begin[to + 1]++] = i; });
  std::vector<bool> alive(n, false);
  std::vector<std::uint32_t> todo;
  const auto mark = [&](std::uint32_t i) {
    if (!alive[i]) todo.push_back(i);
    alive[i] = true;
  };
  for (std::uint32_t i = 0; i < n; ++i) {
    if (dfa.states[i].accepts) mark(i);
  }
  while (!todo.empty()) {
    const std::uint32_t i = todo.back();
    todo.pop_back();
    for (std::uint32_t k = begin[i]; k < begin[i + 1]; ++k) mark(from[k]);
  }
  dfa.empty = !alive[0];
  alive[0] = true;
  std::vector<std::uint32_t> number(n, 0);
  std::uint32_t count = 0;
  for (std::size_t i = 0; i < n; ++i) number[i] = alive[i] ? count++ : 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (!alive[i]) continue;
    Dfa::State state = std::move(dfa.states[i]);
    std::erase_if(state.edges, [&](auto& e) { return !alive[e.to] || dfa.empty; });
    std::erase_if(state.calls, [&](auto& c) { return !alive[c.to] || dfa.empty; });
    for (auto& e : state.edges) e.to = number[e.to];
    for (auto& c : state.calls) c.to = number[c.to];
    dfa.states[number[i]] = std::move(state);
  }
  dfa.states.resize(count);
}

Dfa intersect(const Dfa& a, const Dfa& b, bool negate, std::string_view place) {
  constexpr std::uint32_t dead = 0xFFFFFFFF;
  Dfa out;
  std::unordered_map<std::uint64_t, std::uint32_t> numbers;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs;
  const auto number = [&](std::uint32_t i, std::uint32_t k) {
    const auto [it, is_new] = numbers.try_emplace(std::uint64_t{i} << 32 | k, static_cast<std::uint32_t>(pairs.size()));
    if (is_new) {
      if (pairs.size() >= dfa_state_limit) refuse_states(place);
      pairs.emplace_back(i, k);
      out.states.emplace_back();
      out.states.back().accepts = a.states[i].accepts && (k != dead && b.states[k].accepts) != negate;
    }
    return it->second;
  };
  number(0, b.empty ? dead : 0);
  for (std::size_t index = 0; index < pairs.size(); ++index) {
    const auto [i, k] = pairs[index];
    const std::vector<Dfa::Edge> none;
    const std::vector<Dfa::Edge>& others = k == dead ? none : b.states[k].edges;
    std::vector<Dfa::Edge> edges;
    for (const Dfa::Edge& e : a.states[i].edges) {
      unsigned lo = e.lo;
      for (const Dfa::Edge& f : others) {
        if (f.hi < lo || f.lo > e.hi) continue;
        if (negate && f.lo > lo) {
          edges.push_back({static_cast<std::uint8_t>(lo), static_cast<std::uint8_t>(f.lo - 1), number(e.to, dead)});
        }
        const unsigned from = std::max<unsigned>(lo, f.lo);
        const unsigned to = std::min(e.hi, f.hi);
        edges.push_back({static_cast<std::uint8_t>(from), static_cast<std::uint8_t>(to), number(e.to, f.to)});
        lo = to + 1;
      }
      if (negate && lo <= e.hi) edges.push_back({static_cast<std::uint8_t>(lo), e.hi, number(e.to, dead)});
    }
    out.states[index].edges = std::move(edges);
  }
  trim(out);
  out.empty = out.empty || a.empty;
  return out;
}

}  // namespace qwen35::constraint
