#include "constraint/machine.h"

#include <algorithm>
#include <array>
#include <limits>

namespace qwen35::constraint {
namespace {

constexpr std::size_t cache_limit = std::size_t{48} << 20;  // bytes
/// Of one walk; a few hundredths of a second. Only very ambiguous grammars come near.
constexpr std::uint64_t work_limit = 300'000;
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
        whole_(machine.trie_->vocabulary_size()),
        limited_(machine.trie_->vocabulary_size()),
        path_(machine.trie_->longest() + 1) {}

  void run(const Nodes& roots, std::uint32_t state) {
    const TokenTrie& trie = *m_.trie_;
    path_size_ = 0;
    std::uint32_t start = number(runner_.begin(state, stacks_, levels_));
    for (const std::uint32_t root : roots) {
      if (exhausted() && root != 0) break;
      if (ends_[start].at_end) escapes_.push_back(root);
      path_[0] = start;
      const std::size_t base = trie.depth(root);
      const std::uint32_t end = trie.end(root);
      for (std::uint32_t n = root + 1; n < end;) {
        path_size_ = trie.depth(n) - base;
        const std::uint8_t byte = trie.byte(n);
        std::uint32_t to = rows_[path_[path_size_ - 1]][byte];
        if (to == unknown) to = exhausted() && path_size_ > 1 ? dead : next(byte);
        if (to == dead) {
          n = trie.end(n);
          continue;
        }
        const End& config = ends_[to];
        const auto tokens = trie.tokens(n);
        if (!tokens.empty()) accept(tokens, config.cost);
        if (config.at_end && trie.end(n) > n + 1) escapes_.push_back(n);
        path_[path_size_] = to;
        ++n;
      }
      start = path_[0];
    }
    std::sort(escapes_.begin(), escapes_.end());
    escapes_.erase(std::unique(escapes_.begin(), escapes_.end()), escapes_.end());
  }

  /// All tokens that may follow, and those of them that cost no more than the slack.
  TokenBits whole() { return std::move(whole_); }
  TokenBits limited() { return std::move(limited_); }
  Nodes escapes() { return std::move(escapes_); }
  [[nodiscard]] std::uint32_t need() const { return pruned_ ? level_limit + 1 : need_; }
  [[nodiscard]] std::uint32_t worst() const { return worst_; }
  /// Tokens of several bytes may have been left out; those of one byte never are, so that every text stays possible.
  [[nodiscard]] bool exhausted() const { return stacks_.work() > work_limit; }

 private:
  static constexpr std::uint32_t dead = 0xFFFFFFFF;
  static constexpr std::uint32_t unknown = 0xFFFFFFFE;
  static constexpr std::size_t most_configs = 16384;
  struct End {
    std::uint32_t cost = 0;
    bool at_end = false;
  };
  using Row = std::array<std::uint32_t, 256>;

  void accept(std::span<const TokenId> tokens, std::uint32_t cost) {
    worst_ = std::max(worst_, cost);
    for (const TokenId id : tokens) whole_.set(id);
    if (cost > slack_) return;
    for (const TokenId id : tokens) limited_.set(id);
  }

  /// A move from the end of the path that is not in its row yet.
  std::uint32_t next(std::uint8_t byte) {
    const std::uint32_t from = path_[path_size_ - 1];
    if (const std::uint32_t to = next_alone(from, byte); to != unknown) return to;
    const std::uint32_t to = number(runner_.step(configs_[from], byte, stacks_, levels_, &pruned_));
    // number() may have renumbered what is on the path.
    rows_[path_[path_size_ - 1]][byte] = to;
    return to;
  }

  /// The case that nearly all moves are: one item, and what it moves to neither calls nor returns. Fills in the row for
  /// the whole range that `byte` is in.
  std::uint32_t next_alone(std::uint32_t from, std::uint8_t byte) {
    if (configs_[from].items.size() != 1 || configs_.size() >= most_configs) return unknown;
    const Config::Item item = configs_[from].items[0];
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
    ends_.push_back({runner_.cost(config, stacks_, m_.costs_), config.at_end});
    configs_.push_back(std::move(config));
    rows_.emplace_back().fill(unknown);
    numbers_.emplace(std::move(key), id);
    return id;
  }

