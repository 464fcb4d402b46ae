#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "backend/cuda/decode/decode_pass.h"

namespace qwen35::cuda {

/// One norm of a pass of many rows, and what comes before it.
struct BatchNorm {
  enum class From : std::uint32_t { embedding, given, out, down };
  /// What x is: the tokens' embedding; args.head_x, which stays as it is; buffers.x and, added to it, the strands
  /// that a product has left in out[0] or down[0]. But for `given` it is left in buffers.x.
  From from = From::embedding;
  float factor = 1;                ///< of that product's matrix
  const float* weights = nullptr;  ///< hidden
  std::uint32_t units = 0;         ///< of the product after it
};

/// RMSNorm of x for up to `groups` · 8 rows, as fragments to buffers.act_x. Throws as check() does.
void launch_norm(const DecodeArgs* pass, const BatchNorm& norm, std::uint32_t groups, std::uint32_t hidden, bool early,
                 cudaStream_t stream);

}  // namespace qwen35::cuda
