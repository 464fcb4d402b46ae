#include "backend/cuda/batch/batch_product.cuh"

namespace qwen35::cuda {

BatchKernel batch_product_16(std::uint32_t, std::uint32_t warp_groups) { return batch_kernel<16, 0>(warp_groups); }

}  // namespace qwen35::cuda
