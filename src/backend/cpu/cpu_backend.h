#pragma once

#include <memory>

#include "backend/backend.h"

namespace qwen35 {

/// The fast CPU backend. Quantised weights are packed for the dot-product kernels and meet activations quantised to 8
/// bits by groups; bf16, f16 and f32 weights stay in the map and meet float32 activations. With options.float32 every
/// product is float32 on the stored (dequantised) weights. Keys and values are binary16 (float32 with options.float32);
/// S and all sums float32.
std::unique_ptr<Backend> make_cpu_backend(ModelWeights weights, const BackendOptions& options);

}  // namespace qwen35
