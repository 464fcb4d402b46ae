#include <algorithm>

#include "backend/cuda/batch/batch_attention.cuh"
#include "backend/cuda/batch/batch_delta.cuh"
#include "backend/cuda/batch/batch_mix.h"

namespace qwen35::cuda {
namespace {

using MixKernel = void (*)(const DecodeArgs*, ModelSizes, DeviceLayer);

MixKernel linear_kernel(const ModelSizes& s) {
  if (Shape08B::is(s)) return batch_linear<Shape08B, 4>;
  if (s.key_dim <= 32) return batch_linear<ModelSizes, 1>;
  if (s.key_dim <= 64) return batch_linear<ModelSizes, 2>;
  if (s.key_dim <= 128) return batch_linear<ModelSizes, 4>;
  return batch_linear<ModelSizes, 8>;
}

MixKernel attention_kernel(const ModelSizes& s) {
  if (Shape08B::is(s)) return batch_attention<Shape08B, 8>;
  switch (s.head_dim / 32) {
    case 1:
      return batch_attention<ModelSizes, 1>;
    case 2:
      return batch_attention<ModelSizes, 2>;
    case 4:
      return batch_attention<ModelSizes, 4>;
    default:
      return batch_attention<ModelSizes, 8>;
  }
}

}  // namespace

void batch_mix(const DecodeArgs* pass, const DeviceModel& model, std::uint32_t layer, const BatchGrid& grid,
               cudaStream_t stream) {
  const ModelSizes& s = model.sizes;
  const DeviceLayer& l = model.layers[layer];
  if (l.linear) {
    const MixKernel kernel = linear_kernel(s);
    const std::uint32_t shared = linear_floats(s) * 4;
    allow_shared(kernel, shared, "preparing a linear layer's mixer");
    launch(kernel, dim3(s.value_heads, grid.rows), kMixThreads, shared, stream, grid.early,
           "starting a linear layer's mixer", pass, s, l);
    return;
  }
  // Two blocks a multiprocessor; without several splits there are no more items than rows and KV heads.
  const std::uint32_t most = 2 * grid.multiprocessors;
  const std::uint32_t blocks = grid.combine ? most : std::min(most, grid.rows * s.kv_heads);
  const MixKernel kernel = attention_kernel(s);
  const std::uint32_t shared = AttentionMemory(s).bytes;
  allow_shared(kernel, shared, "preparing a full layer's mixer");
  launch(kernel, dim3(blocks), kMixThreads, shared, stream, grid.early, "starting a full layer's mixer", pass, s, l);
  if (!grid.combine) return;
  launch(Shape08B::is(s) ? batch_combine<Shape08B> : batch_combine<ModelSizes>, dim3(s.heads, grid.rows), kThreads, 0,
         stream, grid.early, "adding up a full layer's splits", pass, s, l.out.units);
}

}  // namespace qwen35::cuda
