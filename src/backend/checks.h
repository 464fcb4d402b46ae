#pragma once

#include <qwen35/error.h>

#include <cstddef>
#include <functional>
#include <span>
#include <string>

#include "backend/backend.h"
#include "backend/state_shape.h"

namespace qwen35 {

/// What every backend checks before it touches a state: ids inside the vocabulary, room up to max_positions, and a
/// logits buffer of the promised size. Throws as Backend::forward says.
void check_forward(const ModelConfig& config, std::size_t position, std::span<const TokenId> tokens, LogitRows rows,
                   std::size_t logits_size);

/// The same for every feed of a batch, and that each names a state, no state twice: as Backend::forward_batch says.
/// `check_own` throws for a state of another backend; `samples` as Backend::samples, none: it samples nothing.
void check_feeds(const ModelConfig& config, std::span<const Feed> feeds, const std::function<void(State&)>& check_own,
                 const std::function<bool(const SampleRequest&)>& samples = {});

/// Throws invalid_argument unless `samples` fit a verification pass of `tokens`, as Backend::verify_sampled says.
/// `allows` as Backend::samples, none: whatever has options and a vocabulary within this.
void check_samples(std::size_t vocabulary, std::size_t tokens, std::span<const SampleRequest> samples,
                   const std::function<bool(const SampleRequest&)>& allows = {});
/// Throws invalid_argument as Backend::verify and Backend::keep say. `verified`: tokens of the verification pass that
/// has just been, else 0.
void check_verify(std::size_t tokens, std::size_t max_verify);
void check_keep(std::size_t count, std::size_t verified);

/// Throws invalid_argument unless a snapshot of the one shape fits a state of the other.
void check_same_shape(const StateShape& state, const StateShape& snapshot);

/// The caller's state or snapshot as this backend's own type; throws invalid_argument when another backend made it.
template <typename Own, typename Base>
Own& own_cast(Base& object, const char* what) {
  if (auto* own = dynamic_cast<Own*>(&object)) return *own;
  throw Error(ErrorCode::invalid_argument, std::string("this ") + what + " was made by another backend");
}

}  // namespace qwen35
