#include "backend/cuda/decode/decode_kernels.cuh"

namespace qwen35::cuda {

DecodeKernels any_kernels(bool ring) {
  using Ring = Config<true, ModelSizes, 0, 0, 0>;
  using Ringless = Config<false, ModelSizes, 0, 0, 0>;
  const auto pass = ring ? decode_pass<Ring> : decode_pass<Ringless>;
  return {pass, pass, replay_slice<ModelSizes>, ring};
}

}  // namespace qwen35::cuda
