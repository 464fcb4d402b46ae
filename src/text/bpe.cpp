#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>

namespace qwen35 {
namespace {

constexpr std::size_t short_word = 40;  // up to here trying every pair beats a heap
constexpr std::uint32_t no_merge = std::numeric_limits<std::uint32_t>::max();

}  // namespace

Bpe::Bpe(std::size_t merges) : slots_(std::bit_ceil(merges * 2 + 1)), mask_(slots_.size() - 1) {}

std::size_t Bpe::first_slot(TokenId left, TokenId right) const {
  const auto key =
      (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) | static_cast<std::uint32_t>(right);
  const std::uint64_t mixed = (key ^ (key >> 29)) * 0x9E3779B97F4A7C15U;
  return static_cast<std::size_t>(mixed ^ (mixed >> 32)) & mask_;
}

std::size_t Bpe::slot_of(TokenId left, TokenId right) const {
  std::size_t slot = first_slot(left, right);
  while (slots_[slot].left >= 0 && (slots_[slot].left != left || slots_[slot].right != right))
    slot = (slot + 1) & mask_;
  return slot;
}

const Bpe::Slot* Bpe::find(TokenId left, TokenId right) const {
  const Slot& slot = slots_[slot_of(left, right)];
  return slot.left >= 0 ? &slot : nullptr;
}

void Bpe::add_merge(TokenId left, TokenId right, std::uint32_t rank, TokenId merged) {
  slots_[slot_of(left, right)] = {left, right, rank, merged};
}

void Bpe::encode(std::string_view word, std::vector<TokenId>& out, Scratch& scratch) const {
  if (word.size() == 1) {
    out.push_back(byte_tokens_[static_cast<unsigned char>(word[0])]);
  } else if (word.size() <= short_word) {
    encode_short(word, out, scratch);
  } else {
    encode_long(word, out, scratch);
  }
}

void Bpe::encode_short(std::string_view word, std::vector<TokenId>& out, Scratch& scratch) const {
  auto& symbols = scratch.symbols;
  symbols.clear();
  for (const char c : word) symbols.push_back({byte_tokens_[static_cast<unsigned char>(c)], no_merge, -1});
  const auto rate = [&](std::size_t i) {
    const Slot* slot = i + 1 < symbols.size() ? find(symbols[i].id, symbols[i + 1].id) : nullptr;
    symbols[i].rank = slot != nullptr ? slot->rank : no_merge;
    symbols[i].merged = slot != nullptr ? slot->merged : -1;
  };
  for (std::size_t i = 0; i < symbols.size(); ++i) rate(i);
  while (true) {
    const auto best =
        std::min_element(symbols.begin(), symbols.end(), [](const auto& a, const auto& b) { return a.rank < b.rank; });
    if (best == symbols.end() || best->rank == no_merge) break;
    const auto i = static_cast<std::size_t>(best - symbols.begin());
    best->id = best->merged;
    symbols.erase(best + 1);
    rate(i);
    if (i > 0) rate(i - 1);
  }
  for (const auto& symbol : symbols) out.push_back(symbol.id);
}

// Candidates are kept by rank: the lowest rank is taken whole, from left to right. No merge makes a pair of its own
// rank anew, since the token it makes is longer than both sides of the pair. A long word has few ranks at a time, so
// this beats a heap of single candidates several times over.
void Bpe::encode_long(std::string_view word, std::vector<TokenId>& out, Scratch& scratch) const {
  auto& links = scratch.links;
  auto& candidates = scratch.candidates;
  auto& ranks = scratch.ranks;
  auto& newest = scratch.newest;
  auto& due = scratch.due;
  links.clear();
  candidates.clear();
  ranks.clear();
  newest.clear();
  const auto count = static_cast<std::int64_t>(word.size());
  for (std::int64_t i = 0; i < count; ++i) {
    const auto byte = static_cast<unsigned char>(word[static_cast<std::size_t>(i)]);
    links.push_back({byte_tokens_[byte], i - 1, i + 1 < count ? i + 1 : -1});
  }
  const auto link = [&links](std::int64_t i) -> Scratch::Link& { return links[static_cast<std::size_t>(i)]; };
  const auto propose = [&, this](std::int64_t i) {
    if (i < 0 || link(i).after < 0) return;
    const TokenId left = link(i).id;
    const TokenId right = link(link(i).after).id;
    const Slot* slot = find(left, right);
    if (slot == nullptr) return;
    const auto [entry, is_new] = newest.try_emplace(slot->rank, -1);
    if (is_new) {
      ranks.push_back(slot->rank);
      std::push_heap(ranks.begin(), ranks.end(), std::greater<>());
    }
    candidates.push_back({i, left, right, entry->second});
    entry->second = static_cast<std::int64_t>(candidates.size()) - 1;
  };
  for (std::int64_t i = 0; i + 1 < count; ++i) propose(i);
  while (!ranks.empty()) {
    std::pop_heap(ranks.begin(), ranks.end(), std::greater<>());
    const auto entry = newest.find(ranks.back());
    ranks.pop_back();
    due.clear();
    for (std::int64_t c = entry->second; c >= 0; c = due.back().next)
      due.push_back(candidates[static_cast<std::size_t>(c)]);
    newest.erase(entry);
    std::reverse(due.begin(), due.end());  // most often they were found from left to right
    const auto by_position = [](const auto& a, const auto& b) { return a.position < b.position; };
    if (!std::is_sorted(due.begin(), due.end(), by_position)) std::sort(due.begin(), due.end(), by_position);
    const TokenId merged = find(due.front().left, due.front().right)->merged;
    for (const auto& candidate : due) {
      const std::int64_t i = candidate.position;
      Scratch::Link& left = link(i);
      if (left.id != candidate.left || left.after < 0 || link(left.after).id != candidate.right) continue;  // gone
      Scratch::Link& right = link(left.after);
      left.id = merged;
      left.after = right.after;
      right.id = -1;
      if (left.after >= 0) link(left.after).before = i;
      propose(left.before);
      propose(i);
    }
  }
  for (std::int64_t i = 0; i >= 0; i = link(i).after) out.push_back(link(i).id);
}

}  // namespace qwen35
