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

#include "backend/cuda/device/layout.h"
#include "backend/cuda/pieces/launch.cuh"
#include "backend/cuda/pieces/tensor_core.cuh"

namespace qwen35::cuda {

inline constexpr std::uint32_t kDeltaChunk = 64;
/// A lower triangular 64 × 64 matrix as ten blocks of 16 × 16, block (i, j) at i (i + 1) / 2 + j: bfloat16 hi, then lo,
/// each 16 bytes a lane: rows i as columns of the product, the sum runs over j.
inline constexpr std::uint32_t kBlockBytes = 1024;
inline constexpr std::uint32_t kTriangleBytes = 10 * kBlockBytes;
inline constexpr std::uint32_t kNormWarps = 8;
inline constexpr std::uint32_t kPrepareThreads = 512;
inline constexpr int kWarpTokens = 4;  ///< of a chunk's 64, of each of those threads' warps

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
  bool vectors = false;  ///< rows of in, ring, hi and lo are whole groups of four, aligned
};

/// Four floats; `vectors`: 16 bytes aligned, else 8.
__device__ __forceinline__ float4 load_4(const float* from, bool vectors) {
  if (vectors) return *reinterpret_cast<const float4*>(from);
  const float2 left = *reinterpret_cast<const float2*>(from);
  const float2 right = *reinterpret_cast<const float2*>(from + 2);
  return float4{left.x, left.y, right.x, right.y};
}

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

/// Channels `channel` … + 3 of kWarpTokens tokens from `first` on: causal convolution and SiLU; zeros past the pass's
/// end.
template <int kTaps>
__device__ __forceinline__ void convolve(const DeltaRuleArguments& a, int first, std::uint32_t channel,
                                         float4 (&out)[kWarpTokens]) {
  constexpr int kBefore = kTaps - 1;
  float4 x[kWarpTokens + kBefore];
  if (a.vectors && first >= kBefore && first + kWarpTokens <= a.count) {
    const float* from = a.in + static_cast<std::size_t>(first - kBefore) * a.in_rows + channel;
#pragma unroll
    for (int i = 0; i < kWarpTokens + kBefore; ++i) {
      x[i] = *reinterpret_cast<const float4*>(from);
      from += a.in_rows;
    }
  } else {
#pragma unroll
    for (int i = 0; i < kWarpTokens + kBefore; ++i) {
      const int t = first + i - kBefore;
      const bool now = t >= 0;
      const bool there = now ? t < a.count : -t < a.taps && a.position + t >= 0;
      const std::uint32_t row = static_cast<std::uint32_t>(now ? t : (a.position + t) % static_cast<int>(kRingRows));
      const float* from = (now ? a.in : a.ring) + static_cast<std::size_t>(row) * (now ? a.in_rows : a.ring_floats);
      x[i] = there ? load_4(from + channel, false) : float4{0, 0, 0, 0};
    }
  }
#pragma unroll
  for (int i = 0; i < kWarpTokens; ++i) out[i] = float4{0, 0, 0, 0};
#pragma unroll
  for (int j = 0; j < kTaps; ++j) {
    const int tap = j - (kTaps - a.taps);
    if (tap < 0) continue;
    const float4 w = *reinterpret_cast<const float4*>(a.conv + static_cast<std::size_t>(tap) * a.channels + channel);
#pragma unroll
    for (int i = 0; i < kWarpTokens; ++i) {
      out[i].x = fmaf(w.x, x[i + j].x, out[i].x);
      out[i].y = fmaf(w.y, x[i + j].y, out[i].y);
      out[i].z = fmaf(w.z, x[i + j].z, out[i].z);
      out[i].w = fmaf(w.w, x[i + j].w, out[i].w);
    }
  }
#pragma unroll
  for (int i = 0; i < kWarpTokens; ++i) {
    const bool there = first + i < a.count;
    out[i].x = there ? out[i].x * quick_sigmoid(out[i].x) : 0.0F;
    out[i].y = there ? out[i].y * quick_sigmoid(out[i].y) : 0.0F;
    out[i].z = there ? out[i].z * quick_sigmoid(out[i].z) : 0.0F;
    out[i].w = there ? out[i].w * quick_sigmoid(out[i].w) : 0.0F;
  }
}

