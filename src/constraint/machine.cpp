#include "constraint/machine.h"

#include <algorithm>
#include <array>
#include <limits>

namespace qwen35::constraint {
namespace {

constexpr std::size_t cache_limit = std::size_t{48} << 20;  // bytes
constexpr std::int64_t any_slack = std::numeric_limits<std::int64_t>::max();

std::size_t mix(std::size_t h, std::uint64_t value) {
  h = (h ^ static_cast<std::size_t>(value)) * 0x9E3779B97F4A7C15ULL;
  return h ^ (h >> 29);
}

}  // namespace

std::size_t Machine::KeyHash::operator()(const Key& key) const {
  return mix(mix(mix(key.nodes, key.state), key.levels), static_cast<std::uint64_t>(key.slack));
}

std::size_t Machine::NodesHash::operator()(const Nodes& nodes) const {
  std::size_t h = nodes.size();
  for (const std::uint32_t n : nodes) h = mix(h, n);
  return h;
}

/// One walk: configurations over an empty stack are numbered, and their moves kept in rows of 256.
class Machine::Walker {
 public:
  Walker(const Machine& machine, std::uint32_t levels, std::int64_t slack)
      : m_(machine),
        runner_(machine.automaton()),
        stacks_(&machine.costs_),
        levels_(levels),
        slack_(slack),
        bits_(machine.trie_->vocabulary_size()) {}

  void run(const Nodes& roots, std::uint32_t state) {
    const TokenTrie& trie = *m_.trie_;
    std::uint32_t start = number(runner_.begin(state, stacks_, levels_));
    for (const std::uint32_t root : roots) {
      if (configs_[start].at_end) escapes_.push_back(root);
      path_.assign(1, start);
      const std::size_t base = trie.depth(root);
      const std::uint32_t end = trie.end(root);
      for (std::uint32_t n = root + 1; n < end;) {
        path_.resize(trie.depth(n) - base);
        const std::uint32_t to = next(path_.back(), trie.byte(n));
        if (to == dead) {
          n = trie.end(n);
          continue;
        }
        const Numbered& config = configs_[to];
        if (config.cost <= slack_) accept(trie.tokens(n), config.cost);
        if (config.at_end && trie.end(n) > n + 1) escapes_.push_back(n);
        path_.push_back(to);
        ++n;
      }
      start = path_.front();
    }
    std::sort(escapes_.begin(), escapes_.end());
    escapes_.erase(std::unique(escapes_.begin(), escapes_.end()), escapes_.end());
  }

  TokenBits bits() { return std::move(bits_); }
  [[nodiscard]] std::size_t count() const { return count_; }
  Nodes escapes() { return std::move(escapes_); }
  [[nodiscard]] std::uint32_t need() const { return pruned_ ? level_limit + 1 : need_; }
  [[nodiscard]] std::uint32_t worst() const { return worst_; }

 private:
  static constexpr std::uint32_t dead = 0xFFFFFFFF;
  static constexpr std::uint32_t unknown = 0xFFFFFFFE;
  static constexpr std::size_t most_configs = 16384;
  struct Numbered {
    Config config;
    std::int64_t cost = 0;
    bool at_end = false;
  };
  using Row = std::array<std::uint32_t, 256>;

  void accept(std::span<const TokenId> tokens, std::int64_t cost) {
    for (const TokenId id : tokens) {
      if (bits_.test(id)) continue;
      bits_.set(id);
      ++count_;
    }
    if (!tokens.empty()) worst_ = std::max(worst_, static_cast<std::uint32_t>(cost));
  }

  std::uint32_t next(std::uint32_t from, std::uint8_t byte) {
    const std::uint32_t known = rows_[from][byte];
    if (known != unknown) return known;
    if (const std::uint32_t to = next_alone(from, byte); to != unknown) return to;
    const std::uint32_t to = number(runner_.step(configs_[from].config, byte, stacks_, levels_, &pruned_));
    // number() may have renumbered what is on the path.
    rows_[path_.back()][byte] = to;
    return to;
  }

