#include "constraint/automaton.h"

#include <algorithm>
#include <unordered_map>

#include "constraint/rule_graph.h"

namespace qwen35::constraint {
namespace {

/// Repeated parts above these sizes become a rule of their own, called instead of copied.
constexpr std::uint64_t repeated_states = 250'000;
constexpr std::uint64_t repeated_states_with_calls = 4'000;
constexpr std::uint32_t longest_ending = 1U << 24;  // bytes
constexpr std::size_t total_state_limit = 400'000;

/// Turns rules into automata, those first that are called; a rule that is not called from anywhere costs nothing.
class Compiler {
 public:
  Compiler(const Expressions& expressions, RuleId root) : expressions_(expressions), graph_(expressions, root) {
    rule(root);
    for (std::size_t i = 0; i < rules_.size(); ++i) {
      Nfa nfa;
      const std::uint32_t start = nfa.add_state();
      const std::uint32_t end = nfa.add_state();
      nfa_ = &nfa;
      place_ = rules_[i].name;
      emit(rules_[i].body, start, end);
      Dfa dfa = nfa.determinise(start, end, place_);
      if (dfa.empty) refuse(place_, "nothing can match; the language is empty");
      total_ += dfa.states.size();
      if (total_ > total_state_limit) {
        refuse(place_, "the grammar or schema needs more than " + std::to_string(total_state_limit) +
                           " automaton states; use smaller repetitions");
      }
      rules_[i].dfa = std::move(dfa);
    }
  }

  Automaton finish() {
    Automaton out;
    std::vector<std::uint32_t> base;
    std::uint32_t count = 0;
    for (const Rule& rule : rules_) {
      base.push_back(count);
      count += static_cast<std::uint32_t>(rule.dfa.states.size());
    }
    for (std::size_t i = 0; i < rules_.size(); ++i) {
      for (const Dfa::State& state : rules_[i].dfa.states) {
        out.states.push_back({static_cast<std::uint32_t>(out.edges.size()),
                              static_cast<std::uint32_t>(out.calls.size()),
                              state.accepts,
                              0,
                              0,
                              {}});
        for (const Dfa::Edge& e : state.edges) out.edges.push_back({e.lo, e.hi, base[i] + e.to});
        for (const Dfa::Call& c : state.calls) {
          const Dfa::State& behind = rules_[i].dfa.states[c.to];
          const bool tail = behind.accepts && behind.edges.empty() && behind.calls.empty();
          out.calls.push_back({base[c.rule], base[i] + c.to, rules_[c.rule].recursive && !tail, tail});
        }
      }
    }
    out.states.push_back(
        {static_cast<std::uint32_t>(out.edges.size()), static_cast<std::uint32_t>(out.calls.size()), false, 0, 0, {}});
    out.start = base[0];
    base.push_back(count);
    const auto name_of = [&](std::uint32_t state) {
      return rules_[static_cast<std::size_t>(std::upper_bound(base.begin(), base.end(), state) - base.begin() - 1)]
          .name;
    };
    refuse_left_recursion(out, base);
    if (const auto endless = find_ways(out)) {
      refuse(name_of(*endless), "can never end: every way leads into itself again; give it an alternative that ends");
    }
    for (std::uint32_t s = 0; s < out.size(); ++s) {
      if (out.states[s].bytes >= longest_ending) {
        refuse(name_of(s), "its shortest text is longer than " + std::to_string(longest_ending) + " bytes");
      }
    }
    if (out.states[out.start].height > level_limit) {
      refuse(rules_[0].name, "cannot end within " + std::to_string(level_limit) + " levels of recursion");
    }
    return out;
  }

 private:
  struct Rule {
    std::string name;
    ExprId body = 0;
    bool recursive = false;
    Dfa dfa;
  };

  /// Our number of a rule of the source.
  RuleId rule(RuleId source) {
    const auto [it, is_new] = numbers_.try_emplace(source, static_cast<RuleId>(rules_.size()));
    if (is_new) {
      const Expressions::Rule& from = expressions_.rules()[source];
      rules_.push_back({from.name, from.body, graph_.recursive(source), {}});
    }
    return it->second;
  }

  /// The number of a rule made from an expression that is too large to be copied often.
  RuleId shared(ExprId body) {
    const auto [it, is_new] = shared_.try_emplace(body, static_cast<RuleId>(rules_.size()));
    if (is_new) rules_.push_back({place_, body, false, {}});
    return it->second;
  }

