#include "chat/checkpoints.h"

#include <algorithm>
#include <utility>

namespace qwen35 {
namespace {

bool begins_with(std::span<const TokenId> tokens, std::span<const TokenId> beginning) {
  return beginning.size() <= tokens.size() && std::equal(beginning.begin(), beginning.end(), tokens.begin());
}

}  // namespace

std::optional<Checkpoint> Checkpoints::find(std::span<const TokenId> tokens) {
  const std::lock_guard hold(mutex_);
  Entry* best = nullptr;
  for (Entry& entry : entries_) {
    if (best != nullptr && entry.tokens.size() <= best->tokens.size()) continue;
    if (entry.tokens.size() == tokens.size() && entry.logits == nullptr) continue;
    if (begins_with(tokens, entry.tokens)) best = &entry;
  }
  if (best == nullptr) return std::nullopt;
  best->used = ++clock_;
  return Checkpoint{best->tokens.size(), best->snapshot, best->logits};
}

bool Checkpoints::contains(std::span<const TokenId> tokens, bool with_logits) const {
  const std::lock_guard hold(mutex_);
  return std::any_of(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.tokens.size() == tokens.size() && (!with_logits || entry.logits != nullptr) &&
           begins_with(tokens, entry.tokens);
  });
}

void Checkpoints::add(std::span<const TokenId> tokens, std::shared_ptr<const Snapshot> snapshot,
                      std::shared_ptr<const std::vector<float>> logits) {
  if (tokens.empty()) return;
  const std::lock_guard hold(mutex_);
  std::erase_if(entries_, [&](const Entry& entry) {
    return entry.tokens.size() == tokens.size() && begins_with(tokens, entry.tokens);
  });
  Entry entry{{tokens.begin(), tokens.end()}, std::move(snapshot), std::move(logits), ++clock_, 0};
  entry.parent = parent_of(entry);
  // What had the same parent and leads through the new one is redone from there.
  for (Entry& other : entries_) {
    if (other.parent == entry.parent && other.tokens.size() > tokens.size() && begins_with(other.tokens, tokens))
      other.parent = tokens.size();
  }
  entries_.push_back(std::move(entry));
  fit(budget_ - std::min(budget_, live_), kMost);
}

void Checkpoints::account_live(std::size_t before, std::size_t now) {
  const std::lock_guard hold(mutex_);
  live_ = live_ - std::min(live_, before) + now;
  if (now > before) fit(budget_ - std::min(budget_, live_), kMost);
}

void Checkpoints::shrink_to(std::size_t bytes) {
  const std::lock_guard hold(mutex_);
  fit(bytes, entries_.size());
}

std::size_t Checkpoints::memory_bytes() const {
  const std::lock_guard hold(mutex_);
  return held();
}

std::size_t Checkpoints::count() const {
  const std::lock_guard hold(mutex_);
  return entries_.size();
}

std::size_t Checkpoints::held() const {
  std::size_t bytes = 0;
  for (const Entry& entry : entries_) {
    bytes += entry.snapshot->memory_bytes() + entry.tokens.capacity() * sizeof(TokenId);
    if (entry.logits != nullptr) bytes += entry.logits->capacity() * sizeof(float);
  }
  return bytes;
}

/// Drops what is worth least until the rest fits: worth is the tokens that would have to be computed again, less with
/// every use of others since.
void Checkpoints::fit(std::size_t bytes, std::size_t most) {
  while (!entries_.empty() && (entries_.size() > most || held() > bytes)) {
    const auto worth = [&](const Entry& entry) {
      return static_cast<double>(entry.tokens.size() - entry.parent) / static_cast<double>(1 + clock_ - entry.used);
    };
    const auto least = std::min_element(entries_.begin(), entries_.end(),
                                        [&](const Entry& a, const Entry& b) { return worth(a) < worth(b); });
    drop(static_cast<std::size_t>(least - entries_.begin()));
  }
}

void Checkpoints::drop(std::size_t index) {
  const Entry dropped = std::move(entries_[index]);
  entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(index));
  for (Entry& entry : entries_) {
    if (entry.parent == dropped.tokens.size() && begins_with(entry.tokens, dropped.tokens))
      entry.parent = dropped.parent;
  }
}

std::size_t Checkpoints::parent_of(const Entry& entry) const {
  std::size_t parent = 0;
  for (const Entry& other : entries_) {
    if (other.tokens.size() > parent && other.tokens.size() < entry.tokens.size() &&
        begins_with(entry.tokens, other.tokens))
      parent = other.tokens.size();
  }
  return parent;
}

}  // namespace qwen35
