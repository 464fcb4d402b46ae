#include "constraint/constraint.h"

#include <qwen35/error.h>

#include <algorithm>
#include <array>
#include <bit>

#include "constraint/machine.h"

namespace qwen35 {
namespace {

using constraint::Automaton;
using constraint::Config;
using constraint::level_limit;
using constraint::Runner;
using constraint::Stacks;

constexpr float never = -std::numeric_limits<float>::infinity();
constexpr std::size_t many_nodes = 96;  // of stacks, before the dead ones are dropped

/// Up to 64 logits: those without a bit become -infinity. Works through the rarer kind bit by bit: branches on mixed
/// bits would cost a millisecond a vocabulary.
void keep_only(std::span<float> logits, std::uint64_t legal) {
  const std::uint64_t all = logits.size() == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << logits.size()) - 1;
  if (std::popcount(legal) > 32) {
    for (std::uint64_t rest = all & ~legal; rest != 0; rest &= rest - 1) {
      logits[static_cast<std::size_t>(std::countr_zero(rest))] = never;
    }
    return;
  }
  std::array<float, 32> kept;
  std::size_t count = 0;
  for (std::uint64_t rest = legal; rest != 0; rest &= rest - 1) {
    kept[count++] = logits[static_cast<std::size_t>(std::countr_zero(rest))];
  }
  std::fill(logits.begin(), logits.end(), never);
  count = 0;
  for (std::uint64_t rest = legal; rest != 0; rest &= rest - 1) {
    logits[static_cast<std::size_t>(std::countr_zero(rest))] = kept[count++];
  }
}

}  // namespace

Constraint::Constraint(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTrie> trie,
                       std::vector<TokenId> ends)
    : grammar_(std::move(grammar)),
      machine_(grammar_->machine(trie)),
      ends_(std::make_shared<const std::vector<TokenId>>(std::move(ends))),
      stacks_(&machine_->costs()) {
  config_ = Runner(machine_->automaton()).begin(machine_->automaton().start, stacks_, level_limit);
  update();
}

void Constraint::update() {
  ending_size_ = Runner(machine_->automaton()).cost(config_, stacks_, machine_->costs());
  if (stacks_.size() <= many_nodes) return;
  std::vector<std::uint32_t*> roots;
  for (Config::Item& item : config_.items) roots.push_back(&item.node);
  stacks_.compact(roots);
}

bool Constraint::is_end(TokenId token) const { return std::find(ends_->begin(), ends_->end(), token) != ends_->end(); }

std::uint32_t Constraint::most_left(std::size_t budget) const {
  const std::size_t fitting = std::max(budget, ending_size_);
  if (fitting == 0) return 0;
  return static_cast<std::uint32_t>(std::min<std::size_t>(fitting - 1, constraint::most_cost));
}

void Constraint::mask(std::span<float> logits, std::size_t budget) const {
  constraint::TokenBits legal(std::max(logits.size(), machine_->trie().vocabulary_size()));
  // With nothing left to spend and nothing left to say, only an end fits.
  if (!ended_ && std::max(budget, ending_size_) > 0) {
    constraint::TokenBits found(machine_->trie().vocabulary_size());
    const bool complete = machine_->add_legal(config_, stacks_, most_left(budget), found);
    legal.add(found);
    // The way out must be there even when the walk was cut short.
    if (!complete && ending_size_ > 0) legal.set(ending_token());
  }
  if (can_end() || ended_) {
    for (const TokenId id : *ends_) {
      if (id >= 0 && static_cast<std::size_t>(id) < logits.size()) legal.set(id);
    }
  }
  const auto words = legal.words();
  for (std::size_t w = 0; w * 64 < logits.size(); ++w) {
    const auto part = logits.subspan(w * 64, std::min<std::size_t>(64, logits.size() - w * 64));
    keep_only(part, part.size() == 64 ? words[w] : words[w] & ((std::uint64_t{1} << part.size()) - 1));
  }
}

bool Constraint::allows(TokenId token, std::size_t budget) const {
  if (is_end(token)) return can_end() || ended_;
  if (ended_ || std::max(budget, ending_size_) == 0) return false;
  Constraint trial = *this;
  return trial.accept(token) && trial.ending_size_ <= most_left(budget);
}

bool Constraint::accept(TokenId token) {
  if (is_end(token)) {
    if (!can_end() && !ended_) return false;
    ended_ = true;
    return true;
  }
  const std::string_view bytes = machine_->trie().bytes(token);
  return !bytes.empty() && accept_bytes(bytes);
}

bool Constraint::accept_bytes(std::string_view bytes) {
  if (ended_) return bytes.empty();
  const Runner runner(machine_->automaton());
  Config config = config_;
  for (const char byte : bytes) {
    config = runner.step(config, static_cast<std::uint8_t>(byte), stacks_, level_limit);
    if (config.items.empty() && !config.at_end) return false;
  }
  config_ = std::move(config);
  update();
  return true;
}

bool Constraint::must_end() const {
  if (ended_) return true;
  // Calls need no look: what they lead to is among the items.
  return can_end() && std::all_of(config_.items.begin(), config_.items.end(), [this](const Config::Item& item) {
           return machine_->automaton().edges_of(item.state).empty();
         });
}

/// The first token of the shortest ending, which is not empty.
TokenId Constraint::ending_token() const {
  for (const Config::Item& item : config_.items) {
    if (machine_->automaton().states[item.state].way.kind != Automaton::Way::Kind::byte) continue;
    const std::uint32_t cost = constraint::add_costs(machine_->costs()[item.state], stacks_.cost(item.node));
    if (cost == ending_size_) return machine_->first_token(item.state);
  }
  throw Error(ErrorCode::internal, "the shortest ending of a constrained reply was not found");
}

std::vector<TokenId> Constraint::shortest_ending() const {
  std::vector<TokenId> out;
  Constraint ahead = *this;
  while (ahead.ending_size_ > 0) {
    const std::size_t before = ahead.ending_size_;
    out.push_back(ahead.ending_token());
    if (!ahead.accept(out.back()) || ahead.ending_size_ >= before) {
      throw Error(ErrorCode::internal, "the shortest ending of a constrained reply does not get shorter");
    }
  }
  return out;
}

}  // namespace qwen35
