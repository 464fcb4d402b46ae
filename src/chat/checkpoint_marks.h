#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/token.h"

namespace qwen35 {

/// Where checkpoints are worth their memory while tokens [from, end) of a turn are computed: behind the system prompt,
/// which other conversations may share; before the last message, which may be edited; and about every kSpacing tokens
/// on the way, at a message's beginning where there is one. Rising positions in (from, tokens.size()). Each costs a
/// pass its even length, so none lies within kLeast tokens of what is known already.
inline constexpr std::size_t kCheckpointSpacing = 512;
inline constexpr std::size_t kCheckpointLeast = 32;

/// `im_start`: the token that begins every message; the last one begins the reply to come.
std::vector<std::size_t> checkpoint_marks(std::span<const TokenId> tokens, std::size_t from, TokenId im_start);

}  // namespace qwen35
