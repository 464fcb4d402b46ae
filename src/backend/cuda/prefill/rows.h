#pragma once

// Kernels over rows of the residual stream. All pointers into device memory; work is put on `stream`. Throw as check()
// does.

#include <cuda_runtime_api.h>

#include <cstdint>

#include "backend/cuda/device/layout.h"
#include "backend/cuda/prefill/product.h"

namespace qwen35::cuda {

/// x[token] (count × embedding.columns floats) = factor · (scale · q + bias) of row tokens[token], in float32.
void embed_rows(const Matrix& embedding, const std::int32_t* tokens, std::uint32_t count, float* x,
                cudaStream_t stream);

/// out = x · rsqrt(mean(x²) + eps) · weight for each of `count` rows of `columns` floats (a multiple of 4), as hi + lo;
/// zeros from `columns` to out.stride. `early` (launch.cuh): from compute
/// capability 9.0 on.
void norm_rows(const float* x, const float* weight, float eps, std::uint32_t columns, std::uint32_t count,
               const HalfPair& out, cudaStream_t stream, bool early = false);

}  // namespace qwen35::cuda
