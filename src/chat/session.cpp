#include "chat/session.h"

#include <qwen35/error.h>

#include <algorithm>
#include <new>
#include <optional>

namespace qwen35 {

namespace {

/// Tokens of the next pass, of `block` that make one pass when there is nobody else. Cut where the delta rule's chunks
/// end, and never so that a few tokens stay behind, which are computed otherwise: the results are those of one pass.
std::size_t crowded_slice(std::size_t block) {
  return block <= Batcher::kCrowdedSlice + Batcher::kMostRows ? block : Batcher::kCrowdedSlice;
}

}  // namespace

Session::Session(Backend& backend, Batcher& batcher, Checkpoints& checkpoints)
    : backend_(backend),
      seat_(batcher),
      checkpoints_(checkpoints),
      state_(backend.make_state()),
      logits_(backend.config().vocab_size) {
  account();
}

Session::~Session() { checkpoints_.account_live(accounted_, 0); }

std::size_t Session::align(std::span<const TokenId> tokens) {
  if (!verified_.empty()) {  // a reply was dropped between verify() and keep()
    verified_.clear();
    broken_ = true;
  }
  const bool extends = !broken_ && timeline_.size() <= tokens.size() &&
                       (timeline_.size() < tokens.size() || logits_valid_) &&
                       std::equal(timeline_.begin(), timeline_.end(), tokens.begin());
  const std::optional<Checkpoint> found = checkpoints_.find(tokens);
  if (extends && (!found || found->position <= timeline_.size())) return timeline_.size();
  if (!found) {
    reset();
    return 0;
  }
  timeline_.reserve(tokens.size());  // so that recording the new timeline cannot fail after the fact
  try {
    backend_.restore(*state_, *found->snapshot);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::device) throw;
    checkpoints_.clear();  // they went with the memory of a GPU that was lost
    reset();
    return 0;
  }
  timeline_.assign(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(found->position));
  broken_ = false;
  last_checkpoint_ = timeline_.size();
  logits_valid_ = found->logits != nullptr;
  if (logits_valid_) std::copy(found->logits->begin(), found->logits->end(), logits_.begin());
  account();
  return timeline_.size();
}

bool Session::feed(std::span<const TokenId> tokens, const Cancellation& cancelled, std::span<const std::size_t> marks,
                   SampleRequest* sample) {
  timeline_.reserve(timeline_.size() + tokens.size());
  std::size_t block = 0;  // tokens left of what goes in one pass when no other session computes
  while (!tokens.empty()) {
    while (!marks.empty() && marks.front() <= position()) marks = marks.subspan(1);
    if (block == 0) {
      block = std::min(tokens.size(), backend_.pass_tokens());
      if (!marks.empty()) block = std::min(block, marks.front() - position());
    }
    const std::size_t count = seat_.crowded() ? crowded_slice(block) : block;
    const auto slice = tokens.first(count);
    const bool last = count == tokens.size();
    const Feed feed{state_.get(), slice, last ? LogitRows::last : LogitRows::none,
                    last && sample == nullptr ? logits(0) : std::span<float>(), last ? sample : nullptr};
    const auto compute = [&](bool& begun) { return seat_.forward(feed, tokens.size(), cancelled, begun); };
    if (!pass(cancelled, compute)) return false;
    block -= count;
    timeline_.insert(timeline_.end(), slice.begin(), slice.end());
    tokens = tokens.subspan(count);
    logits_valid_ = tokens.empty() && sample == nullptr;
    if (!marks.empty() && marks.front() == position()) checkpoint();
  }
  account();
  return true;
}

bool Session::verify(std::span<const TokenId> tokens, const Cancellation& cancelled, std::span<SampleRequest> samples) {
  timeline_.reserve(timeline_.size() + tokens.size());
  verified_.assign(tokens.begin(), tokens.end());
  const std::size_t floats = samples.empty() ? tokens.size() * backend_.config().vocab_size : 0;
  if (logits_.size() < floats) logits_.resize(floats);
  return pass(cancelled, [&](bool& begun) {
    return seat_.verify(*state_, tokens, std::span(logits_).first(floats), samples, cancelled, begun);
  });
}

void Session::keep(std::size_t count) {
  if (count < verified_.size()) backend_.keep(*state_, count);
  timeline_.insert(timeline_.end(), verified_.begin(), verified_.begin() + static_cast<std::ptrdiff_t>(count));
  verified_.clear();
  logits_valid_ = false;
  account();
}

std::span<float> Session::logits(std::size_t row) {
  const std::size_t size = backend_.config().vocab_size;
  return std::span(logits_).subspan(row * size, size);
}

void Session::checkpoint(std::shared_ptr<const std::vector<float>> logits) {
  if (broken_ || timeline_.empty()) return;
  last_checkpoint_ = timeline_.size();
  if (checkpoints_.contains(timeline_, logits != nullptr)) return;
  try {
    checkpoints_.add(timeline_, backend_.snapshot(*state_), std::move(logits));
  } catch (const std::bad_alloc&) {  // a checkpoint saves time; the conversation does not depend on it
    checkpoints_.shrink_to(checkpoints_.memory_bytes() / 2);
  }
}

void Session::take_over(std::span<const TokenId> tokens, std::shared_ptr<const Snapshot> snapshot) {
  std::vector<TokenId> timeline(tokens.begin(), tokens.end());
  backend_.restore(*state_, *snapshot);
  timeline_ = std::move(timeline);
  verified_.clear();
  broken_ = false;
  logits_valid_ = false;
  last_checkpoint_ = timeline_.size();
  account();
  checkpoints_.add(timeline_, std::move(snapshot));
}

std::size_t Session::memory_bytes() const {
  return state_->memory_bytes() + timeline_.capacity() * sizeof(TokenId) + logits_.capacity() * sizeof(float);
}

/// One pass, perhaps together with others. False: cancelled before it or in it.
template <typename Compute>
bool Session::pass(const Cancellation& cancelled, const Compute& compute) {
  if (cancelled.requested()) return false;
  const bool usable = !broken_;
  const bool valid = logits_valid_;
  logits_valid_ = false;
  broken_ = true;  // until the pass is known to be whole, whatever it throws
  bool begun = false;
  const bool whole = compute(begun);
  broken_ = !whole && (begun || !usable);
  if (!begun) logits_valid_ = valid;
  return whole;
}

void Session::account() {
  const std::size_t bytes = memory_bytes();
  checkpoints_.account_live(accounted_, bytes);
  accounted_ = bytes;
}

void Session::reset() {
  backend_.reset(*state_);
  timeline_.clear();
  broken_ = false;
  logits_valid_ = false;
  last_checkpoint_ = 0;
}

}  // namespace qwen35
