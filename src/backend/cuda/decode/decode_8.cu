#define QWEN35_FAST_KERNELS 1
#include "backend/cuda/decode/decode_kernels.cuh"

namespace qwen35::cuda {

DecodeKernels kernels_8() { return fast_kernels<8, 64>(); }

}  // namespace qwen35::cuda