  /// The case that nearly all moves are: one item, and what it moves to neither calls nor returns. Fills in the row for
  /// the whole range that `byte` is in.
  std::uint32_t next_alone(std::uint32_t from, std::uint8_t byte) {
    if (configs_[from].config.items.size() != 1 || configs_.size() >= most_configs) return unknown;
    const Config::Item item = configs_[from].config.items[0];
    const Automaton& a = *m_.automaton_;
    for (const Automaton::Edge& edge : a.edges_of(item.state)) {
      if (edge.hi < byte) continue;
      if (edge.lo > byte) break;
      if (a.states[edge.to].accepts || !a.calls_of(edge.to).empty()) return unknown;
      if (stacks_.depth(item.node) + a.states[edge.to].height > levels_) return unknown;
      const std::uint64_t key = std::uint64_t{edge.to} << 32 | item.node;
      const auto [it, is_new] = alone_.try_emplace(key, dead);
      if (is_new) {
        Config config;
        config.items.push_back({edge.to, item.node, true});
        it->second = number(std::move(config));
      }
      const std::uint32_t to = it->second;
      std::fill(rows_[from].begin() + edge.lo, rows_[from].begin() + edge.hi + 1, to);
      return to;
    }
    rows_[from][byte] = dead;
    return dead;
  }

  std::uint32_t number(Config config) {
    if (config.items.empty() && !config.at_end) return dead;
    std::vector<std::uint32_t> key{config.at_end ? 1U : 0U};
    std::sort(config.items.begin(), config.items.end(),
              [](auto& a, auto& b) { return a.state != b.state ? a.state < b.state : a.node < b.node; });
    for (const Config::Item& item : config.items) {
      key.push_back(item.state);
      key.push_back(item.node);
    }
    if (const auto found = numbers_.find(key); found != numbers_.end()) return found->second;
    if (configs_.size() >= most_configs) restart();
    for (const Config::Item& item : config.items) {
      need_ = std::max(need_, stacks_.depth(item.node) + m_.automaton_->states[item.state].height);
      for (const Stacks::Frame& frame : stacks_.frames(item.node)) {
        if (frame.state == Automaton::no_state) continue;
        need_ = std::max(need_, stacks_.depth(frame.node) + m_.automaton_->states[frame.state].height);
      }
    }
    const auto id = static_cast<std::uint32_t>(configs_.size());
    const std::int64_t cost = runner_.cost(config, stacks_, m_.costs_);
    const bool at_end = config.at_end;
    configs_.push_back({std::move(config), cost, at_end});
    rows_.emplace_back().fill(unknown);
    numbers_.emplace(std::move(key), id);
    return id;
  }

  /// A grammar that remembers all it has read must not fill the memory: all but the path is dropped.
  void restart() {
    std::vector<Numbered> kept;
    std::vector<std::uint32_t> distinct = path_;
    std::sort(distinct.begin(), distinct.end());
    distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
    for (const std::uint32_t id : distinct) kept.push_back(std::move(configs_[id]));
    for (std::uint32_t& id : path_) {
      id = static_cast<std::uint32_t>(std::lower_bound(distinct.begin(), distinct.end(), id) - distinct.begin());
    }
    configs_ = std::move(kept);
    rows_.resize(configs_.size());
    for (Row& row : rows_) row.fill(unknown);
    numbers_.clear();
    alone_.clear();
  }

