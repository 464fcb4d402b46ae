#pragma once

#include <memory>

#include "backend/backend.h"

namespace qwen35 {

/// The readable definition of the model: one token at a time, plain loops, float32 values with sums in double, every
/// weight dequantised at load (4 bytes each). Slow; it exists to be compared with.
std::unique_ptr<Backend> make_reference_backend(ModelWeights weights);

}  // namespace qwen35
