#include "chat/session.h"

#include <algorithm>

namespace qwen35 {

Session::Session(Backend& backend)
    : backend_(backend), state_(backend.make_state()), logits_(backend.config().vocab_size) {}

std::size_t Session::align(std::span<const TokenId> tokens) {
  const bool extends =
      !broken_ && timeline_.size() < tokens.size() && std::equal(timeline_.begin(), timeline_.end(), tokens.begin());
  if (!extends) reset();
  return timeline_.size();
}

bool Session::feed(std::span<const TokenId> tokens, const std::atomic<bool>& cancelled) {
  timeline_.reserve(timeline_.size() + tokens.size());  // so that recording what was fed cannot fail after the fact
  while (!tokens.empty()) {
    if (cancelled.load(std::memory_order_relaxed)) return false;
    const auto slice = tokens.first(std::min(tokens.size(), kSlice));
    const bool last = slice.size() == tokens.size();
    broken_ = true;  // until the pass is known to be whole, whatever it throws
    backend_.forward(*state_, slice, last ? LogitRows::last : LogitRows::none,
                     last ? std::span<float>(logits_) : std::span<float>());
    broken_ = false;
    timeline_.insert(timeline_.end(), slice.begin(), slice.end());
    tokens = tokens.subspan(slice.size());
  }
  return true;
}

std::size_t Session::memory_bytes() const {
  return state_->memory_bytes() + timeline_.capacity() * sizeof(TokenId) + logits_.capacity() * sizeof(float);
}

void Session::reset() {
  backend_.reset(*state_);
  timeline_.clear();
  broken_ = false;
}

}  // namespace qwen35