  const Machine& m_;
  Runner runner_;
  Stacks stacks_;
  std::uint32_t levels_;
  std::int64_t slack_;
  TokenBits bits_;
  std::size_t count_ = 0;
  Nodes escapes_;
  std::uint32_t need_ = 0;
  std::uint32_t worst_ = 0;
  bool pruned_ = false;
  std::vector<std::uint32_t> path_;
  std::vector<Numbered> configs_;
  std::vector<Row> rows_;
  std::unordered_map<Nodes, std::uint32_t, NodesHash> numbers_;
  std::unordered_map<std::uint64_t, std::uint32_t> alone_;  ///< of one item: state and node
};

Machine::Machine(std::shared_ptr<const Automaton> automaton, std::shared_ptr<const TokenTrie> trie)
    : automaton_(std::move(automaton)), trie_(std::move(trie)), all_(trie_->vocabulary_size()) {
  check_bytes();
  compute_costs();
  classes_ = token_classes(*automaton_, costs_, trie_->longest());
  for (const TokenId id : trie_->all_tokens()) all_.set(id);
  forget();
}

void Machine::check_bytes() const {
  std::array<bool, 256> used{};
  for (const Automaton::Edge& edge : automaton_->edges) {
    for (unsigned b = edge.lo; b <= edge.hi; ++b) used[b] = true;
  }
  for (unsigned b = 0; b < 256; ++b) {
    if (!used[b]) continue;
    const auto node = trie_->child(0, static_cast<std::uint8_t>(b));
    if (node && !trie_->tokens(*node).empty()) continue;
    throw Error(ErrorCode::invalid_argument,
                "the vocabulary has no token for the single byte " + std::to_string(b) +
                    ", which the grammar may need; constrained output needs a byte-level vocabulary");
  }
}

/// The way of each state is cut into the fewest tokens, from the end backwards.
void Machine::compute_costs() {
  costs_.assign(automaton_->size(), 0);
  first_tokens_.assign(automaton_->size(), -1);
  for (const std::uint32_t s : automaton_->by_cost) {
    const Automaton::Way& way = automaton_->states[s].way;
    if (way.kind == Automaton::Way::Kind::call) {
      const Automaton::Call& call = automaton_->calls[way.to];
      costs_[s] = add_costs(costs_[call.start], costs_[call.to]);
    }
    if (way.kind != Automaton::Way::Kind::byte) continue;
    std::uint32_t best = most_cost;
    std::uint32_t node = 0;
    std::uint32_t at = s;
    while (automaton_->states[at].way.kind == Automaton::Way::Kind::byte) {
      const auto child = trie_->child(node, automaton_->states[at].way.byte);
      if (!child) break;
      node = *child;
      at = automaton_->states[at].way.to;
      if (trie_->tokens(node).empty() || costs_[at] + 1 > best) continue;
      best = costs_[at] + 1;
      first_tokens_[s] = trie_->tokens(node).front();
    }
    costs_[s] = best;
  }
}

std::uint32_t Machine::number(Nodes nodes) {
  const auto [it, is_new] = numbers_.try_emplace(std::move(nodes), static_cast<std::uint32_t>(sets_.size()));
  if (is_new) {
    sets_.push_back(&it->first);
    cached_bytes_ += it->first.capacity() * sizeof(std::uint32_t) + 64;
  }
  return it->second;
}

void Machine::forget() {
  walks_.clear();
  numbers_.clear();
  sets_.clear();
  cached_bytes_ = 0;
  number({});   // 0: nothing left to follow
  number({0});  // 1: from the front of every token
}

const Machine::Walk& Machine::computed(std::uint32_t nodes, std::uint32_t state, std::uint32_t levels,
                                       std::int64_t slack) {
  const Key key{nodes, classes_[state], levels, slack};
  if (const auto known = walks_.find(key); known != walks_.end()) return known->second;
  Walker walker(*this, levels, slack);
  walker.run(*sets_[nodes], state);
  Walk walk{TokenSet(walker.bits(), walker.count(), trie_->all_tokens()), number(walker.escapes()), walker.need(),
            walker.worst()};
  cached_bytes_ += walk.tokens.memory_bytes() + sizeof(Walk) + 64;
  return walks_.emplace(key, std::move(walk)).first->second;
}

const Machine::Walk& Machine::walk(std::uint32_t nodes, std::uint32_t state, std::uint32_t levels, std::int64_t slack) {
  const Walk& whole = computed(nodes, state, level_limit, any_slack);
  const bool deep = whole.need <= levels || levels == level_limit;
  const bool long_enough = whole.worst <= slack;
  if (deep && long_enough) return whole;
  return computed(nodes, state, deep ? level_limit : levels,
                  long_enough ? any_slack : std::max<std::int64_t>(slack, -1));
}

void Machine::add_legal(const Config& config, const Stacks& stacks, std::uint32_t most_left, TokenBits& out) {
  const std::scoped_lock lock(mutex_);
  if (cached_bytes_ > cache_limit) forget();
  struct Part {
    std::uint32_t nodes, state, stack;
    auto operator<=>(const Part&) const = default;
  };
  std::set<Part> seen;
  std::vector<Part> todo;
  for (const Config::Item& item : config.items) {
    if (item.kernel) todo.push_back({1, item.state, item.node});
  }
  while (!todo.empty()) {
    const Part part = todo.back();
    todo.pop_back();
    if (!seen.insert(part).second) continue;
    const std::uint32_t depth = stacks.depth(part.stack);
    const std::int64_t slack =
        most_left >= most_cost ? any_slack : std::int64_t{most_left} - std::int64_t{stacks.cost(part.stack)};
    const Walk& found = walk(part.nodes, part.state, level_limit - depth, slack);
    found.tokens.add_to(out, all_);
    if (found.escapes == 0) continue;
    for (const Stacks::Frame& frame : stacks.frames(part.stack)) {
      if (frame.state != Automaton::no_state) todo.push_back({found.escapes, frame.state, frame.node});
    }
  }
}

std::size_t Machine::cached_bytes() const {
  const std::scoped_lock lock(mutex_);
  return cached_bytes_;
}

std::size_t Machine::walks() const {
  const std::scoped_lock lock(mutex_);
  return walks_.size();
}

}  // namespace qwen35::constraint
