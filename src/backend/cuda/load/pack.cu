#include <algorithm>

#include "backend/cuda/device/device.h"
#include "backend/cuda/load/pack_kernels.h"
#include "backend/cuda/pieces/warp.cuh"

namespace qwen35::cuda {
namespace {

constexpr std::uint32_t kThreads = 256;

__global__ void __launch_bounds__(kThreads) largest_kernel(PackPart part, std::size_t count, std::uint32_t* largest) {
  float most = 0;
  const float highest = static_cast<float>((1U << part.bits) - 1);
  for (std::size_t i = std::size_t{blockIdx.x} * kThreads + threadIdx.x; i < count;
       i += std::size_t{gridDim.x} * kThreads) {
    const float value = part.group == 0 ? fabsf(stored_value(part.values, part.stored, i))
                                        : fabsf(stored_value(part.scales, part.stored, i)) * highest +
                                              fabsf(stored_value(part.biases, part.stored, i));
    most = fmaxf(most, value);
  }
  most = warp_max(most);
  // A maximum does not depend on the order; floats that are not negative are ordered as their bits.
  if (threadIdx.x % 32 == 0) atomicMax(largest, __float_as_uint(most));
}

__global__ void __launch_bounds__(kThreads) pack_kernel(PackSource source, Matrix matrix, std::uint8_t* data) {
  const std::size_t warp = std::size_t{blockIdx.x} * (kThreads / 32) + threadIdx.x / 32;
  if (warp >= std::size_t{matrix.tiles} * matrix.units) return;
  pack_lane(source, matrix, data, static_cast<std::uint32_t>(warp / matrix.units),
            static_cast<std::uint32_t>(warp % matrix.units), threadIdx.x % 32);
}

}  // namespace

void find_largest(const PackPart& part, std::uint32_t columns, std::uint32_t* largest, cudaStream_t stream) {
  const std::size_t count = std::size_t{part.rows} * (part.group == 0 ? columns : columns / part.group);
  const std::size_t blocks = std::clamp<std::size_t>(count / (kThreads * 16), 1, 2048);
  largest_kernel<<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(part, count, largest);
  check(cudaGetLastError(), "looking for the largest weight");
}

void pack_matrix(const PackSource& source, const Matrix& matrix, std::uint8_t* data, cudaStream_t stream) {
  const std::size_t warps = std::size_t{matrix.tiles} * matrix.units;
  const std::size_t blocks = (warps + kThreads / 32 - 1) / (kThreads / 32);
  pack_kernel<<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(source, matrix, data);
  check(cudaGetLastError(), "packing weights");
}

}  // namespace qwen35::cuda
