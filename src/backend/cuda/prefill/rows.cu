#include <cuda_fp16.h>

#include "backend/cuda/pieces/launch.cuh"
#include "backend/cuda/pieces/unpack.cuh"
#include "backend/cuda/pieces/warp.cuh"
#include "backend/cuda/prefill/rows.h"

namespace qwen35::cuda {
namespace {

constexpr std::uint32_t kEmbedThreads = 128;
constexpr std::uint32_t kNormWarps = 4;

__device__ float2 halves(const std::uint8_t* at) {
  return __half22float2(as_half2(*reinterpret_cast<const std::uint32_t*>(at)));
}

/// A block a token; thread i has pair i of the row, which stands in the same order as columns do.
__global__ void embed_kernel(const __grid_constant__ Matrix w, const std::int32_t* tokens, float* x) {
  const auto token = static_cast<std::uint32_t>(tokens[blockIdx.x]);
  const std::uint8_t* tile = w.data + std::size_t{token / kTileRows} * w.units * w.unit_bytes;
  float* out = x + std::size_t{blockIdx.x} * w.columns;
  for (std::uint32_t i = threadIdx.x; i < w.units * 64; i += kEmbedThreads) {
    const std::uint8_t* unit = tile + i / 64 * w.unit_bytes;
    const std::uint32_t pair = i / 4 % 16;
    const std::uint32_t lane = 4 * (token % kTileRows) + i % 4;
    float2 value;
    if (w.bits == 16) {
      value = halves(unit + pair / 4 * 512 + lane * 16 + pair % 4 * 4);
    } else {
      std::uint32_t q = 0;  // in bits 0 … and 16 …
      if (w.bits == 8) {
        const std::uint32_t bytes =
            *reinterpret_cast<const std::uint16_t*>(unit + pair / 8 * 512 + lane * 16 + pair % 8 * 2);
        q = (bytes & 0xffU) | (bytes >> 8U) << 16U;
      } else {
        q = *reinterpret_cast<const std::uint32_t*>(unit + lane * 16 + pair / 4 * 4) >> (4 * (pair % 4)) & 0x000f000fU;
        if (w.bits == 5) {
          q |= (*reinterpret_cast<const std::uint32_t*>(unit + 512 + lane * 4) >> pair & 0x00010001U) << 4U;
        }
        if (w.bits == 6) {
          const std::uint32_t upper = *reinterpret_cast<const std::uint32_t*>(unit + 512 + lane * 8 + pair / 8 * 4);
          q |= (upper >> (2 * (pair % 8)) & 0x00030003U) << 4U;
        }
      }
      const std::uint32_t groups = kUnitColumns / w.group;
      const float2 scale = halves(unit + value_bytes(w.bits) + ((token % kTileRows) * groups + pair * 8 / w.group) * 4);
      value = {fmaf(scale.x, static_cast<float>(q & 0xffffU), scale.y),
               fmaf(scale.x, static_cast<float>(q >> 16U), scale.y)};
    }
    if (2 * i < w.columns) out[2 * i] = value.x * w.factor;
    if (2 * i + 1 < w.columns) out[2 * i + 1] = value.y * w.factor;
  }
}

__device__ void write_pair(float4 v, __half* hi, __half* lo) {
  const __half2 first = __floats2half2_rn(v.x, v.y);
  const __half2 second = __floats2half2_rn(v.z, v.w);
  const float2 a = __half22float2(first);
  const float2 b = __half22float2(second);
  *reinterpret_cast<uint2*>(hi) = make_uint2(as_bits(first), as_bits(second));
  *reinterpret_cast<uint2*>(lo) =
      make_uint2(as_bits(__floats2half2_rn(v.x - a.x, v.y - a.y)), as_bits(__floats2half2_rn(v.z - b.x, v.w - b.y)));
}

/// A warp a row. kVectors: of four floats that a lane keeps in registers; 0: any number of columns, read twice.
template <int kVectors>
__global__ void __launch_bounds__(kNormWarps * 32)
    norm_kernel(const float* x, const float* weight, float eps, std::uint32_t columns, std::uint32_t count,
                const __grid_constant__ HalfPair out) {
  const std::uint32_t row = blockIdx.x * kNormWarps + threadIdx.x / 32;
  const std::uint32_t lane = threadIdx.x % 32;
  let_next_begin();
  wait_for_previous();
  if (row >= count) return;
  const auto* in = reinterpret_cast<const float4*>(x + std::size_t{row} * columns);
  const auto* by = reinterpret_cast<const float4*>(weight);
  const std::uint32_t vectors = columns / 4;
  float4 kept[kVectors > 0 ? kVectors : 1];
  float sum = 0;
  const auto square = [&sum](float4 v) { sum = fmaf(v.w, v.w, fmaf(v.z, v.z, fmaf(v.y, v.y, fmaf(v.x, v.x, sum)))); };
  if constexpr (kVectors > 0) {
#pragma unroll
    for (int i = 0; i < kVectors; ++i) kept[i] = in[lane + 32 * i];
#pragma unroll
    for (int i = 0; i < kVectors; ++i) square(kept[i]);
  } else {
    for (std::uint32_t i = lane; i < vectors; i += 32) square(in[i]);
  }
  const float factor = rsqrtf(warp_sum(sum) / static_cast<float>(columns) + eps);
  __half* hi = out.hi + std::size_t{row} * out.stride;
  __half* lo = out.lo + std::size_t{row} * out.stride;
  const auto write = [&](std::uint32_t i, float4 v, float4 w) {
    write_pair({clamp_f16(v.x * factor * w.x), clamp_f16(v.y * factor * w.y), clamp_f16(v.z * factor * w.z),
                clamp_f16(v.w * factor * w.w)},
               hi + 4 * i, lo + 4 * i);
  };
  if constexpr (kVectors > 0) {
#pragma unroll
    for (int i = 0; i < kVectors; ++i) write(lane + 32 * i, kept[i], by[lane + 32 * i]);
  } else {
    for (std::uint32_t i = lane; i < vectors; i += 32) write(i, in[i], by[i]);
  }
  for (std::uint32_t i = vectors + lane; i < out.stride / 4; i += 32) write_pair({0, 0, 0, 0}, hi + 4 * i, lo + 4 * i);
}

}  // namespace

void embed_rows(const Matrix& embedding, const std::int32_t* tokens, std::uint32_t count, float* x,
                cudaStream_t stream) {
  if (count == 0) return;
  embed_kernel<<<count, kEmbedThreads, 0, stream>>>(embedding, tokens, x);
  check(cudaGetLastError(), "looking tokens up");
}

void norm_rows(const float* x, const float* weight, float eps, std::uint32_t columns, std::uint32_t count,
               const HalfPair& out, cudaStream_t stream, bool early) {
  if (count == 0) return;
  const std::uint32_t blocks = (count + kNormWarps - 1) / kNormWarps;
  launch(columns == 1024 ? norm_kernel<8> : norm_kernel<0>, blocks, kNormWarps * 32, 0, stream, early, "taking a norm",
         x, weight, eps, columns, count, out);
}

}  // namespace qwen35::cuda