  /// A grammar that remembers all it has read must not fill the memory: all but the path is dropped.
  void restart() {
    std::vector<Config> kept;
    std::vector<End> kept_ends;
    const std::span<std::uint32_t> path = std::span(path_).first(path_size_);
    std::vector<std::uint32_t> distinct(path.begin(), path.end());
    std::sort(distinct.begin(), distinct.end());
    distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
    for (const std::uint32_t id : distinct) {
      kept.push_back(std::move(configs_[id]));
      kept_ends.push_back(ends_[id]);
    }
    for (std::uint32_t& id : path) {
      id = static_cast<std::uint32_t>(std::lower_bound(distinct.begin(), distinct.end(), id) - distinct.begin());
    }
    configs_ = std::move(kept);
    ends_ = std::move(kept_ends);
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
  TokenBits whole_;
  TokenBits limited_;
  Nodes escapes_;
  std::uint32_t need_ = 0;
  std::uint32_t worst_ = 0;
  bool pruned_ = false;
  std::vector<std::uint32_t> path_;  ///< configurations from the root of the subtree on
  std::size_t path_size_ = 0;
  std::vector<Config> configs_;
  std::vector<End> ends_;  ///< of each configuration
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

/// Walks, once for all slacks and for this one too.
void Machine::compute(std::uint32_t nodes, std::uint32_t state, std::uint32_t levels, std::int64_t slack) {
  Walker walker(*this, levels, slack);
  walker.run(*sets_[nodes], state);
  const std::uint32_t escapes = number(walker.escapes());
  const auto keep = [&](std::int64_t of, TokenBits bits) {
    Walk walk{TokenSet(std::move(bits), trie_->all_tokens()), escapes, walker.need(), walker.worst(),
              !walker.exhausted()};
    const std::size_t bytes = walk.tokens.memory_bytes() + sizeof(Walk) + 64;
    if (walks_.try_emplace(Key{nodes, classes_[state], levels, of}, std::move(walk)).second) cached_bytes_ += bytes;
  };
  keep(any_slack, walker.whole());
  if (walker.worst() > slack) keep(slack, walker.limited());
}

const Machine::Walk& Machine::walk(std::uint32_t nodes, std::uint32_t state, std::uint32_t levels, std::int64_t slack) {
  slack = std::max<std::int64_t>(slack, -1);
  const auto find = [&](std::uint32_t of_levels, std::int64_t of_slack) -> const Walk& {
    const Key key{nodes, classes_[state], of_levels, of_slack};
    auto found = walks_.find(key);
    if (found == walks_.end()) {
      compute(nodes, state, of_levels, slack);
      found = walks_.find(key);
    }
    return found->second;
  };
  const Walk* whole = &find(level_limit, any_slack);
  if (whole->need > levels && levels != level_limit) {
    // The limit of levels is near, and leaves something out.
    whole = &find(levels, any_slack);
    return whole->worst <= slack ? *whole : find(levels, slack);
  }
  return whole->worst <= slack ? *whole : find(level_limit, slack);
}

bool Machine::add_legal(const Config& config, const Stacks& stacks, std::uint32_t most_left, TokenBits& out) {
  const std::scoped_lock lock(mutex_);
  if (cached_bytes_ > cache_limit) forget();
  struct Part {
    std::uint32_t nodes, state, stack;
    auto operator<=>(const Part&) const = default;
  };
  bool complete = true;
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
    complete = complete && found.complete;
    if (found.escapes == 0) continue;
    for (const Stacks::Frame& frame : stacks.frames(part.stack)) {
      if (frame.state != Automaton::no_state) todo.push_back({found.escapes, frame.state, frame.node});
    }
  }
  return complete;
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
