#pragma once

#include <cstdint>

#include "checkpoint/weights.h"

namespace qwen35 {

/// A number that tells models apart: XXH3 over shapes, formats and the small vectors of a checkpoint, and over the ends
/// of every matrix. Reads two pages a matrix, not the whole. Never 0.
std::uint64_t fingerprint(const ModelWeights& weights);

}  // namespace qwen35
