#pragma once

// The kernels of DeltaRule (delta_rule.h). With G_i the sum of log decays of a chunk's tokens up to i and S_0 the state
// before it:
//     u_i = beta_i (v_i − e^{G_i} k_iᵀS_0) − Σ_{j<i} A_ij u_j,  A_ij = beta_i e^{G_i−G_j} k_i·k_j;  u = (1 + A)^-1 (…)
//     y_i = e^{G_i} q_iᵀS_0 + Σ_{j≤i} e^{G_i−G_j} (q_i·k_j) u_j
//     S   = e^{G_n} S_0 + Σ_j e^{G_n−G_j} k_j ⊗ u_j
// prepare_chunks: q, k, v, decays, (1 + A)^-1 and the scores of q and k, every chunk and head at once.
// scan_chunks: u, y and S, chunk after chunk, each 16 columns of S (16 values of v and y) for themselves.
// gate_results: the gated norm, and the ring.
//
// No exponent above is positive. A token past the last has k = q = 0, beta = 0 and no decay: it changes nothing.

#include "backend/cuda/fragments.cuh"
#include "backend/cuda/launch.cuh"
#include "backend/cuda/layout.h"

namespace qwen35::cuda {

inline constexpr std::uint32_t kDeltaChunk = 64;
/// A lower triangular 64 × 64 matrix as ten blocks of 16 × 16, block (i, j) at i (i + 1) / 2 + j: bfloat16 hi, then lo,
/// each 16 bytes a lane: rows i as columns of the product, the sum runs over j.
inline constexpr std::uint32_t kBlockBytes = 1024;
inline constexpr std::uint32_t kTriangleBytes = 10 * kBlockBytes;
inline constexpr std::uint32_t kNormWarps = 8;

struct DeltaRuleArguments {
  const float* in = nullptr;
  const float* conv = nullptr;
  const float* decay = nullptr;
  const float* dt_bias = nullptr;
  const float* gated_norm = nullptr;
  const float* s_in = nullptr;  ///< this layer's, or nullptr
  float* s_out = nullptr;
  float* ring = nullptr;
  __half* hi = nullptr;
  __half* lo = nullptr;
  std::uint8_t* q = nullptr;  ///< chunk × key head × (hi, lo) × 64 × key_dim bfloat16, in the order of key_offset()
  std::uint8_t* k = nullptr;
  std::uint8_t* inverse = nullptr;  ///< chunk × value head × triangle
  std::uint8_t* scores = nullptr;
  float* gates = nullptr;   ///< chunk × value head × (e^G, beta, e^(G_n − G)) × 64
  float* values = nullptr;  ///< token × value head × value_dim: v, which the scan replaces by y
  std::uint32_t stride = 0;
  int position = 0;
  int count = 0;
  std::uint32_t chunks = 0;
  std::uint32_t key_heads = 0, value_heads = 0, value_dim = 0;
  std::uint32_t channels = 0, ring_floats = 0, in_rows = 0;
  int taps = 0;
  float eps = 0;
};

/// Where dimension 8 · `d8` of token `t` of a chunk stands: 8 × 8 matrices for ldmatrix, either way round, with rows
/// swapped so that neither reading nor writing meets one bank twice.
template <int kKeyDim>
__device__ __forceinline__ std::uint32_t key_offset(std::uint32_t t, std::uint32_t d8) {
  return (t / 8 * (kKeyDim / 8) + d8) * 64 + ((t % 8) ^ (d8 % 8)) * 8;
}

template <int kKeyDim>
struct PrepareShared {
  static constexpr std::uint32_t kHalves = kDeltaChunk * kKeyDim;  ///< of one of q hi, q lo, k hi, k lo
  static constexpr std::uint32_t kPitch = kDeltaChunk + 4;
  static constexpr std::uint32_t kSquares = 2 * kDeltaChunk * kPitch * 4;  ///< A and its inverse, in the same place
  static constexpr std::uint32_t kMain = kHalves * 8 > kSquares ? kHalves * 8 : kSquares;
  static constexpr std::uint32_t kBytes = kMain + 3 * kDeltaChunk * 4;  ///< then G as hi + lo, and beta
};

/// Channels `channel` and `channel` + 1 of eight tokens from `first` on: causal convolution and SiLU; zeros past the
/// pass's end.
template <int kTaps>
__device__ __forceinline__ void convolve(const DeltaRuleArguments& a, int first, std::uint32_t channel,
                                         float2 (&out)[8]) {
  float2 weight[kTaps];
#pragma unroll
  for (int j = 0; j < kTaps; ++j) {
    const int tap = j - (kTaps - a.taps);
    weight[j] = tap < 0
                    ? float2{0, 0}
                    : *reinterpret_cast<const float2*>(a.conv + static_cast<std::size_t>(tap) * a.channels + channel);
  }
  float2 x[8 + kTaps - 1];
#pragma unroll
  for (int i = 0; i < 8 + kTaps - 1; ++i) {
    const int t = first + i - (kTaps - 1);
    x[i] = float2{0, 0};
    if (t >= 0) {
      if (t < a.count) {
        x[i] = *reinterpret_cast<const float2*>(a.in + static_cast<std::size_t>(t) * a.in_rows + channel);
      }
    } else if (-t < a.taps && a.position + t >= 0) {
      const std::uint32_t row = static_cast<std::uint32_t>(a.position + t) % kRingRows;
      x[i] = *reinterpret_cast<const float2*>(a.ring + row * a.ring_floats + channel);
    }
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    float2 sum{0, 0};
#pragma unroll
    for (int j = 0; j < kTaps; ++j) {
      sum.x = fmaf(weight[j].x, x[i + j].x, sum.x);
      sum.y = fmaf(weight[j].y, x[i + j].y, sum.y);
    }
    const bool there = first + i < a.count;
    out[i].x = there ? sum.x * sigmoid(sum.x) : 0.0F;
    out[i].y = there ? sum.y * sigmoid(sum.y) : 0.0F;
  }
}

/// q or k of the warp's eight tokens: convolved, normalised, times `scale`, split.
template <int kKeyDim, int kTaps>
__device__ __forceinline__ void prepare_keys(const DeltaRuleArguments& a, int first, std::uint32_t channel, float scale,
                                             __nv_bfloat16* hi, __nv_bfloat16* lo) {
  constexpr int kParts = (kKeyDim + 63) / 64;
  const std::uint32_t lane = threadIdx.x % 32;
  const std::uint32_t warp = threadIdx.x / 32;
  float2 x[kParts][8];
#pragma unroll
  for (int p = 0; p < kParts; ++p) {
    if (2 * lane + 64 * p < kKeyDim) {
      convolve<kTaps>(a, first, channel + 2 * lane + 64 * p, x[p]);
    } else {
#pragma unroll
      for (int i = 0; i < 8; ++i) x[p][i] = float2{0, 0};
    }
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    float squares = 0;
#pragma unroll
    for (int p = 0; p < kParts; ++p) squares += x[p][i].x * x[p][i].x + x[p][i].y * x[p][i].y;
    const float factor = rsqrtf(warp_sum(squares) + 1e-6F) * scale;
#pragma unroll
    for (int p = 0; p < kParts; ++p) {
      const std::uint32_t d = 2 * lane + 64 * p;
      if (d >= kKeyDim) continue;
      const SplitPair pair = split_bf16(x[p][i].x * factor, x[p][i].y * factor);
      const std::uint32_t at = key_offset<kKeyDim>(8 * warp + i, d / 8) + d % 8;
      *reinterpret_cast<std::uint32_t*>(hi + at) = pair.hi;
      *reinterpret_cast<std::uint32_t*>(lo + at) = pair.lo;
    }
  }
}

/// beta, and the sums of log decays as hi + lo (so that differences of large sums are exact), by one warp.
__device__ __forceinline__ void prepare_gates(const DeltaRuleArguments& a, int first, std::uint32_t head, float* sum_hi,
                                              float* sum_lo, float* betas) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  double log_decay[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int t = first + 2 * lane + i;
    log_decay[i] = 0;
    float beta = 0;
    if (t < a.count) {
      const float* row = a.in + static_cast<std::size_t>(t) * a.in_rows + a.channels + head;
      beta = sigmoid(row[0]);
      const float x = row[a.value_heads] + a.dt_bias[head];
      const float softplus = x > 20.0F ? x : log1pf(expf(x));
      log_decay[i] = fmaxf(-a.decay[head] * softplus, -1e4F);  // e^-1e4 is 0; infinities would have no difference
    }
    betas[2 * lane + i] = beta;
  }
  double sum = log_decay[0] + log_decay[1];
#pragma unroll
  for (int i = 1; i < 32; i *= 2) {
    const double other = __shfl_up_sync(~0U, sum, i);
    if (lane >= i) sum += other;
  }
  const double sums[2] = {sum - log_decay[1], sum};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const float hi = static_cast<float>(sums[i]);
    sum_hi[2 * lane + i] = hi;
    sum_lo[2 * lane + i] = static_cast<float>(sums[i] - hi);
  }
}

