// Kernels for 64-bit ARM with the dot-product instructions (ARMv8.2: Cortex-A75/A55, Apple A11, Neoverse N1 and later).
// Compiled with those instructions; see kernels.h for shapes.

#include "backend/cpu/kernels/kernels.h"

#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)

#include <arm_neon.h>

namespace qwen35::cpu {
namespace {

#include "backend/cpu/kernels/simd_neon.inl"
// The order matters: the float kernels are written over V.
#include "backend/cpu/kernels/float_kernels.inl"

/// Four floats, non-finite ones as 0.
inline float32x4_t load_finite(const float* p) {
  const float32x4_t v = vld1q_f32(p);
  const uint32x4_t finite = vcleq_f32(vabsq_f32(v), vdupq_n_f32(3.4028235e38F));
  return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), finite));
}

void quantize_row(const float* x, std::size_t n, std::size_t group_size, std::size_t width, std::int8_t* values,
                  float* scales, float* sums) {
  for (std::size_t group = 0; group < n / group_size; ++group, x += group_size) {
    float32x4_t highest = vdupq_n_f32(0.0F);
    for (std::size_t i = 0; i < group_size; i += 4) highest = vmaxq_f32(highest, vabsq_f32(load_finite(x + i)));
    const float top = vmaxvq_f32(highest);
    const float inverse = top > 0 ? static_cast<float>(kQuantLimit) / top : 0.0F;
    const float32x4_t factor = vdupq_n_f32(inverse <= 3.4028235e38F ? inverse : 0.0F);
    int32x4_t sum = vdupq_n_s32(0);
    for (std::size_t i = 0; i < group_size; i += 4, values += 8 * width) {
      int32x4_t q = vcvtnq_s32_f32(vmulq_f32(load_finite(x + i), factor));
      q = vmaxq_s32(vminq_s32(q, vdupq_n_s32(kQuantLimit)), vdupq_n_s32(-kQuantLimit));
      sum = vaddq_s32(sum, q);
      const int32x4_t high = vshrq_n_s32(vaddq_s32(q, vdupq_n_s32(128)), 8);
      const int32x4_t low = vsubq_s32(q, vshlq_n_s32(high, 8));
      vst1_s8(values, vmovn_s16(vcombine_s16(vmovn_s32(high), vmovn_s32(low))));
    }
    const float scale = top / static_cast<float>(kQuantLimit);
    scales[group * width] = scale;
    sums[group * width] = scale * static_cast<float>(vaddvq_s32(sum));
  }
}

inline float32x4_t load_scales(const std::uint8_t* p, bool f16) {
  const auto* half = reinterpret_cast<const std::uint16_t*>(p);
  return f16 ? V::load_f16(half).v : V::load_bf16(half).v;
}

/// 16 bits to 16 bytes: `value` where the bit is set.
inline uint8x16_t expand_bits(const std::uint8_t* p, std::uint8_t value) {
  const uint8x16_t bytes = vcombine_u8(vld1_dup_u8(p), vld1_dup_u8(p + 1));
  const uint8x16_t select = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201ULL));
  return vandq_u8(vtstq_u8(bytes, select), vdupq_n_u8(value));
}

/// A quarter of a vector of the unpacked quants, 4 rows × 4 columns: of the odd or even vector of a pair, which share
/// the bytes of their nibbles. The dot-product instruction multiplies signed bytes with signed ones, so the quants of 8
/// bits come less 128.
template <int Bits>
inline int8x16_t unpack(const std::uint8_t* quants, std::size_t group_size, std::size_t pair, std::size_t odd,
                        std::size_t quarter) {
  const std::size_t vector = pair * 2 + odd;
  if constexpr (Bits == 8) {
    return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(quants + vector * 64 + quarter * 16), vdupq_n_u8(128)));
  } else {
    const uint8x16_t nibbles = vld1q_u8(quants + pair * 64 + quarter * 16);
    uint8x16_t q = odd == 0 ? vandq_u8(nibbles, vdupq_n_u8(0x0F)) : vshrq_n_u8(nibbles, 4);
    for (int plane = 0; plane < Bits - 4; ++plane) {
      const std::uint8_t* bits = quants + group_size * 8 + static_cast<std::size_t>(plane) * group_size * 2;
      q = vorrq_u8(q, expand_bits(bits + vector * 8 + quarter * 2, static_cast<std::uint8_t>(16 << plane)));
    }
    return vreinterpretq_s8_u8(q);
  }
}

constexpr std::size_t kTile = 4;

#include "backend/cpu/kernels/affine_blocks.inl"

