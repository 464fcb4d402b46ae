#pragma once

#include <memory>

#include "backend/backend.h"

namespace qwen35 {

/// The whole model on one NVIDIA GPU: weights of every form are unpacked to binary16 in registers, activations are
/// binary16 in two halves, sums and S float32, keys and values binary16. `weights` are only read, and need not outlive
/// the call. Throws unsupported when no GPU is usable or the model's sizes are none that the kernels take,
/// out_of_memory when it does not fit, device when the GPU fails.
///
/// After an error `device` every call throws it: the GPU's memory is lost. A backend made anew begins afresh; all
/// others of the process must be made anew too.
std::unique_ptr<Backend> make_cuda_backend(const ModelWeights& weights);

}  // namespace qwen35