/// Inverts 1 + A (64 × 64, A strictly lower triangular) into t, by all 8 warps: the blocks of 16 on the diagonal by
/// substitution, then each diagonal of blocks from those before it. Blocks of t above the diagonal are scratch.
template <std::uint32_t kPitch>
__device__ __forceinline__ void invert(const float* m, float* t) {
  const std::uint32_t lane = threadIdx.x % 32;
  const std::uint32_t warp = threadIdx.x / 32;
  if (warp < 4) {
    const std::uint32_t base = 16 * warp;
    const int column = static_cast<int>(lane % 16);
    float x[16];
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      float sum = i == column ? 1.0F : 0.0F;
#pragma unroll
      for (int j = 0; j < i; ++j) sum -= m[(base + i) * kPitch + base + j] * x[j];
      x[i] = sum;
    }
    if (lane < 16) {
#pragma unroll
      for (int i = 0; i < 16; ++i) t[(base + i) * kPitch + base + column] = x[i];
    }
  }
  __syncthreads();
  for (std::uint32_t distance = 1; distance < 4; ++distance) {
    if (warp < 2 * (4 - distance)) {  // two warps a block, eight columns each
      const std::uint32_t i = distance + warp / 2;
      const std::uint32_t j = i - distance;
      const std::uint32_t column = 8 * (warp % 2) + lane % 8;
      const std::uint32_t row = 4 * (lane / 8);
      float x[4] = {};
      for (std::uint32_t s = 16 * j; s < 16 * i; s += 4) {
        const float* right = t + s * kPitch + 16 * j + column;
        const float r0 = right[0], r1 = right[kPitch], r2 = right[2 * kPitch], r3 = right[3 * kPitch];
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          const float4 left = *reinterpret_cast<const float4*>(m + (16 * i + row + r) * kPitch + s);
          x[r] += left.x * r0 + left.y * r1 + left.z * r2 + left.w * r3;
        }
      }
      float* scratch = t + 16 * j * kPitch + 16 * i + column;
#pragma unroll
      for (int r = 0; r < 4; ++r) scratch[(row + r) * kPitch] = x[r];
      __syncwarp();
      float y[4] = {};
#pragma unroll
      for (int s = 0; s < 16; s += 4) {
        const float r0 = scratch[s * kPitch], r1 = scratch[(s + 1) * kPitch];
        const float r2 = scratch[(s + 2) * kPitch], r3 = scratch[(s + 3) * kPitch];
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          const float4 left = *reinterpret_cast<const float4*>(t + (16 * i + row + r) * kPitch + 16 * i + s);
          y[r] += left.x * r0 + left.y * r1 + left.z * r2 + left.w * r3;
        }
      }