  void emit(ExprId id, std::uint32_t from, std::uint32_t to) {
    const Expr& node = expressions_[id];
    switch (node.kind) {
      case Expr::Kind::bytes: {
        std::uint32_t at = from;
        for (const char c : node.text) {
          const std::uint32_t next = nfa_->add_state();
          nfa_->byte_edge(at, next, static_cast<std::uint8_t>(c), static_cast<std::uint8_t>(c));
          at = next;
        }
        return nfa_->empty_edge(at, to);
      }
      case Expr::Kind::ranges: {
        std::uint32_t at = from;
        for (std::size_t i = 0; i < node.ranges.size(); ++i) {
          const std::uint32_t next = i + 1 == node.ranges.size() ? to : nfa_->add_state();
          nfa_->byte_edge(at, next, node.ranges[i].lo, node.ranges[i].hi);
          at = next;
        }
        return;
      }
      case Expr::Kind::sequence: {
        std::uint32_t at = from;
        for (const ExprId part : node.parts) {
          const std::uint32_t next = nfa_->add_state();
          emit(part, at, next);
          at = next;
        }
        return nfa_->empty_edge(at, to);
      }
      case Expr::Kind::choice:
        for (const ExprId part : node.parts) emit(part, from, to);
        return;
      case Expr::Kind::repeat:
        return emit_repeat(node.parts[0], node.min, node.max, from, to);
      case Expr::Kind::rule:
        if (graph_.copied(node.min)) {
          // Between states of its own, so that a loop at its end does not run into what follows.
          const std::uint32_t first = nfa_->add_state();
          const std::uint32_t last = nfa_->add_state();
          nfa_->empty_edge(from, first);
          nfa_->empty_edge(last, to);
          return emit(expressions_.rules()[node.min].body, first, last);
        }
        return nfa_->call_edge(from, to, rule(node.min));
      case Expr::Kind::list:
        return emit_list(expressions_.list_at(node.min), from, to);
      case Expr::Kind::multiple:
        return emit_multiple(node.min, from, to);
      case Expr::Kind::both:
      case Expr::Kind::without:
        return emit_meet(node, from, to);
    }
  }

  void emit_repeat(ExprId part, std::uint32_t min, std::uint32_t max, std::uint32_t from, std::uint32_t to) {
    const std::uint64_t copies = max == unbounded ? std::max(min, 1U) : max;
    const std::uint64_t largest = graph_.calls(part) ? repeated_states_with_calls : repeated_states;
    const bool call = copies > 1 && graph_.size(part) > 1 && graph_.size(part) * copies > largest;
    const RuleId callee = call ? shared(part) : 0;
    std::uint32_t at = nfa_->add_state();
    nfa_->empty_edge(from, at);
    for (std::uint32_t i = 0; i < copies; ++i) {
      if (i >= min) nfa_->empty_edge(at, to);
      const std::uint32_t next = nfa_->add_state();
      if (call) {
        nfa_->call_edge(at, next, callee);
      } else {
        emit(part, at, next);
      }
      if (max == unbounded && i + 1 == copies) nfa_->empty_edge(next, at);
      at = next;
    }
    nfa_->empty_edge(at, to);
  }

  /// Two rails: `none` while no element has been written, `some` afterwards; a separator stands only on the second.
  void emit_list(const ListExpr& list, std::uint32_t from, std::uint32_t to) {
    std::uint32_t none = literal(list.open, from);
    std::uint32_t some = nfa_->add_state();
    const std::uint32_t end = nfa_->add_state();
    nfa_->byte_edge(end, to, static_cast<std::uint8_t>(list.close[0]), static_cast<std::uint8_t>(list.close[0]));
    std::uint32_t value = 0;
    const auto element = [&](ExprId expr, bool shared_rule) {
      value = nfa_->add_state();
      const std::uint32_t behind = nfa_->add_state();
      nfa_->empty_edge(none, value);
      separator(some, value);
      if (shared_rule) {
        nfa_->call_edge(value, behind, shared(expr));
      } else {
        const std::uint32_t first = value;
        emit(expr, first, behind);
        value = first;
      }
      return behind;
    };
    for (const ListExpr::Item& item : list.items) {
      const std::uint32_t behind = element(item.expr, false);
      const std::uint32_t next_none = nfa_->add_state();
      if (!item.required) {
        nfa_->empty_edge(none, list.positional ? end : next_none);
        nfa_->empty_edge(some, list.positional ? end : behind);
      }
      none = next_none;
      some = behind;
    }
    if (list.has_rest) {
      const bool endless = list.rest_max == unbounded;
      const std::uint64_t copies = endless ? std::max(list.rest_min, 1U) : list.rest_max;
      const std::uint64_t largest = graph_.calls(list.rest) ? repeated_states_with_calls : repeated_states;
      const bool call = copies > 1 && graph_.size(list.rest) * copies > largest;
      for (std::uint64_t i = 0; i < copies; ++i) {
        if (i >= list.rest_min) {
          nfa_->empty_edge(none, end);
          nfa_->empty_edge(some, end);
        }
        some = element(list.rest, call);
        none = nfa_->add_state();
        if (endless && i + 1 == copies) separator(some, value);
      }
    }
    nfa_->empty_edge(none, end);
    nfa_->empty_edge(some, end);
  }

  std::uint32_t literal(const std::string& text, std::uint32_t from) {
    for (const char c : text) {
      const std::uint32_t next = nfa_->add_state();
      nfa_->byte_edge(from, next, static_cast<std::uint8_t>(c), static_cast<std::uint8_t>(c));
      from = next;
    }
    return from;
  }