/// What the quants of 8 bits lack for being 128 less: 128 · Σ x over one group, of each of N tokens.
template <std::size_t N>
inline void missing_128(const std::int8_t* values, std::size_t group_size, std::int32_t (&missing)[N]) {
  const int8x8_t ones = vdup_n_s8(1);
  int32x2_t sum[N];  // of the high bytes, of the low ones
#pragma GCC unroll 8
  for (std::size_t t = 0; t < N; ++t) sum[t] = vdup_n_s32(0);
  for (std::size_t j = 0; j < group_size / 4; ++j) {
#pragma GCC unroll 8
    for (std::size_t t = 0; t < N; ++t) sum[t] = vdot_s32(sum[t], ones, vld1_s8(values + (j * N + t) * 8));
  }
#pragma GCC unroll 8
  for (std::size_t t = 0; t < N; ++t) missing[t] = 128 * (256 * vget_lane_s32(sum[t], 0) + vget_lane_s32(sum[t], 1));
}

/// One block of 16 rows against a tile of N tokens.
template <int Bits, std::size_t N>
inline void block_tokens(const PackedAffine& m, const std::uint8_t* block, std::size_t group_bytes, const Tile& x,
                         float* y, std::size_t y_stride, std::size_t rows) {
  constexpr std::size_t kQuarters = 4;             // vectors of four rows
  constexpr std::size_t kAtOnce = N <= 2 ? 4 : 2;  // so that at most 16 of 32 registers accumulate
  const std::size_t groups = m.cols / m.group_size;
  float32x4_t total[N][kQuarters];
#pragma GCC unroll 8
  for (std::size_t t = 0; t < N; ++t) {
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kQuarters; ++r) total[t][r] = vdupq_n_f32(0.0F);
  }
  for (std::size_t group = 0; group < groups; ++group, block += group_bytes) {
    const std::int8_t* values = x.values + group * m.group_size * 2 * N;
    std::int32_t missing[N] = {};
    if constexpr (Bits == 8) missing_128<N>(values, m.group_size, missing);
#pragma GCC unroll 2
    for (std::size_t first = 0; first < kQuarters; first += kAtOnce) {
      int32x4_t high[N][kAtOnce];
      int32x4_t low[N][kAtOnce];
#pragma GCC unroll 8
      for (std::size_t t = 0; t < N; ++t) {
#pragma GCC unroll 8
        for (std::size_t r = 0; r < kAtOnce; ++r) {
          high[t][r] = vdupq_n_s32(0);
          low[t][r] = vdupq_n_s32(missing[t]);
        }
      }
      for (std::size_t pair = 0; pair < m.group_size / 8; ++pair) {
#pragma GCC unroll 2
        for (std::size_t odd = 0; odd < 2; ++odd) {
          int8x16_t w[kAtOnce];
#pragma GCC unroll 8
          for (std::size_t r = 0; r < kAtOnce; ++r) w[r] = unpack<Bits>(block + 64, m.group_size, pair, odd, first + r);
#pragma GCC unroll 8
          for (std::size_t t = 0; t < N; ++t) {
            const int8x8_t word = vld1_s8(values + ((pair * 2 + odd) * N + t) * 8);
#pragma GCC unroll 8
            for (std::size_t r = 0; r < kAtOnce; ++r) {
              high[t][r] = vdotq_lane_s32(high[t][r], w[r], word, 0);
              low[t][r] = vdotq_lane_s32(low[t][r], w[r], word, 1);
            }
          }
        }
      }
#pragma GCC unroll 8
      for (std::size_t r = 0; r < kAtOnce; ++r) {
        const float32x4_t scale = load_scales(block + (first + r) * 8, m.f16_scales);
        const float32x4_t bias = load_scales(block + 32 + (first + r) * 8, m.f16_scales);
#pragma GCC unroll 8
        for (std::size_t t = 0; t < N; ++t) {
          const std::size_t at = group * N + t;
          const float32x4_t dot = vcvtq_f32_s32(vaddq_s32(vshlq_n_s32(high[t][r], 8), low[t][r]));
          float32x4_t& sum = total[t][first + r];
          sum = vfmaq_n_f32(sum, vmulq_f32(dot, scale), x.scales[at]);
          sum = vfmaq_n_f32(sum, bias, x.sums[at]);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (std::size_t t = 0; t < N; ++t) {
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kQuarters; ++r) {
      if (r * 4 < rows) store_part(V{total[t][r]}, y + t * y_stride + r * 4, rows - r * 4 < 4 ? rows - r * 4 : 4);
    }
  }
}

constexpr Kernels kNeon{"neon",      kTile,     kTile,         quantize_row, affine_matmul, nullptr,
                        gemm_nt,     gemm_nn,   delta_step,    solve_lower,  rms_norm,      l2_norm,
                        add,         scale,     axpby,         decay_scale,  silu_mul,      mul_silu,
                        mul_sigmoid, conv_silu, softmax_block, to_f16,       from_f16,      split_row};

}  // namespace

const Kernels* neon_kernels() { return &kNeon; }

}  // namespace qwen35::cpu

#else

namespace qwen35::cpu {
const Kernels* neon_kernels() { return nullptr; }
}  // namespace qwen35::cpu

#endif
