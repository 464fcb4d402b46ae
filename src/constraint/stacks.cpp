#include "constraint/stacks.h"

#include <algorithm>
#include <tuple>

namespace qwen35::constraint {
namespace {

constexpr std::uint32_t no_slot = 0xFFFFFFFF;

}  // namespace

Stacks::Stacks(const Costs* costs) : costs_(costs) {
  rehash(64);
  const Frame end{Automaton::no_state, bottom};
  nodes_.push_back({0, 1, 0, 0});
  frames_.push_back(end);
  slots_[hash(frames(bottom)) % slots_.size()] = bottom;
}

std::size_t Stacks::hash(std::span<const Frame> frames) const {
  std::uint64_t h = frames.size();
  for (const Frame& f : frames) h = (h ^ (std::uint64_t{f.state} << 32 | f.node)) * 0x9E3779B97F4A7C15ULL;
  return static_cast<std::size_t>(h ^ (h >> 32));
}

void Stacks::rehash(std::size_t slots) {
  slots_.assign(slots, no_slot);
  for (std::uint32_t n = 0; n < nodes_.size(); ++n) {
    std::size_t at = hash(frames(n)) % slots;
    while (slots_[at] != no_slot) at = (at + 1) % slots;
    slots_[at] = n;
  }
}

std::uint32_t Stacks::node(std::span<const Frame> wanted, std::uint32_t depth) {
  add_work(wanted.size());
  std::size_t at = hash(wanted) % slots_.size();
  for (; slots_[at] != no_slot; at = (at + 1) % slots_.size()) {
    const std::uint32_t n = slots_[at];
    if (nodes_[n].depth == depth && std::ranges::equal(frames(n), wanted)) return n;
  }
  std::uint32_t cost = most_cost;
  for (const Frame& f : wanted) {
    cost = std::min(cost, f.state == Automaton::no_state ? 0 : add_costs((*costs_)[f.state], nodes_[f.node].cost));
  }
  const auto n = static_cast<std::uint32_t>(nodes_.size());
  nodes_.push_back(
      {static_cast<std::uint32_t>(frames_.size()), static_cast<std::uint32_t>(wanted.size()), depth, cost});
  frames_.insert(frames_.end(), wanted.begin(), wanted.end());
  slots_[at] = n;
  if (nodes_.size() * 2 > slots_.size()) rehash(slots_.size() * 2);
  return n;
}

std::uint32_t Stacks::join(std::uint32_t a, std::uint32_t b) {
  if (a == b) return a;
  const std::uint64_t key = std::uint64_t{std::min(a, b)} << 32 | std::max(a, b);
  if (const auto known = joined_.find(key); known != joined_.end()) return known->second;
  add_work(2 * (frames(a).size() + frames(b).size()));
  std::vector<Frame> both(frames(a).begin(), frames(a).end());
  both.insert(both.end(), frames(b).begin(), frames(b).end());
  const auto order = [this](const Frame& f) { return std::tuple(f.state, depth(f.node)); };
  std::sort(both.begin(), both.end(), [&](auto& x, auto& y) { return order(x) < order(y); });
  std::vector<Frame> merged;
  for (const Frame& f : both) {
    if (!merged.empty() && order(merged.back()) == order(f)) {
      merged.back().node = join(merged.back().node, f.node);
    } else {
      merged.push_back(f);
    }
  }
  const std::uint32_t result = node(merged, depth(a));
  joined_.emplace(key, result);
  return result;
}

void Stacks::compact(std::span<std::uint32_t* const> roots) {
  Stacks kept(costs_);
  std::vector<std::uint32_t> number(nodes_.size(), no_slot);
  number[bottom] = bottom;
  // A node's frames stand on older nodes, so that the order of age is an order of building.
  std::vector<bool> live(nodes_.size(), false);
  for (const std::uint32_t* root : roots) live[*root] = true;
  for (std::size_t n = nodes_.size(); n-- > 1;) {
    if (!live[n]) continue;
    for (const Frame& f : frames(static_cast<std::uint32_t>(n))) live[f.node] = true;
  }
  std::vector<Frame> moved;
  for (std::uint32_t n = 1; n < nodes_.size(); ++n) {
    if (!live[n]) continue;
    moved.assign(frames(n).begin(), frames(n).end());
    for (Frame& f : moved) f.node = number[f.node];
    number[n] = kept.node(moved, depth(n));
  }
  for (std::uint32_t* root : roots) *root = number[*root];
  *this = std::move(kept);
}

Config Runner::begin(std::uint32_t state, Stacks& stacks, std::uint32_t levels) const {
  Config config;
  config.items.push_back({state, Stacks::bottom, true});
  close(config, stacks, levels, nullptr);
  return config;
}

Config Runner::step(const Config& from, std::uint8_t byte, Stacks& stacks, std::uint32_t levels, bool* pruned) const {
  Config config;
  for (const Config::Item& item : from.items) {
    const std::uint32_t to = a_->next(item.state, byte);
    if (to == Automaton::no_state) continue;
    if (stacks.depth(item.node) + a_->states[to].height > levels) {
      if (pruned != nullptr) *pruned = true;
      continue;
    }
    const auto same = std::find_if(config.items.begin(), config.items.end(), [&](const Config::Item& other) {
      return other.state == to && stacks.depth(other.node) == stacks.depth(item.node);
    });
    if (same == config.items.end()) {
      config.items.push_back({to, item.node, true});
    } else {
      same->node = stacks.join(same->node, item.node);
    }
  }
  close(config, stacks, levels, pruned);
  return config;
}

void Runner::close(Config& config, Stacks& stacks, std::uint32_t levels, bool* pruned) const {
  const auto add = [&](std::uint32_t state, std::uint32_t node, std::vector<std::size_t>& todo) {
    const std::uint32_t depth = stacks.depth(node);
    stacks.add_work(1 + config.items.size() / 8);
    if (depth + a_->states[state].height > levels) {
      if (pruned != nullptr) *pruned = true;
      return;
    }
    for (std::size_t i = 0; i < config.items.size(); ++i) {
      Config::Item& item = config.items[i];
      if (item.state != state || stacks.depth(item.node) != depth) continue;
      const std::uint32_t joined = stacks.join(item.node, node);
      if (joined != item.node) {
        item.node = joined;
        todo.push_back(i);
      }
      return;
    }
    config.items.push_back({state, node, false});
    todo.push_back(config.items.size() - 1);
  };
  std::vector<std::size_t> todo;
  for (std::size_t i = config.items.size(); i-- > 0;) {
    const std::uint32_t state = config.items[i].state;
    if (a_->states[state].accepts || !a_->calls_of(state).empty()) todo.push_back(i);
  }
  std::vector<Stacks::Frame> frames;
  while (!todo.empty()) {
    const Config::Item item = config.items[todo.back()];
    todo.pop_back();
    if (a_->states[item.state].accepts) {
      frames.assign(stacks.frames(item.node).begin(), stacks.frames(item.node).end());
      for (const Stacks::Frame& f : frames) {
        if (f.state == Automaton::no_state) {
          config.at_end = true;
        } else {
          add(f.state, f.node, todo);
        }
      }
    }
    for (const Automaton::Call& call : a_->calls_of(item.state)) {
      if (call.tail) {
        add(call.start, item.node, todo);
        continue;
      }
      const std::uint32_t depth = stacks.depth(item.node);
      if (depth + a_->states[call.to].height > levels) {
        if (pruned != nullptr) *pruned = true;
        continue;
      }
      const Stacks::Frame frame{call.to, item.node};
      const std::uint32_t below = depth + (call.counted ? 1 : 0);
      if (below + a_->states[call.start].height > levels) {
        if (pruned != nullptr) *pruned = true;
        continue;
      }
      add(call.start, stacks.node(std::span(&frame, 1), below), todo);
    }
  }
}

std::uint32_t Runner::cost(const Config& config, const Stacks& stacks, const Costs& costs) const {
  if (config.at_end) return 0;
  std::uint32_t best = most_cost;
  for (const Config::Item& item : config.items) {
    best = std::min(best, add_costs(costs[item.state], stacks.cost(item.node)));
  }
  return best;
}

}  // namespace qwen35::constraint
