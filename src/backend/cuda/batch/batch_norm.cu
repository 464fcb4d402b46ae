#include <algorithm>

#include "backend/cuda/batch/batch_norm.h"
#include "backend/cuda/batch/batch_product.h"
#include "backend/cuda/decode/decode_gather.cuh"
#include "backend/cuda/device/device.h"
#include "backend/cuda/pieces/launch.cuh"

namespace qwen35::cuda {
namespace {

constexpr std::uint32_t kNormThreads = 512;

/// A block a row; a warp has 64 columns at a time. The same operations as gather_norm().
__global__ void __launch_bounds__(kNormThreads) norm_rows(const DecodeArgs* __restrict__ pass, const BatchNorm norm) {
  extern __shared__ __align__(16) float totals[];  // hidden / 64, then x
  const DecodeArgs& args = *pass;
  const ModelSizes& s = args.sizes;
  const std::uint32_t row = blockIdx.x;
  const std::uint32_t lane = threadIdx.x % kLanes;
  const std::uint32_t warp = threadIdx.x / kLanes;
  const std::uint32_t warps = blockDim.x / kLanes;
  const std::uint32_t batches = s.hidden / 64;
  auto* const x = reinterpret_cast<float2*>(totals + (batches + 3) / 4 * 4);
  let_next_begin();
  // The norm's weights come from far away: the first of them are asked for before the values are waited for.
  const float2 first =
      warp < batches ? __ldg(reinterpret_cast<const float2*>(norm.weights) + warp * 32 + lane) : make_float2(0, 0);
  if (row >= args.rows) return wait_for_previous();
  float* const kept = args.buffers.x + std::size_t{row} * s.hidden;
  if (norm.from == BatchNorm::From::embedding) {
    wait_for_previous();
    embed(args, s, row, 1, kept, threadIdx.x);
    __syncthreads();
  } else {
    wait_for_previous();
  }
  const bool given = norm.from == BatchNorm::From::given;
  const bool delta = norm.from == BatchNorm::From::out || norm.from == BatchNorm::From::down;
  const float* const from = given ? args.head_x + std::size_t{row} * s.hidden : kept;
  const float* const strands =
      static_cast<const float*>(norm.from == BatchNorm::From::out ? args.buffers.out[0] : args.buffers.down[0]) +
      std::size_t{row} * s.hidden;
  const float back = norm.from == BatchNorm::From::down ? 1 / kInnerScale : 1;
  for (std::uint32_t batch = warp; batch < batches; batch += warps) {
    const std::uint32_t at = batch * 32 + lane;
    float2 value = __ldcg(reinterpret_cast<const float2*>(from) + at);
    if (delta) {
      float2 strand[kStrands];
#pragma unroll
      for (std::uint32_t i = 0; i < kStrands; ++i)
        strand[i] = __ldcg(reinterpret_cast<const float2*>(strands + std::size_t{i} * kPassRows * s.hidden) + at);
      const float sum_x = (strand[0].x + strand[1].x) + (strand[2].x + strand[3].x);
      const float sum_y = (strand[0].y + strand[1].y) + (strand[2].y + strand[3].y);
      // Never fused: products are rounded before they are added, wherever they come from.
      value.x = __fadd_rn(value.x, __fmul_rn(__fmul_rn(sum_x, norm.factor), back));
      value.y = __fadd_rn(value.y, __fmul_rn(__fmul_rn(sum_y, norm.factor), back));
      reinterpret_cast<float2*>(kept)[at] = value;
    }
    x[at] = value;
    const float sum = warp_sum(add_squares(0, value));
    if (lane == 0) totals[batch] = sum;
  }
  __syncthreads();
  float total = 0;
#pragma unroll 8
  for (std::uint32_t i = 0; i < batches; ++i) total += totals[i];
  const float scale = rsqrtf(total / static_cast<float>(s.hidden) + s.eps);
  const Fragments<kGroupRows> fragments{
      args.buffers.act_x + std::size_t{row / kGroupRows} * fragment_words(kGroupRows, norm.units * kUnitColumns),
      kGroupRows};
  for (std::uint32_t batch = warp; batch < batches; batch += warps) {
    const std::uint32_t pair = batch * 32 + lane;
    const float2 weight = batch == warp ? first : __ldg(reinterpret_cast<const float2*>(norm.weights) + pair);
    const float2 value = x[pair];
    fragments.put(row % kGroupRows, pair, make_float2(value.x * scale * weight.x, value.y * scale * weight.y));
  }
}

}  // namespace

void launch_norm(const DecodeArgs* pass, const BatchNorm& norm, std::uint32_t groups, std::uint32_t hidden, bool early,
                 cudaStream_t stream) {
  const std::uint32_t batches = hidden / 64;
  const std::uint32_t threads = std::min(kNormThreads, std::max(batches, 1U) * kLanes);
  const std::size_t bytes = ((batches + 3) / 4 * 4 + hidden) * sizeof(float);
  allow_shared(norm_rows, bytes, "preparing a norm");
  launch(norm_rows, dim3(groups * kGroupRows), dim3(threads), bytes, stream, early, "starting a norm", pass, norm);
}

}  // namespace qwen35::cuda