#pragma unroll
      for (int r = 0; r < 4; ++r) t[(16 * i + row + r) * kPitch + 16 * j + column] = -y[r];
    }
    __syncthreads();
  }
}

/// A block of 256 threads: one chunk of one value head.
template <int kKeyDim, int kTaps>
__global__ void __launch_bounds__(256) prepare_chunks(const DeltaRuleArguments a) {
  using Shared = PrepareShared<kKeyDim>;
  constexpr std::uint32_t kPitch = Shared::kPitch;
  extern __shared__ __align__(128) std::uint8_t prepare_shared[];
  auto* q_hi = reinterpret_cast<__nv_bfloat16*>(prepare_shared);
  __nv_bfloat16* q_lo = q_hi + Shared::kHalves;
  __nv_bfloat16* k_hi = q_lo + Shared::kHalves;
  __nv_bfloat16* k_lo = k_hi + Shared::kHalves;
  auto* square = reinterpret_cast<float*>(prepare_shared);  // A, once q and k are no longer needed
  float* inverse = square + kDeltaChunk * kPitch;
  auto* sum_hi = reinterpret_cast<float*>(prepare_shared + Shared::kMain);
  float* sum_lo = sum_hi + kDeltaChunk;
  float* betas = sum_lo + kDeltaChunk;

  let_next_kernel_start();
  const std::uint32_t lane = threadIdx.x % 32;
  const std::uint32_t warp = threadIdx.x / 32;
  const std::uint32_t chunk = blockIdx.y;
  const std::uint32_t head = blockIdx.x;
  const std::uint32_t sharing = a.value_heads / a.key_heads;
  const std::uint32_t key_head = head / sharing;
  const std::uint32_t start = kDeltaChunk * chunk;
  const int first = static_cast<int>(start + 8 * warp);  // of this warp's tokens

  if (warp == 7) prepare_gates(a, static_cast<int>(start), head, sum_hi, sum_lo, betas);
  prepare_keys<kKeyDim, kTaps>(a, first, key_head * kKeyDim, rsqrtf(static_cast<float>(kKeyDim)), q_hi, q_lo);
  prepare_keys<kKeyDim, kTaps>(a, first, (a.key_heads + key_head) * kKeyDim, 1.0F, k_hi, k_lo);
  for (std::uint32_t d = 2 * lane; d < a.value_dim; d += 64) {
    float2 x[8];
    convolve<kTaps>(a, first, 2 * a.key_heads * kKeyDim + head * a.value_dim + d, x);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const std::size_t row = start + 8 * warp + i;
      *reinterpret_cast<float2*>(a.values + (row * a.value_heads + head) * a.value_dim + d) = x[i];
    }
  }
  __syncthreads();

  if (head % sharing == 0) {
    constexpr std::uint32_t kBytes = Shared::kHalves * 4;
    const std::size_t to = (static_cast<std::size_t>(chunk) * a.key_heads + key_head) * kBytes;
    for (std::uint32_t i = threadIdx.x * 16; i < kBytes; i += 256 * 16) {
      *reinterpret_cast<uint4*>(a.q + to + i) = *reinterpret_cast<const uint4*>(prepare_shared + i);
      *reinterpret_cast<uint4*>(a.k + to + i) = *reinterpret_cast<const uint4*>(prepare_shared + kBytes + i);
    }
  }
  const std::size_t unit = static_cast<std::size_t>(chunk) * a.value_heads + head;
  if (threadIdx.x < kDeltaChunk) {
    const std::uint32_t t = threadIdx.x;
    float* gates = a.gates + unit * 3 * kDeltaChunk;
    gates[t] = expf(sum_hi[t]);
    gates[kDeltaChunk + t] = betas[t];
    gates[2 * kDeltaChunk + t] = expf((sum_hi[kDeltaChunk - 1] - sum_hi[t]) + (sum_lo[kDeltaChunk - 1] - sum_lo[t]));
  }

  // k kᵀ by warps 0 to 3, q kᵀ by 4 to 7: 16 rows each, up to the diagonal.
  const std::uint32_t strip = warp % 4;
  const __nv_bfloat16* rows_hi = warp < 4 ? k_hi : q_hi;
  const __nv_bfloat16* rows_lo = warp < 4 ? k_lo : q_lo;
  float main[8][4] = {};
  float rest[8][4] = {};
