#include "text/vocabulary.h"

#include <array>
#include <bit>
#include <cstring>
#include <random>

namespace qwen35 {
namespace {

std::uint32_t tag_of(std::uint64_t hash) { return static_cast<std::uint32_t>(hash >> 32); }

/// Both halves of a 64 by 64 bit product, folded: every bit of either factor reaches every bit of the result.
std::uint64_t fold(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t low = (a & 0xFFFFFFFFU) * (b & 0xFFFFFFFFU);
  const std::uint64_t cross1 = (a >> 32) * (b & 0xFFFFFFFFU) + (low >> 32);
  const std::uint64_t cross2 = (a & 0xFFFFFFFFU) * (b >> 32) + (cross1 & 0xFFFFFFFFU);
  const std::uint64_t high = (a >> 32) * (b >> 32) + (cross1 >> 32) + (cross2 >> 32);
  return high ^ ((cross2 << 32) | (low & 0xFFFFFFFFU));
}

}  // namespace

Vocabulary::Vocabulary(std::size_t entries) : slots_(std::bit_ceil(entries * 2 + 1)) {
  entries_.reserve(entries);
  std::random_device device;
  seed_ = (static_cast<std::uint64_t>(device()) << 32) | device();
}

std::uint64_t Vocabulary::hash(std::string_view text) const {
  std::uint64_t state = seed_ ^ text.size();
  const auto absorb = [&state, this](std::uint64_t word) { state = fold(state ^ word, seed_ | 1U) + word; };
  while (text.size() >= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data(), 8);
    absorb(word);
    text.remove_prefix(8);
  }
  std::uint64_t word = 0;
  std::memcpy(&word, text.data(), text.size());
  absorb(word);
  return fold(state, 0x9E3779B97F4A7C15U);
}

std::size_t Vocabulary::slot_of(std::string_view text, std::uint64_t hash) const {
  std::size_t slot = first_slot(hash);
  while (slots_[slot].entry != 0) {
    if (slots_[slot].tag == tag_of(hash) && entries_[slots_[slot].entry - 1].text == text) break;
    slot = (slot + 1) & (slots_.size() - 1);
  }
  return slot;
}

std::size_t Vocabulary::insert(std::span<const std::string_view> texts, std::span<const TokenId> ids) {
  std::array<std::uint64_t, batch> hashes{};
  for (std::size_t i = 0; i < texts.size(); ++i) {
    hashes[i] = hash(texts[i]);
    __builtin_prefetch(&slots_[first_slot(hashes[i])]);
  }
  for (std::size_t i = 0; i < texts.size(); ++i) {
    Slot& slot = slots_[slot_of(texts[i], hashes[i])];
    if (slot.entry != 0) return i;
    entries_.push_back({texts[i], ids[i]});
    slot = {tag_of(hashes[i]), static_cast<std::uint32_t>(entries_.size())};
  }
  return texts.size();
}

TokenId Vocabulary::find(std::string_view text) const {
  const Slot& slot = slots_[slot_of(text, hash(text))];
  return slot.entry != 0 ? entries_[slot.entry - 1].id : -1;
}

void Vocabulary::find(std::span<const std::string_view> texts, std::span<TokenId> ids) const {
  std::array<std::uint64_t, batch> hashes{};
  std::array<std::uint32_t, batch> likely{};
  for (std::size_t i = 0; i < texts.size(); ++i) {
    hashes[i] = hash(texts[i]);
    __builtin_prefetch(&slots_[first_slot(hashes[i])]);
  }
  for (std::size_t i = 0; i < texts.size(); ++i) {
    likely[i] = slots_[first_slot(hashes[i])].entry;
    if (likely[i] != 0) __builtin_prefetch(&entries_[likely[i] - 1]);
  }
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (likely[i] != 0) __builtin_prefetch(entries_[likely[i] - 1].text.data());
  }
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const Slot& slot = slots_[slot_of(texts[i], hashes[i])];
    ids[i] = slot.entry != 0 ? entries_[slot.entry - 1].id : -1;
  }
}

}  // namespace qwen35
