#define QWEN35_FAST_KERNELS 1
#include "backend/cuda/decode/decode_kernels.cuh"

namespace qwen35::cuda {

DecodeKernels kernels_4() { return fast_kernels<4, 64>(); }

}  // namespace qwen35::cuda
