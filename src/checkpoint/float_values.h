#pragma once

#include <cstddef>

#include "checkpoint/weights.h"

namespace qwen35 {

/// Bytes a value of `type` takes.
std::size_t float_size(FloatType type);

/// Writes values [first, first + count) of an array of `type` as floats: exact. `data` is aligned to the value size.
void to_floats(FloatType type, const void* data, std::size_t first, std::size_t count, float* out);

}  // namespace qwen35
