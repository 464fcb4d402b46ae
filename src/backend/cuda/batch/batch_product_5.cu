#include "backend/cuda/batch/batch_product.cuh"

namespace qwen35::cuda {

BatchKernel batch_product_5(std::uint32_t group, std::uint32_t warp_groups) {
  return batch_kernel_of<5>(group, warp_groups);
}

}  // namespace qwen35::cuda