/// The warp's tokens: q and k convolved, normalised, q over sqrt(key_dim), split, into `shared` (q hi, q lo, k hi, k
/// lo); then v into `values` (the first token's). One loop over all: the code of a convolution is long.
template <int kKeyDim, int kTaps>
__device__ __forceinline__ void prepare_tokens(const DeltaRuleArguments& a, int first, std::uint32_t key_head,
                                               std::uint32_t head, __nv_bfloat16* shared, float* values) {
  constexpr std::uint32_t kHalves = PrepareShared<kKeyDim>::kHalves;
  const std::uint32_t lane = threadIdx.x % 32;
  const std::uint32_t token = kWarpTokens * (threadIdx.x / 32);
  const std::uint32_t parts = 2 + (a.value_dim + 127) / 128;
#pragma unroll 1
  for (std::uint32_t part = 0; part < parts; ++part) {
    const bool keys = part < 2;
    const std::uint32_t d = 4 * lane + (keys ? 0 : (part - 2) * 128);
    const std::uint32_t channel =
        keys ? (part * a.key_heads + key_head) * kKeyDim : 2 * a.key_heads * kKeyDim + head * a.value_dim;
    const bool mine = d < (keys ? kKeyDim : a.value_dim);
    float4 x[kWarpTokens];
    if (mine && first < a.count) {
      convolve<kTaps>(a, first, channel + d, x);
    } else {
#pragma unroll
      for (int i = 0; i < kWarpTokens; ++i) x[i] = float4{0, 0, 0, 0};
    }
    if (keys) {
      const float scale = part == 0 ? rsqrtf(static_cast<float>(kKeyDim)) : 1.0F;
      __nv_bfloat16* hi = shared + part * 2 * kHalves;
      float squares[kWarpTokens];
#pragma unroll
      for (int i = 0; i < kWarpTokens; ++i) {
        squares[i] = warp_sum((x[i].x * x[i].x + x[i].y * x[i].y) + (x[i].z * x[i].z + x[i].w * x[i].w));
      }
      if (mine) {
#pragma unroll
        for (int i = 0; i < kWarpTokens; ++i) {
          const float factor = rsqrtf(squares[i] + 1e-6F) * scale;
          const SplitPair left = split_bf16(x[i].x * factor, x[i].y * factor);
          const SplitPair right = split_bf16(x[i].z * factor, x[i].w * factor);
          const std::uint32_t at = key_offset<kKeyDim>(token + i, d / 8) + d % 8;
          *reinterpret_cast<uint2*>(hi + at) = uint2{left.hi, right.hi};
          *reinterpret_cast<uint2*>(hi + kHalves + at) = uint2{left.lo, right.lo};
        }
      }
    } else if (mine) {
#pragma unroll
      for (int i = 0; i < kWarpTokens; ++i) {
        *reinterpret_cast<float4*>(values + static_cast<std::size_t>(i) * a.value_heads * a.value_dim + d) = x[i];
      }
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
      beta = quick_sigmoid(row[0]);
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

/// Inverts 1 + A (64 × 64, A strictly lower triangular) into t, by all threads: the blocks of 16 on the diagonal by
/// substitution, then those of 32, then the whole, each lower left part as −(lower right)⁻¹ · A · (upper left)⁻¹.
/// Blocks of t above the diagonal are scratch.
template <std::uint32_t kPitch>
__device__ __forceinline__ void invert(const float* m, float* t) {
  const std::uint32_t lane = threadIdx.x % 32;
  const std::uint32_t warp = threadIdx.x / 32;
  if (warp < kDeltaChunk / 16) {
    const std::uint32_t base = 16 * warp;
    const int column = static_cast<int>(lane % 16);
    float x[16];
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      float sum[2] = {i == column ? 1.0F : 0.0F, 0.0F};
#pragma unroll
      for (int j = 0; j < i; j += 4) {  // what lies on and above the diagonal is 0, and x is 0 there
        const float4 left = *reinterpret_cast<const float4*>(m + (base + i) * kPitch + base + j);
        sum[0] -= left.x * x[j];
        if (j + 1 < i) sum[1] -= left.y * x[j + 1];
        if (j + 2 < i) sum[0] -= left.z * x[j + 2];
        if (j + 3 < i) sum[1] -= left.w * x[j + 3];
      }
      x[i] = sum[0] + sum[1];
    }
    if (lane < 16) {
#pragma unroll
      for (int i = 0; i < 16; ++i) t[(base + i) * kPitch + base + column] = x[i];
    }
  }
  __syncthreads();
#pragma unroll 1
  for (std::uint32_t size = 16; size < kDeltaChunk; size *= 2) {
    const std::uint32_t rows = size * (kDeltaChunk / 2) / kPrepareThreads;  // of a thread
    const std::uint32_t column = threadIdx.x % size;
    const std::uint32_t row = threadIdx.x / size % (size / rows) * rows;
    const std::uint32_t at = threadIdx.x / (size * size / rows) * 2 * size;  // where the pair of blocks begins
    const float* low = m + (at + size) * kPitch + at;
    float* corner = t + at * kPitch + at;
    float* scratch = corner + size;
#pragma unroll 1
    for (std::uint32_t step = 0; step < 2; ++step) {
      const float* left = step == 0 ? low : corner + size * kPitch + size;
      const float* right = (step == 0 ? corner : scratch) + column;
      float* to = (step == 0 ? scratch : corner + size * kPitch) + column;
#pragma unroll 1
      for (std::uint32_t r = row; r < row + rows; ++r) {
        float sum[2] = {};
        // Not the scratch: the upper left is 0 above its diagonal, and so is the lower right.
        const std::uint32_t begin = step == 0 ? column / 16 * 16 : 0;
        const std::uint32_t end = step == 0 ? size : r / 16 * 16 + 16;
#pragma unroll 4
        for (std::uint32_t s = begin; s < end; s += 4) {
          const float4 l = *reinterpret_cast<const float4*>(left + r * kPitch + s);
          sum[0] += l.x * right[s * kPitch];
          sum[1] += l.y * right[(s + 1) * kPitch];
          sum[0] += l.z * right[(s + 2) * kPitch];
          sum[1] += l.w * right[(s + 3) * kPitch];
        }
        to[r * kPitch] = step == 0 ? sum[0] + sum[1] : -(sum[0] + sum[1]);
      }
      __syncthreads();
    }
  }
}

/// One chunk of one value head. Two blocks fit a multiprocessor. What counts most is that the code is short: a block is
/// over soon, and what it fetches of its instructions is what it waits for.
template <int kKeyDim, int kTaps>
__global__ void __launch_bounds__(kPrepareThreads, 2) prepare_chunks(const DeltaRuleArguments a) {
  using Shared = PrepareShared<kKeyDim>;
  constexpr std::uint32_t kPitch = Shared::kPitch;
  extern __shared__ __align__(128) std::uint8_t prepare_shared[];
  auto* q_hi = reinterpret_cast<__nv_bfloat16*>(prepare_shared);
  __nv_bfloat16* k_hi = q_hi + 2 * Shared::kHalves;
  auto* square = reinterpret_cast<float*>(prepare_shared);  // A, once q and k are no longer needed
  float* inverse = square + kDeltaChunk * kPitch;
  auto* sum_hi = reinterpret_cast<float*>(prepare_shared + Shared::kMain);
  float* sum_lo = sum_hi + kDeltaChunk;
  float* betas = sum_lo + kDeltaChunk;

  wait_for_previous();
  let_next_begin();  // after the wait: what follows may then read `in` at once
  const std::uint32_t lane = threadIdx.x % 32;
  const std::uint32_t warp = threadIdx.x / 32;
  const std::uint32_t chunk = blockIdx.y;
  const std::uint32_t head = blockIdx.x;
  const std::uint32_t sharing = a.value_heads / a.key_heads;
  const std::uint32_t key_head = head / sharing;
  const std::uint32_t start = kDeltaChunk * chunk;
  const std::uint32_t first = start + kWarpTokens * warp;  // of this warp's tokens

  if (warp == 0) prepare_gates(a, static_cast<int>(start), head, sum_hi, sum_lo, betas);
  prepare_tokens<kKeyDim, kTaps>(a, static_cast<int>(first), key_head, head, q_hi,
                                 a.values + (static_cast<std::size_t>(first) * a.value_heads + head) * a.value_dim);
  __syncthreads();

  if (head % sharing == 0) {
    constexpr std::uint32_t kBytes = Shared::kHalves * 4;
    const std::size_t to = (static_cast<std::size_t>(chunk) * a.key_heads + key_head) * kBytes;
#pragma unroll 2
    for (std::uint32_t i = threadIdx.x * 16; i < kBytes; i += kPrepareThreads * 16) {
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

  // k kᵀ by warps 0 to 7, q kᵀ by 8 to 15: two warps for each 16 rows, which take turns at blocks up to the diagonal.
  const bool keys = warp < 8;
  const std::uint32_t strip = warp % 4;
  const std::uint32_t turn = warp / 4 % 2;
  const __nv_bfloat16* rows = keys ? k_hi : q_hi;
  float main[2][2][4] = {};
  float rest[2][2][4] = {};
#pragma unroll 2
  for (std::uint32_t i = 0; i < kKeyDim / 16; ++i) {
    const std::uint32_t row_at = key_offset<kKeyDim>(16 * strip + lane % 16, 2 * i + lane / 16);
    const uint4 hi = load_matrices(rows + row_at);
    const uint4 lo = load_matrices(rows + Shared::kHalves + row_at);
#pragma unroll
    for (std::uint32_t b = 0; b < 2; ++b) {
      const std::uint32_t j = 2 * b + turn;
      if (j > strip) continue;
      const std::uint32_t at = key_offset<kKeyDim>(16 * j + lane / 16 * 8 + lane % 8, 2 * i + lane / 8 % 2);
      const uint4 b_hi = load_matrices(k_hi + at);
      const uint4 b_lo = load_matrices(k_hi + Shared::kHalves + at);
      mma_bf16(rest[b][0], lo, b_hi.x, b_hi.y);
      mma_bf16(rest[b][1], lo, b_hi.z, b_hi.w);
      mma_bf16(main[b][0], hi, b_hi.x, b_hi.y);
      mma_bf16(main[b][1], hi, b_hi.z, b_hi.w);
      mma_bf16(rest[b][0], hi, b_lo.x, b_lo.y);
      mma_bf16(rest[b][1], hi, b_lo.z, b_lo.w);
    }
  }
  __syncthreads();  // A goes where q and k were
  // Times the decays; on and above the diagonal of A, and above that of the scores, nothing.
  const std::uint32_t row = 16 * strip + lane / 4;
  std::uint8_t* scores = a.scores + unit * kTriangleBytes + strip * (strip + 1) / 2 * kBlockBytes + 16 * lane;
#pragma unroll
  for (std::uint32_t b = 0; b < 2; ++b) {
    const std::uint32_t j16 = 2 * b + turn;
    if (j16 > strip) continue;
#pragma unroll
    for (std::uint32_t c = 0; c < 8; ++c) {
      const std::uint32_t i = row + 8 * (c / 2 % 2);
      const std::uint32_t j = 16 * j16 + 8 * (c / 4) + 2 * (lane % 4) + c % 2;
      const float factor = __expf((sum_hi[i] - sum_hi[j]) + (sum_lo[i] - sum_lo[j])) * (keys ? betas[i] : 1.0F);
      float& value = main[b][c / 4][c % 4];
      value = (keys ? j < i : j <= i) ? (value + rest[b][c / 4][c % 4]) * factor : 0.0F;
    }
    const float(&x)[2][4] = main[b];
    if (keys) {
      float* to = square + row * kPitch + 16 * j16 + 2 * (lane % 4);
      *reinterpret_cast<float2*>(to) = float2{x[0][0], x[0][1]};
      *reinterpret_cast<float2*>(to + 8) = float2{x[1][0], x[1][1]};
      *reinterpret_cast<float2*>(to + 8 * kPitch) = float2{x[0][2], x[0][3]};
      *reinterpret_cast<float2*>(to + 8 * kPitch + 8) = float2{x[1][2], x[1][3]};
    } else {
      const SplitPair p0 = split_bf16(x[0][0], x[0][1]);
      const SplitPair p1 = split_bf16(x[1][0], x[1][1]);
      const SplitPair p2 = split_bf16(x[0][2], x[0][3]);
      const SplitPair p3 = split_bf16(x[1][2], x[1][3]);
      *reinterpret_cast<uint4*>(scores + j16 * kBlockBytes) = uint4{p0.hi, p1.hi, p2.hi, p3.hi};
      *reinterpret_cast<uint4*>(scores + j16 * kBlockBytes + 512) = uint4{p0.lo, p1.lo, p2.lo, p3.lo};
    }
  }
  __syncthreads();

  invert<kPitch>(square, inverse);
  if (warp < 10) {
    const std::uint32_t i = warp >= 6 ? 3 : warp >= 3 ? 2 : warp >= 1 ? 1 : 0;
    const std::uint32_t j = warp - i * (i + 1) / 2;
    std::uint8_t* to = a.inverse + unit * kTriangleBytes + warp * kBlockBytes + 16 * lane;
    const float* from = inverse + (16 * i + lane / 4) * kPitch + 16 * j + 2 * (lane % 4);
    const SplitPair p0 = split_bf16(from[0], from[1]);
    const SplitPair p1 = split_bf16(from[8], from[9]);
    const SplitPair p2 = split_bf16(from[8 * kPitch], from[8 * kPitch + 1]);
    const SplitPair p3 = split_bf16(from[8 * kPitch + 8], from[8 * kPitch + 9]);
    *reinterpret_cast<uint4*>(to) = uint4{p0.hi, p1.hi, p2.hi, p3.hi};
    *reinterpret_cast<uint4*>(to + 512) = uint4{p0.lo, p1.lo, p2.lo, p3.lo};
  }
}

}  // namespace qwen35::cuda