#pragma unroll
  for (std::uint32_t i = 0; i < kKeyDim / 32; ++i) {
    uint4 hi[2];
    uint4 lo[2];
#pragma unroll
    for (std::uint32_t s = 0; s < 2; ++s) {
      const std::uint32_t at = key_offset<kKeyDim>(16 * strip + lane % 16, 4 * i + 2 * s + lane / 16);
      hi[s] = load_matrices(rows_hi + at);
      lo[s] = load_matrices(rows_lo + at);
    }
#pragma unroll
    for (std::uint32_t n = 0; n < 8; ++n) {
      if (n > 2 * strip + 1) continue;
      const std::uint32_t at = key_offset<kKeyDim>(8 * n + lane % 8, 4 * i + lane / 8);
      const uint4 b_hi = load_matrices(k_hi + at);
      const uint4 b_lo = load_matrices(k_lo + at);
      mma_bf16(main[n], hi[0], b_hi.x, b_hi.y);
      mma_bf16(rest[n], lo[0], b_hi.x, b_hi.y);
      mma_bf16(main[n], hi[1], b_hi.z, b_hi.w);
      mma_bf16(rest[n], lo[1], b_hi.z, b_hi.w);
      mma_bf16(rest[n], hi[0], b_lo.x, b_lo.y);
      mma_bf16(rest[n], hi[1], b_lo.z, b_lo.w);
    }
  }
  // Times the decays; on and above the diagonal of A, and above that of the scores, nothing.
  const std::uint32_t row = 16 * strip + lane / 4;
