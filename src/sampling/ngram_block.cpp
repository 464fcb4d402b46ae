#include "sampling/ngram_block.h"

#include <qwen35/error.h>

#include <algorithm>
#include <limits>
#include <string>

namespace qwen35 {
namespace {

std::size_t checked_context(int n) {
  if (n != 0 && (n < 2 || n > 256)) {
    throw Error(ErrorCode::invalid_argument,
                "no_repeat_ngram is " + std::to_string(n) + "; expected 0 (off) or a length from 2 to 256");
  }
  return n == 0 ? 0 : static_cast<std::size_t>(n) - 1;
}

}  // namespace

NgramBlock::NgramBlock(int n) : context_(checked_context(n)) {}

/// Of the n - 1 tokens before `position`.
std::uint64_t NgramBlock::hash_before(std::size_t position) const {
  std::uint64_t hash = 0;
  for (std::size_t i = position - context_; i < position; ++i) {
    hash = (hash ^ static_cast<std::uint32_t>(tokens_[i])) * 0x9E3779B97F4A7C15U;
    hash ^= hash >> 29;
  }
  return hash;
}

bool NgramBlock::same_context(std::size_t a, std::size_t b) const {
  const auto* tokens = tokens_.data();
  return std::equal(tokens + a - context_, tokens + a, tokens + b - context_);
}

void NgramBlock::push(TokenId token) {
  const std::size_t position = tokens_.size();
  tokens_.push_back(token);
  if (context_ == 0) return;
  earlier_.push_back(kNone);
  if (position < context_) return;
  const auto here = static_cast<std::uint32_t>(position);
  const auto [entry, is_new] = latest_.try_emplace(hash_before(position), here);
  if (is_new) return;
  earlier_.back() = entry->second;
  entry->second = here;
}

void NgramBlock::pop(std::size_t count) {
  for (count = std::min(count, tokens_.size()); count > 0; --count) {
    const std::size_t position = tokens_.size() - 1;
    if (context_ != 0) {
      if (position >= context_) {
        const auto entry = latest_.find(hash_before(position));
        if (earlier_.back() == kNone) {
          latest_.erase(entry);
        } else {
          entry->second = earlier_.back();
        }
      }
      earlier_.pop_back();
    }
    tokens_.pop_back();
  }
}

std::span<const TokenId> NgramBlock::banned() {
  banned_.clear();
  if (context_ == 0 || tokens_.size() < context_) return banned_;
  const auto entry = latest_.find(hash_before(tokens_.size()));
  if (entry == latest_.end()) return banned_;
  // Exempt tokens may have come often: no more than this many places are looked at, the latest first.
  int looks = 4096;
  for (std::uint32_t at = entry->second; at != kNone && looks-- > 0; at = earlier_[at]) {
    if (same_context(at, tokens_.size())) banned_.push_back(tokens_[at]);
  }
  std::sort(banned_.begin(), banned_.end());
  banned_.erase(std::unique(banned_.begin(), banned_.end()), banned_.end());
  return banned_;
}

std::size_t NgramBlock::ban(std::span<float> logits) {
  std::size_t count = 0;
  for (const TokenId id : banned()) {
    if (id < 0 || static_cast<std::size_t>(id) >= logits.size()) continue;
    logits[static_cast<std::size_t>(id)] = -std::numeric_limits<float>::infinity();
    ++count;
  }
  return count;
}

}  // namespace qwen35
