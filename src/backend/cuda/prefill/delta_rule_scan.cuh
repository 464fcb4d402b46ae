#pragma once

// The sequential half of DeltaRule's kernels: see delta_rule_kernels.cuh.

#include "backend/cuda/prefill/delta_rule_kernels.cuh"

namespace qwen35::cuda {

/// Shared memory of the scan: one chunk's k, q, inverse and scores (two chunks of them, kDouble), then what the four
/// warps of each slice tell each other, as operands in registers' order: S, beta (v − …), u, and u decayed.
template <int kKeyDim, int kSlices, bool kDouble>
struct ScanShared {
  static constexpr std::uint32_t kKeyBytes = kDeltaChunk * kKeyDim * 4;
  static constexpr std::uint32_t kStage = 2 * kKeyBytes + 2 * kTriangleBytes;
  static constexpr std::uint32_t kTokens = kDeltaChunk * 64;  ///< 16 × 64 values as hi and lo
  static constexpr std::uint32_t kS = kKeyDim * 64;
  /// With one stage u lies where S was: small GPUs have no more.
  static constexpr std::uint32_t kFirst = kDouble ? kS + 2 * kTokens : kS > 2 * kTokens ? kS : 2 * kTokens;
  static constexpr std::uint32_t kExchange = kFirst + kTokens;
  static constexpr std::uint32_t kBytes = (kDouble ? 2 : 1) * kStage + kSlices * kExchange;
};

/// Operand registers of 16 × 16 as bfloat16 hi and lo, 512 bytes each.
__device__ __forceinline__ void store_operand(std::uint8_t* at, const float (&left)[4], const float (&right)[4]) {
  const SplitPair p0 = split_bf16(left[0], left[1]);
  const SplitPair p1 = split_bf16(left[2], left[3]);
  const SplitPair p2 = split_bf16(right[0], right[1]);
  const SplitPair p3 = split_bf16(right[2], right[3]);
  *reinterpret_cast<uint4*>(at) = uint4{p0.hi, p1.hi, p2.hi, p3.hi};
  *reinterpret_cast<uint4*>(at + 512) = uint4{p0.lo, p1.lo, p2.lo, p3.lo};
}

/// Everything is transposed: rows are the 16 values of a slice, columns tokens or key dimensions, so that a result of
/// one product has the form of the next one's row operand. Of a slice's four warps, warp w has tokens 16 w … 16 w + 15
/// of each chunk, and key_dim / 4 key dimensions of S.
template <int kKeyDim, int kSlices, bool kDouble>
__global__ void __launch_bounds__(128 * kSlices) scan_chunks(const DeltaRuleArguments a) {
  using Shared = ScanShared<kKeyDim, kSlices, kDouble>;
  constexpr std::uint32_t kTiles = kKeyDim / 32;  // of 8 key dimensions, of a warp
  constexpr std::uint32_t kThreads = 128 * kSlices;
  extern __shared__ __align__(128) std::uint8_t scan_shared[];
  let_next_begin();

  const std::uint32_t lane = threadIdx.x % 32;
  const std::uint32_t warp = threadIdx.x / 32 % 4;
  const std::uint32_t group = threadIdx.x / 128;
  const std::uint32_t head = blockIdx.y;
  const std::uint32_t key_head = head / (a.value_heads / a.key_heads);
  const std::uint32_t value = (blockIdx.x * kSlices + group) * 16 + lane / 4;  // and value + 8

  std::uint8_t* exchange = scan_shared + (kDouble ? 2 : 1) * Shared::kStage + group * Shared::kExchange;
  std::uint8_t* s_operand = exchange + 16 * lane;
  std::uint8_t* u_operand = exchange + (kDouble ? Shared::kS : 0) + 16 * lane;
  std::uint8_t* decayed_operand = u_operand + Shared::kTokens;
  std::uint8_t* rest_operand = exchange + Shared::kFirst + 16 * lane;

  const auto load = [&](std::uint32_t chunk) {
    std::uint8_t* to = scan_shared + (kDouble ? chunk % 2 * Shared::kStage : 0);
    const std::size_t keys = (static_cast<std::size_t>(chunk) * a.key_heads + key_head) * Shared::kKeyBytes;
    const std::size_t triangle = (static_cast<std::size_t>(chunk) * a.value_heads + head) * kTriangleBytes;
    copy_block(to, a.k + keys, Shared::kKeyBytes, kThreads);
    copy_block(to + Shared::kKeyBytes, a.q + keys, Shared::kKeyBytes, kThreads);
    copy_block(to + 2 * Shared::kKeyBytes, a.inverse + triangle, kTriangleBytes, kThreads);
    copy_block(to + 2 * Shared::kKeyBytes + kTriangleBytes, a.scores + triangle, kTriangleBytes, kThreads);
    end_of_copies();
  };
  float s[kTiles][4];
  const std::size_t s_row = (static_cast<std::size_t>(head) * a.value_dim + value) * kKeyDim;
#pragma unroll
  for (std::uint32_t n = 0; n < kTiles; ++n) {
    const std::size_t at = s_row + 8 * (kTiles * warp + n) + 2 * (lane % 4);
    float2 top{0, 0};
    float2 bottom{0, 0};
    if (a.s_in != nullptr) {
      top = *reinterpret_cast<const float2*>(a.s_in + at);
      bottom = *reinterpret_cast<const float2*>(a.s_in + at + 8 * kKeyDim);
    }
    s[n][0] = top.x;
    s[n][1] = top.y;
    s[n][2] = bottom.x;
    s[n][3] = bottom.y;
  }
  const auto store_s = [&] {
    if constexpr (kTiles % 2 == 0) {
#pragma unroll
      for (std::uint32_t n = 0; n < kTiles; n += 2) {
        store_operand(s_operand + (kTiles * warp + n) / 2 * 1024, s[n], s[n + 1]);
      }
    } else {  // half an operand: the other half is the next warp's
      const SplitPair top = split_bf16(s[0][0], s[0][1]);
      const SplitPair bottom = split_bf16(s[0][2], s[0][3]);
      std::uint8_t* to = s_operand + warp / 2 * 1024 + warp % 2 * 8;
      *reinterpret_cast<uint2*>(to) = uint2{top.hi, bottom.hi};
      *reinterpret_cast<uint2*>(to + 512) = uint2{top.lo, bottom.lo};
    }
  };
  wait_for_previous();  // S is an earlier pass's; all else is prepare_chunks'
  if constexpr (kDouble) load(0);
  store_s();

  for (std::uint32_t chunk = 0; chunk < a.chunks; ++chunk) {
    const std::size_t unit = static_cast<std::size_t>(chunk) * a.value_heads + head;
    const std::uint32_t token = 16 * warp + 2 * (lane % 4);  // of the chunk; and + 1, + 8, + 9
    float* values = a.values +
                    ((static_cast<std::size_t>(chunk) * kDeltaChunk + token) * a.value_heads + head) * a.value_dim +
                    value;
    const std::size_t row = static_cast<std::size_t>(a.value_heads) * a.value_dim;
    float v[2][4];
    float2 reach[2];
    float2 beta[2];
    float2 left[2];
    const float* gates = a.gates + unit * 3 * kDeltaChunk;
#pragma unroll
    for (std::uint32_t n = 0; n < 2; ++n) {
#pragma unroll
      for (std::uint32_t c = 0; c < 4; ++c) v[n][c] = values[(8 * n + c % 2) * row + c / 2 * 8];
      reach[n] = *reinterpret_cast<const float2*>(gates + token + 8 * n);
      beta[n] = *reinterpret_cast<const float2*>(gates + kDeltaChunk + token + 8 * n);
      left[n] = *reinterpret_cast<const float2*>(gates + 2 * kDeltaChunk + token + 8 * n);
    }
    const float whole = gates[kDeltaChunk - 1];

    if constexpr (kDouble) {
      wait_for_copies<0>();
      __syncthreads();  // this chunk is there, S too, and nobody reads the last one any more
      if (chunk + 1 < a.chunks) load(chunk + 1);
    } else {
      __syncthreads();
      load(chunk);
      wait_for_copies<0>();
      __syncthreads();
    }
    const std::uint8_t* stage = scan_shared + (kDouble ? chunk % 2 * Shared::kStage : 0);
    const auto* k_hi = reinterpret_cast<const __nv_bfloat16*>(stage);
    const __nv_bfloat16* k_lo = k_hi + kDeltaChunk * kKeyDim;
    const __nv_bfloat16* q_hi = k_lo + kDeltaChunk * kKeyDim;
    const __nv_bfloat16* q_lo = q_hi + kDeltaChunk * kKeyDim;
    const std::uint8_t* inverse = stage + 2 * Shared::kKeyBytes + 16 * lane;
    const std::uint8_t* scores = inverse + kTriangleBytes;

    // Sᵀkᵀ and Sᵀqᵀ of this warp's tokens.
    float x[2][3][4] = {};
    float y[2][3][4] = {};
#pragma unroll
    for (std::uint32_t i = 0; i < kKeyDim / 32; ++i) {
      uint4 hi[2];
      uint4 lo[2];
#pragma unroll
      for (std::uint32_t step = 0; step < 2; ++step) {
        hi[step] = *reinterpret_cast<const uint4*>(s_operand + (2 * i + step) * 1024);
        lo[step] = *reinterpret_cast<const uint4*>(s_operand + (2 * i + step) * 1024 + 512);
      }
#pragma unroll
      for (std::uint32_t n = 0; n < 2; ++n) {
        const std::uint32_t at = key_offset<kKeyDim>(16 * warp + 8 * n + lane % 8, 4 * i + lane / 8);
        const uint4 kh = load_matrices(k_hi + at);
        const uint4 kl = load_matrices(k_lo + at);
        const uint4 qh = load_matrices(q_hi + at);
        const uint4 ql = load_matrices(q_lo + at);
        mma_bf16(x[n][0], hi[0], kh.x, kh.y);
        mma_bf16(x[n][1], lo[0], kh.x, kh.y);
        mma_bf16(x[n][2], hi[0], kl.x, kl.y);
        mma_bf16(y[n][0], hi[0], qh.x, qh.y);
        mma_bf16(y[n][1], lo[0], qh.x, qh.y);
        mma_bf16(y[n][2], hi[0], ql.x, ql.y);
        mma_bf16(x[n][0], hi[1], kh.z, kh.w);
        mma_bf16(x[n][1], lo[1], kh.z, kh.w);
        mma_bf16(x[n][2], hi[1], kl.z, kl.w);
        mma_bf16(y[n][0], hi[1], qh.z, qh.w);
        mma_bf16(y[n][1], lo[1], qh.z, qh.w);
        mma_bf16(y[n][2], hi[1], ql.z, ql.w);
      }
    }
    float rest[2][4];
#pragma unroll
    for (std::uint32_t n = 0; n < 2; ++n) {
#pragma unroll
      for (std::uint32_t c = 0; c < 4; ++c) {
        const float e = c % 2 == 0 ? reach[n].x : reach[n].y;
        const float b = c % 2 == 0 ? beta[n].x : beta[n].y;
        rest[n][c] = b * (v[n][c] - e * (x[n][0][c] + (x[n][1][c] + x[n][2][c])));
        y[n][0][c] = e * (y[n][0][c] + (y[n][1][c] + y[n][2][c]));
        y[n][1][c] = y[n][2][c] = 0;
      }
    }
    store_operand(rest_operand + warp * 1024, rest[0], rest[1]);
    __syncthreads();

    // uᵀ of this warp's tokens: row block `warp` of the inverse.
    float u[2][3][4] = {};
    const std::uint32_t blocks = warp * (warp + 1) / 2 * kBlockBytes;
#pragma unroll
    for (std::uint32_t j = 0; j < 4; ++j) {
      if (j > warp) continue;
      const uint4 hi = *reinterpret_cast<const uint4*>(rest_operand + j * 1024);
      const uint4 lo = *reinterpret_cast<const uint4*>(rest_operand + j * 1024 + 512);
      const uint4 t_hi = *reinterpret_cast<const uint4*>(inverse + blocks + j * kBlockBytes);
      const uint4 t_lo = *reinterpret_cast<const uint4*>(inverse + blocks + j * kBlockBytes + 512);
      mma_bf16(u[0][0], hi, t_hi.x, t_hi.y);
      mma_bf16(u[1][0], hi, t_hi.z, t_hi.w);
      mma_bf16(u[0][1], lo, t_hi.x, t_hi.y);
      mma_bf16(u[1][1], lo, t_hi.z, t_hi.w);
      mma_bf16(u[0][2], hi, t_lo.x, t_lo.y);
      mma_bf16(u[1][2], hi, t_lo.z, t_lo.w);
    }
    float decayed[2][4];
#pragma unroll
    for (std::uint32_t n = 0; n < 2; ++n) {
#pragma unroll
      for (std::uint32_t c = 0; c < 4; ++c) {
        u[n][0][c] += u[n][1][c] + u[n][2][c];
        decayed[n][c] = u[n][0][c] * (c % 2 == 0 ? left[n].x : left[n].y);
      }
    }
    store_operand(u_operand + warp * 1024, u[0][0], u[1][0]);
    store_operand(decayed_operand + warp * 1024, decayed[0], decayed[1]);
    __syncthreads();

    // yᵀ of this warp's tokens.
#pragma unroll
    for (std::uint32_t j = 0; j < 4; ++j) {
      if (j > warp) continue;
      const uint4 hi = *reinterpret_cast<const uint4*>(u_operand + j * 1024);
      const uint4 lo = *reinterpret_cast<const uint4*>(u_operand + j * 1024 + 512);
      const uint4 p_hi = *reinterpret_cast<const uint4*>(scores + blocks + j * kBlockBytes);
      const uint4 p_lo = *reinterpret_cast<const uint4*>(scores + blocks + j * kBlockBytes + 512);
      mma_bf16(y[0][0], hi, p_hi.x, p_hi.y);
      mma_bf16(y[1][0], hi, p_hi.z, p_hi.w);
      mma_bf16(y[0][1], lo, p_hi.x, p_hi.y);
      mma_bf16(y[1][1], lo, p_hi.z, p_hi.w);
      mma_bf16(y[0][2], hi, p_lo.x, p_lo.y);
      mma_bf16(y[1][2], hi, p_lo.z, p_lo.w);
    }
    // Sᵀ of this warp's key dimensions.
    float more[kTiles][2][4] = {};
#pragma unroll
    for (std::uint32_t n = 0; n < kTiles; ++n) {
#pragma unroll
      for (std::uint32_t c = 0; c < 4; ++c) s[n][c] *= whole;
    }
#pragma unroll
    for (std::uint32_t i = 0; i < 2; ++i) {
      uint4 hi[2];
      uint4 lo[2];
#pragma unroll
      for (std::uint32_t step = 0; step < 2; ++step) {
        hi[step] = *reinterpret_cast<const uint4*>(decayed_operand + (2 * i + step) * 1024);
        lo[step] = *reinterpret_cast<const uint4*>(decayed_operand + (2 * i + step) * 1024 + 512);
      }
#pragma unroll
      for (std::uint32_t n = 0; n < kTiles; ++n) {
        const std::uint32_t at = key_offset<kKeyDim>(32 * i + lane, kTiles * warp + n);
        const uint4 kh = load_matrices_transposed(k_hi + at);
        const uint4 kl = load_matrices_transposed(k_lo + at);
        mma_bf16(s[n], hi[0], kh.x, kh.y);
        mma_bf16(more[n][0], lo[0], kh.x, kh.y);
        mma_bf16(more[n][1], hi[0], kl.x, kl.y);
        mma_bf16(s[n], hi[1], kh.z, kh.w);
        mma_bf16(more[n][0], lo[1], kh.z, kh.w);
        mma_bf16(more[n][1], hi[1], kl.z, kl.w);
      }
    }
#pragma unroll
    for (std::uint32_t n = 0; n < kTiles; ++n) {
#pragma unroll
      for (std::uint32_t c = 0; c < 4; ++c) s[n][c] += more[n][0][c] + more[n][1][c];
    }
    if constexpr (!kDouble) __syncthreads();  // u lies where S goes
    store_s();
#pragma unroll
    for (std::uint32_t n = 0; n < 2; ++n) {
#pragma unroll
      for (std::uint32_t c = 0; c < 4; ++c) {
        values[(8 * n + c % 2) * row + c / 2 * 8] = y[n][0][c] + (y[n][1][c] + y[n][2][c]);
      }
    }
  }

#pragma unroll
  for (std::uint32_t n = 0; n < kTiles; ++n) {
    const std::size_t at = s_row + 8 * (kTiles * warp + n) + 2 * (lane % 4);
    *reinterpret_cast<float2*>(a.s_out + at) = float2{s[n][0], s[n][1]};
    *reinterpret_cast<float2*>(a.s_out + at + 8 * kKeyDim) = float2{s[n][2], s[n][3]};
  }
}

/// Four floats of the gated norm's result, as two halves.
__device__ __forceinline__ void store_gated(const DeltaRuleArguments& a, std::size_t to, float factor, const float4& x,
                                            const float4& gate, const float4& weight) {
  const SplitPair left = split_f16(weight.x * x.x * factor * (gate.x * quick_sigmoid(gate.x)),
                                   weight.y * x.y * factor * (gate.y * quick_sigmoid(gate.y)));
  const SplitPair right = split_f16(weight.z * x.z * factor * (gate.z * quick_sigmoid(gate.z)),
                                    weight.w * x.w * factor * (gate.w * quick_sigmoid(gate.w)));
  if (a.vectors) {
    *reinterpret_cast<uint2*>(a.hi + to) = uint2{left.hi, right.hi};
    *reinterpret_cast<uint2*>(a.lo + to) = uint2{left.lo, right.lo};
  } else {
    *reinterpret_cast<std::uint32_t*>(a.hi + to) = left.hi;
    *reinterpret_cast<std::uint32_t*>(a.hi + to + 2) = right.hi;
    *reinterpret_cast<std::uint32_t*>(a.lo + to) = left.lo;
    *reinterpret_cast<std::uint32_t*>(a.lo + to + 2) = right.lo;
  }
}

/// A warp for each token and head: w · y · rsqrt(mean(y²) + eps) · silu(z) as two halves. The blocks from `norm_blocks`
/// on write the ring, `row_blocks` for each of the pass's last tokens, four floats a thread.
__global__ void __launch_bounds__(32 * kNormWarps)
    gate_results(const DeltaRuleArguments a, std::uint32_t norm_blocks, std::uint32_t row_blocks) {
  wait_for_previous();
  let_next_begin();
  if (blockIdx.x >= norm_blocks) {
    const std::uint32_t block = blockIdx.x - norm_blocks;
    const std::uint32_t rows = (gridDim.x - norm_blocks) / row_blocks;
    const int t = a.count - static_cast<int>(rows - block / row_blocks);
    const std::uint32_t i = (block % row_blocks * 32 * kNormWarps + threadIdx.x) * 4;
    if (i >= a.ring_floats) return;
    const float* from = a.in + static_cast<std::size_t>(t) * a.in_rows + i;
    float* to = a.ring + static_cast<std::uint32_t>(a.position + t) % kRingRows * a.ring_floats + i;
    if (a.vectors) {
      *reinterpret_cast<float4*>(to) = *reinterpret_cast<const float4*>(from);
    } else {
      for (std::uint32_t c = 0; c < 4 && i + c < a.ring_floats; ++c) to[c] = from[c];
    }
    return;
  }
  const std::uint32_t lane = threadIdx.x % 32;
  const std::uint32_t unit = blockIdx.x * kNormWarps + threadIdx.x / 32;
  const std::uint32_t token = unit / a.value_heads;
  const std::uint32_t head = unit % a.value_heads;
  if (token >= static_cast<std::uint32_t>(a.count)) return;
  const float* y = a.values + static_cast<std::size_t>(unit) * a.value_dim;
  const float* z = a.in + static_cast<std::size_t>(token) * a.in_rows + a.ring_floats + head * a.value_dim;
  // The first 128 values stay in registers: everything they need is asked for at once.
  float4 x{0, 0, 0, 0};
  float4 gate{0, 0, 0, 0};
  float4 weight{0, 0, 0, 0};
  if (4 * lane < a.value_dim) {
    x = *reinterpret_cast<const float4*>(y + 4 * lane);
    gate = load_4(z + 4 * lane, a.vectors);
    weight = *reinterpret_cast<const float4*>(a.gated_norm + 4 * lane);
  }
  float squares = (x.x * x.x + x.y * x.y) + (x.z * x.z + x.w * x.w);
#pragma unroll 1
  for (std::uint32_t d = 4 * lane + 128; d < a.value_dim; d += 128) {
    const float4 more = *reinterpret_cast<const float4*>(y + d);
    squares += (more.x * more.x + more.y * more.y) + (more.z * more.z + more.w * more.w);
  }
  const float factor = rsqrtf(warp_sum(squares) / static_cast<float>(a.value_dim) + a.eps);
  const std::size_t to = static_cast<std::size_t>(token) * a.stride + head * a.value_dim;
  if (4 * lane < a.value_dim) store_gated(a, to + 4 * lane, factor, x, gate, weight);
#pragma unroll 1
  for (std::uint32_t d = 4 * lane + 128; d < a.value_dim; d += 128) {
    store_gated(a, to + d, factor, *reinterpret_cast<const float4*>(y + d), load_4(z + d, a.vectors),
                *reinterpret_cast<const float4*>(a.gated_norm + d));
  }
}

}  // namespace qwen35::cuda