  /// A comma and at most one space.
  void separator(std::uint32_t from, std::uint32_t to) {
    const std::uint32_t behind = literal(",", from);
    nfa_->empty_edge(behind, to);
    nfa_->byte_edge(behind, to, ' ', ' ');
  }

  /// A state for each remainder.
  void emit_multiple(std::uint32_t of, std::uint32_t from, std::uint32_t to) {
    const std::uint32_t sign = nfa_->add_state();
    nfa_->empty_edge(from, sign);
    nfa_->byte_edge(from, sign, '-', '-');
    std::vector<std::uint32_t> remainders(of);
    for (std::uint32_t& state : remainders) state = nfa_->add_state();
    const auto digits = [&](std::uint32_t state, std::uint32_t remainder) {
      for (std::uint32_t d = 0; d < 10; ++d) {
        const auto digit = static_cast<std::uint8_t>('0' + d);
        nfa_->byte_edge(state, remainders[(remainder * 10 + d) % of], digit, digit);
      }
    };
    digits(sign, 0);
    for (std::uint32_t r = 0; r < of; ++r) digits(remainders[r], r);
    nfa_->empty_edge(remainders[0], to);
  }

  void emit_meet(const Expr& node, std::uint32_t from, std::uint32_t to) {
    Nfa* outer = nfa_;
    const auto part = [&](ExprId id) {
      Nfa nfa;
      const std::uint32_t start = nfa.add_state();
      const std::uint32_t end = nfa.add_state();
      nfa_ = &nfa;
      emit(id, start, end);
      nfa_ = outer;
      return nfa.determinise(start, end, node.text);
    };
    const Dfa a = part(node.parts[0]);
    const Dfa b = part(node.parts[1]);
    const Dfa met = intersect(a, b, node.kind == Expr::Kind::without, node.text);
    if (met.empty) refuse(node.text, "its keywords contradict each other; no value fits them all");
    outer->insert(met, from, to);
  }

  /// A rule that calls itself before it has read a byte would be followed for ever.
  void refuse_left_recursion(const Automaton& automaton, const std::vector<std::uint32_t>& base) const {
    const auto index_of = [&](std::uint32_t start) {
      return static_cast<std::size_t>(std::lower_bound(base.begin(), base.end(), start) - base.begin());
    };
    // The states of each rule reached without a byte; a rule that may be empty lets its callers pass.
    std::vector<std::vector<std::uint32_t>> reached(rules_.size());
    std::vector<bool> nullable(rules_.size(), false);
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t r = 0; r < rules_.size(); ++r) {
        auto& states = reached[r];
        if (states.empty()) states.push_back(base[r]);
        for (std::size_t i = 0; i < states.size(); ++i) {
          if (automaton.states[states[i]].accepts && !nullable[r]) changed = nullable[r] = true;
          for (const Automaton::Call& call : automaton.calls_of(states[i])) {
            if (nullable[index_of(call.start)] && std::find(states.begin(), states.end(), call.to) == states.end()) {
              states.push_back(call.to);
              if (states.size() > 1000) refuse(rules_[r].name, "has more than 1000 parts in a row that may be empty");
            }
          }
        }
      }
    }
    std::vector<int> colour(rules_.size(), 0);  // 1: being followed, 2: done
    std::vector<std::pair<std::size_t, std::vector<std::size_t>>> path;
    const auto open = [&](std::size_t r) {
      colour[r] = 1;
      std::vector<std::size_t> callees;
      for (const std::uint32_t s : reached[r]) {
        for (const Automaton::Call& call : automaton.calls_of(s)) callees.push_back(index_of(call.start));
      }
      path.emplace_back(r, std::move(callees));
    };
    for (std::size_t r = 0; r < rules_.size(); ++r) {
      if (colour[r] == 0) open(r);
      while (!path.empty()) {
        auto& [rule, callees] = path.back();
        if (callees.empty()) {
          colour[rule] = 2;
          path.pop_back();
          continue;
        }
        const std::size_t callee = callees.back();
        callees.pop_back();
        if (colour[callee] == 1) {
          refuse(rules_[callee].name,
                 "refers to itself before it has matched anything (left recursion); put something in front of the "
                 "reference");
        }
        if (colour[callee] == 0) open(callee);
      }
    }
  }

  const Expressions& expressions_;
  RuleGraph graph_;
  std::vector<Rule> rules_;
  std::unordered_map<RuleId, RuleId> numbers_;
  std::unordered_map<ExprId, RuleId> shared_;
  Nfa* nfa_ = nullptr;
  std::string place_;
  std::size_t total_ = 0;
};

}  // namespace

std::size_t Automaton::memory_bytes() const {
  return states.capacity() * sizeof(State) + edges.capacity() * sizeof(Edge) + calls.capacity() * sizeof(Call) +
         by_cost.capacity() * sizeof(std::uint32_t);
}

Automaton compile(const Expressions& expressions, RuleId root) { return Compiler(expressions, root).finish(); }

}  // namespace qwen35::constraint
