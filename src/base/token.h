#pragma once

#include <cstdint>

namespace qwen35 {

/// Index into the vocabulary. Signed, so that a hostile negative id can be seen and refused.
using TokenId = std::int32_t;

}  // namespace qwen35
