// Kernels for AVX-512 with VNNI (Ice Lake, Zen 4 and later). Compiled with those instructions; see kernels.h for
// shapes.

#include "backend/cpu/kernels/kernels.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__) && \
    defined(__AVX512VNNI__)

#include <immintrin.h>

namespace qwen35::cpu {
namespace {

#include "backend/cpu/kernels/simd_avx512.inl"
// The order matters: the float kernels are written over V.
#include "backend/cpu/kernels/float_kernels.inl"

void quantize_row(const float* x, std::size_t n, std::size_t group_size, std::int8_t* values, float* scales,
                  float* sums) {
  const __m512 limit = _mm512_set1_ps(3.4028235e38F);
  for (std::size_t group = 0; group < n / group_size; ++group) {
    const float* in = x + group * group_size;
    // At most 128 values: eight vectors, kept in registers between the two steps.
    __m512 v[8];
    __m512 highest = _mm512_setzero_ps();
    for (std::size_t i = 0; i < group_size / 16; ++i) {
      const __m512 loaded = _mm512_loadu_ps(in + i * 16);
      const __mmask16 finite = _mm512_cmp_ps_mask(_mm512_abs_ps(loaded), limit, _CMP_LE_OQ);
      v[i] = _mm512_maskz_mov_ps(finite, loaded);
      highest = _mm512_max_ps(highest, _mm512_abs_ps(v[i]));
    }
    const float top = _mm512_reduce_max_ps(highest);
    const float inverse = top > 0 ? static_cast<float>(kQuantLimit) / top : 0.0F;
    const __m512 factor = _mm512_set1_ps(inverse <= 3.4028235e38F ? inverse : 0.0F);
    const __m512i bound = _mm512_set1_epi32(kQuantLimit);
    __m512i sum = _mm512_setzero_si512();
    for (std::size_t i = 0; i < group_size / 16; ++i) {
      __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(v[i], factor));
      q = _mm512_max_epi32(_mm512_min_epi32(q, bound), _mm512_sub_epi32(_mm512_setzero_si512(), bound));
      sum = _mm512_add_epi32(sum, q);
      const __m512i high = _mm512_srai_epi32(_mm512_add_epi32(q, _mm512_set1_epi32(128)), 8);
      const __m512i low = _mm512_sub_epi32(q, _mm512_slli_epi32(high, 8));
      // 16 bytes each, then words of four columns in turn: high, low, high, low …
      const __m128i h = _mm512_cvtepi32_epi8(high);
      const __m128i l = _mm512_cvtepi32_epi8(low);
      auto* out = reinterpret_cast<__m128i*>(values + (group * group_size + i * 16) * 2);
      _mm_storeu_si128(out, _mm_unpacklo_epi32(h, l));
      _mm_storeu_si128(out + 1, _mm_unpackhi_epi32(h, l));
    }
    scales[group] = top / static_cast<float>(kQuantLimit);
    sums[group] = scales[group] * static_cast<float>(_mm512_reduce_add_epi32(sum));
  }
}

inline __m512 load_scales(const std::uint8_t* p, bool f16) {
  const auto* half = reinterpret_cast<const std::uint16_t*>(p);
  return f16 ? V::load_f16(half).v : V::load_bf16(half).v;
}

inline __m512i broadcast4(const std::int8_t* p) {
  int word;
  __builtin_memcpy(&word, p, 4);
  return _mm512_set1_epi32(word);
}

/// Unpacks 32 columns of a group: eight vectors of 16 rows × 4 columns. `part` counts 32-column parts of the group.
template <int Bits>
inline void unpack(const std::uint8_t* quants, std::size_t group_size, std::size_t part, __m512i (&w)[8]) {
  if constexpr (Bits == 8) {
#pragma GCC unroll 8
    for (std::size_t j = 0; j < 8; ++j) w[j] = _mm512_load_si512(quants + (part * 8 + j) * 64);
  } else {
    const __m512i low = _mm512_set1_epi8(0x0F);
#pragma GCC unroll 8
    for (std::size_t j = 0; j < 4; ++j) {
      const __m512i nibbles = _mm512_load_si512(quants + (part * 4 + j) * 64);
      w[2 * j] = _mm512_and_si512(nibbles, low);
      w[2 * j + 1] = _mm512_and_si512(_mm512_srli_epi16(nibbles, 4), low);
    }
    for (int plane = 0; plane < Bits - 4; ++plane) {
      const __m512i value = _mm512_set1_epi8(static_cast<char>(16 << plane));
      const std::uint8_t* bits = quants + group_size * 8 + static_cast<std::size_t>(plane) * group_size * 2 + part * 64;
#pragma GCC unroll 8
      for (std::size_t j = 0; j < 8; ++j) {
        std::uint64_t mask;
        __builtin_memcpy(&mask, bits + j * 8, 8);
        w[j] = _mm512_mask_add_epi8(w[j], mask, w[j], value);
      }
    }
  }
}

/// One block of 16 rows against N tokens.
template <int Bits, std::size_t N>
inline void block_tokens(const PackedAffine& m, const std::uint8_t* block, std::size_t group_bytes,
                         const QuantizedRows& x, std::size_t first, float* y, std::size_t y_stride, std::size_t rows) {
  const std::size_t groups = m.cols / m.group_size;
  __m512 total[N];
#pragma GCC unroll 8
  for (std::size_t t = 0; t < N; ++t) total[t] = _mm512_setzero_ps();
  for (std::size_t group = 0; group < groups; ++group, block += group_bytes) {
    __m512i high[N];
    __m512i low[N];
#pragma GCC unroll 8
    for (std::size_t t = 0; t < N; ++t) high[t] = low[t] = _mm512_setzero_si512();
    for (std::size_t part = 0; part < m.group_size / 32; ++part) {
      __m512i w[8];
      unpack<Bits>(block + 64, m.group_size, part, w);
      const std::int8_t* values = x.values + (first * m.cols + group * m.group_size + part * 32) * 2;
#pragma GCC unroll 8
      for (std::size_t j = 0; j < 8; ++j) {
#pragma GCC unroll 8
        for (std::size_t t = 0; t < N; ++t) {
          const std::int8_t* at = values + t * m.cols * 2 + j * 8;
          high[t] = _mm512_dpbusd_epi32(high[t], w[j], broadcast4(at));
          low[t] = _mm512_dpbusd_epi32(low[t], w[j], broadcast4(at + 4));
        }
      }
    }
    const __m512 scale = load_scales(block, m.f16_scales);
    const __m512 bias = load_scales(block + 32, m.f16_scales);
#pragma GCC unroll 8
    for (std::size_t t = 0; t < N; ++t) {
      const std::size_t at = (first + t) * groups + group;
      const __m512 dot = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(high[t], 8), low[t]));
      total[t] = _mm512_fmadd_ps(_mm512_mul_ps(dot, scale), _mm512_set1_ps(x.scales[at]), total[t]);
      total[t] = _mm512_fmadd_ps(bias, _mm512_set1_ps(x.sums[at]), total[t]);
    }
  }
  const auto mask = static_cast<__mmask16>((1U << rows) - 1);
#pragma GCC unroll 8
  for (std::size_t t = 0; t < N; ++t) _mm512_mask_storeu_ps(y + (first + t) * y_stride, mask, total[t]);
}

constexpr std::size_t kTokens = 8;

#include "backend/cpu/kernels/affine_blocks.inl"

constexpr Kernels kAvx512{"avx512", quantize_row, affine_matmul, gemm_nt,       gemm_nn, delta_step,  solve_lower,
                          rms_norm, l2_norm,      add,           scale,         axpby,   decay_scale, silu_mul,
                          mul_silu, mul_sigmoid,  conv_silu,     softmax_block, to_f16,  from_f16};

}  // namespace

const Kernels* avx512_kernels() { return &kAvx512; }

}  // namespace qwen35::cpu

#else

namespace qwen35::cpu {
const Kernels* avx512_kernels() { return nullptr; }
}  // namespace qwen35::cpu

#endif
