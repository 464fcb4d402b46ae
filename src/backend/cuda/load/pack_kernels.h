#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "backend/cuda/device/layout.h"
#include "backend/cuda/load/pack_lane.h"

namespace qwen35 {
struct WeightMatrix;
}

namespace qwen35::cuda {

/// A matrix of a checkpoint as one part, with the host's pointers.
PackPart part_of(const WeightMatrix& matrix);

/// Raises *largest (device memory; the bits of a float that is not negative) to the largest |value| of a part, or of a
/// quantised one to the largest |scale| · highest q + |bias|. Throws as check() does.
void find_largest(const PackPart& part, std::uint32_t columns, std::uint32_t* largest, cudaStream_t stream);

/// Packs `source`, whose pointers are device memory, into `data`, as `matrix` says. Throws as check() does.
void pack_matrix(const PackSource& source, const Matrix& matrix, std::uint8_t* data, cudaStream_t stream);

/// Bits, group and sizes of the matrix that `source` becomes; without data and factor.
Matrix packed_form(const PackSource& source, std::uint32_t columns);

/// The power of two that a matrix whose largest value is `largest` is divided by: 1 where that is in an ordinary range,
/// else what brings it to [8, 16). So neither a value nor 1024 scales of four bits leave binary16, and scales of
/// thousandths of the largest value are still normal numbers.
float pack_factor(float largest);

}  // namespace qwen35::cuda