#pragma unroll
  for (std::uint32_t n = 0; n < 8; ++n) {
    if (n > 2 * strip + 1) continue;
#pragma unroll
    for (std::uint32_t c = 0; c < 4; ++c) {
      const std::uint32_t i = row + 8 * (c / 2);
      const std::uint32_t j = 8 * n + 2 * (lane % 4) + c % 2;
      const float factor = expf((sum_hi[i] - sum_hi[j]) + (sum_lo[i] - sum_lo[j]));
      const bool kept = warp < 4 ? j < i : j <= i;
      main[n][c] = kept ? (main[n][c] + rest[n][c]) * factor * (warp < 4 ? betas[i] : 1.0F) : 0.0F;
    }
  }
  __syncthreads();
  if (warp >= 4) {
    std::uint8_t* scores = a.scores + unit * kTriangleBytes + strip * (strip + 1) / 2 * kBlockBytes + 16 * lane;
#pragma unroll
    for (std::uint32_t j = 0; j < 4; ++j) {
      if (j > strip) continue;
      const SplitPair p0 = split_bf16(main[2 * j][0], main[2 * j][1]);
      const SplitPair p1 = split_bf16(main[2 * j + 1][0], main[2 * j + 1][1]);
      const SplitPair p2 = split_bf16(main[2 * j][2], main[2 * j][3]);
      const SplitPair p3 = split_bf16(main[2 * j + 1][2], main[2 * j + 1][3]);
      *reinterpret_cast<uint4*>(scores + j * kBlockBytes) = uint4{p0.hi, p1.hi, p2.hi, p3.hi};
      *reinterpret_cast<uint4*>(scores + j * kBlockBytes + 512) = uint4{p0.lo, p1.lo, p2.lo, p3.lo};
    }
  } else {
#pragma unroll
    for (std::uint32_t n = 0; n < 8; ++n) {
      if (n > 2 * strip + 1) continue;
      float* to = square + row * kPitch + 8 * n + 2 * (lane % 4);
      *reinterpret_cast<float2*>(to) = float2{main[n][0], main[n][1]};
      *reinterpret_cast<float2*>(to + 8 * kPitch) = float2{main[n][2], main[n][3]};
    }
  }
  __syncthreads();

  invert<kPitch>(square, inverse);
  std::uint8_t* to = a.inverse + unit * kTriangleBytes + 16 * lane;
  for (std::uint32_t block = warp; block < 10; block += 8) {
    const std::uint32_t i = block >= 6 ? 3 : block >= 3 ? 2 : block >= 1 ? 1 : 0;
    const std::uint32_t j = block - i * (i + 1) / 2;
    const float* from = inverse + (16 * i + lane / 4) * kPitch + 16 * j + 2 * (lane % 4);
    const SplitPair p0 = split_bf16(from[0], from[1]);
    const SplitPair p1 = split_bf16(from[8], from[9]);
    const SplitPair p2 = split_bf16(from[8 * kPitch], from[8 * kPitch + 1]);
    const SplitPair p3 = split_bf16(from[8 * kPitch + 8], from[8 * kPitch + 9]);
    *reinterpret_cast<uint4*>(to + block * kBlockBytes) = uint4{p0.hi, p1.hi, p2.hi, p3.hi};
    *reinterpret_cast<uint4*>(to + block * kBlockBytes + 512) = uint4{p0.lo, p1.lo, p2.lo, p3.lo};
  }
}

}  // namespace qwen35::cuda
