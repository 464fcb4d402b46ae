// Kernels for AVX2 with FMA and F16C (Haswell, Zen and later). Compiled with those instructions; see kernels.h for
// shapes.

#include "backend/cpu/kernels/kernels.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <immintrin.h>

namespace qwen35::cpu {
namespace {

#include "backend/cpu/kernels/simd_avx2.inl"
// The order matters: the float kernels are written over V.
#include "backend/cpu/kernels/float_kernels.inl"

void quantize_row(const float* x, std::size_t n, std::size_t group_size, std::size_t width, std::int8_t* values,
                  float* scales, float* sums) {
  const __m256 limit = _mm256_set1_ps(3.4028235e38F);
  const __m256 sign = _mm256_set1_ps(-0.0F);
  for (std::size_t group = 0; group < n / group_size; ++group) {
    const float* in = x + group * group_size;
    const auto finite = [&](std::size_t i) {
      const __m256 v = _mm256_loadu_ps(in + i * 8);
      return _mm256_and_ps(v, _mm256_cmp_ps(_mm256_andnot_ps(sign, v), limit, _CMP_LE_OQ));
    };
    __m256 highest = _mm256_setzero_ps();
    for (std::size_t i = 0; i < group_size / 8; ++i)
      highest = _mm256_max_ps(highest, _mm256_andnot_ps(sign, finite(i)));
    const float top = V{highest}.highest();
    const float inverse = top > 0 ? static_cast<float>(kQuantLimit) / top : 0.0F;
    const __m256 factor = _mm256_set1_ps(inverse <= 3.4028235e38F ? inverse : 0.0F);
    __m256i sum = _mm256_setzero_si256();
    for (std::size_t i = 0; i < group_size / 8; ++i) {
      __m256i q = _mm256_cvtps_epi32(_mm256_mul_ps(finite(i), factor));
      q = _mm256_max_epi32(_mm256_min_epi32(q, _mm256_set1_epi32(kQuantLimit)), _mm256_set1_epi32(-kQuantLimit));
      sum = _mm256_add_epi32(sum, q);
      const __m256i high = _mm256_srai_epi32(_mm256_add_epi32(q, _mm256_set1_epi32(128)), 8);
      const __m256i low = _mm256_sub_epi32(q, _mm256_slli_epi32(high, 8));
      // Packing works within 128-bit lanes, so each lane's four high and four low bytes come out side by side.
      const __m256i words = _mm256_packs_epi32(high, low);
      const __m256i bytes = _mm256_packs_epi16(words, words);
      std::int8_t* out = values + (group * group_size + i * 8) * 2 * width;
      _mm_storel_epi64(reinterpret_cast<__m128i*>(out), _mm256_castsi256_si128(bytes));
      _mm_storel_epi64(reinterpret_cast<__m128i*>(out + 8 * width), _mm256_extracti128_si256(bytes, 1));
    }
    const __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    const __m128i quarter = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4E));
    const int whole = _mm_cvtsi128_si32(_mm_add_epi32(quarter, _mm_shuffle_epi32(quarter, 0xB1)));
    const float scale = top / static_cast<float>(kQuantLimit);
    scales[group * width] = scale;
    sums[group * width] = scale * static_cast<float>(whole);
  }
}

inline __m256 load_scales(const std::uint8_t* p, bool f16) {
  const auto* half = reinterpret_cast<const std::uint16_t*>(p);
  return f16 ? V::load_f16(half).v : V::load_bf16(half).v;
}

inline __m256i broadcast4(const std::int8_t* p) {
  int word;
  __builtin_memcpy(&word, p, 4);
  return _mm256_set1_epi32(word);
}

/// 32 bits to 32 bytes: `value` where the bit is set.
inline __m256i expand_bits(const std::uint8_t* p, __m256i value) {
  int word;
  __builtin_memcpy(&word, p, 4);
  const __m256i spread =
      _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
  const __m256i select = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ULL));
  const __m256i bytes = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(word), spread), select);
  return _mm256_and_si256(_mm256_cmpeq_epi8(bytes, select), value);
}

/// Half a vector (8 rows × 4 columns) of the unpacked quants: `vector` counts vectors of four columns in the group.
template <int Bits>
inline __m256i unpack(const std::uint8_t* quants, std::size_t group_size, std::size_t vector, std::size_t half) {
  if constexpr (Bits == 8) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(quants + vector * 64 + half * 32));
  } else {
    __m256i nibbles = _mm256_load_si256(reinterpret_cast<const __m256i*>(quants + vector / 2 * 64 + half * 32));
    if (vector % 2 != 0) nibbles = _mm256_srli_epi16(nibbles, 4);
    __m256i q = _mm256_and_si256(nibbles, _mm256_set1_epi8(0x0F));
    for (int plane = 0; plane < Bits - 4; ++plane) {
      const std::uint8_t* bits = quants + group_size * 8 + static_cast<std::size_t>(plane) * group_size * 2;
      q = _mm256_or_si256(q,
                          expand_bits(bits + vector * 8 + half * 4, _mm256_set1_epi8(static_cast<char>(16 << plane))));
    }
    return q;
  }
}

/// dot += Σ of four neighbouring products, w unsigned and x signed bytes. A product pair of 8-bit w may exceed 16 bits,
/// so those are split into nibbles: 2 · 15 · 128 fits.
template <int Bits>
inline __m256i dot4(__m256i dot, __m256i w, __m256i x) {
  const __m256i ones = _mm256_set1_epi16(1);
  if constexpr (Bits == 8) {
    const __m256i low = _mm256_set1_epi8(0x0F);
    const __m256i lo = _mm256_maddubs_epi16(_mm256_and_si256(w, low), x);
    const __m256i hi = _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(w, 4), low), x);
    dot = _mm256_add_epi32(dot, _mm256_madd_epi16(lo, ones));
    return _mm256_add_epi32(dot, _mm256_madd_epi16(hi, _mm256_set1_epi16(16)));
  } else {
    return _mm256_add_epi32(dot, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), ones));
  }
}

constexpr std::size_t kTile = 4;

#include "backend/cpu/kernels/affine_blocks.inl"

/// Half a block (8 rows) against N tokens.
template <int Bits, std::size_t N>
inline void half_block_tokens(const PackedAffine& m, const std::uint8_t* block, std::size_t group_bytes,
                              std::size_t half, const Tile& x, float (*out)[8]) {
  const std::size_t groups = m.cols / m.group_size;
  __m256 total[N];
#pragma GCC unroll 8
  for (std::size_t t = 0; t < N; ++t) total[t] = _mm256_setzero_ps();
  for (std::size_t group = 0; group < groups; ++group, block += group_bytes) {
    __m256i high[N];
    __m256i low[N];
#pragma GCC unroll 8
    for (std::size_t t = 0; t < N; ++t) high[t] = low[t] = _mm256_setzero_si256();
    const std::int8_t* values = x.values + group * m.group_size * 2 * N;
    for (std::size_t j = 0; j < m.group_size / 4; ++j) {
      const __m256i w = unpack<Bits>(block + 64, m.group_size, j, half);
#pragma GCC unroll 8
      for (std::size_t t = 0; t < N; ++t) {
        const std::int8_t* at = values + (j * N + t) * 8;
        high[t] = dot4<Bits>(high[t], w, broadcast4(at));
        low[t] = dot4<Bits>(low[t], w, broadcast4(at + 4));
      }
    }
    const __m256 scale = load_scales(block + half * 16, m.f16_scales);
    const __m256 bias = load_scales(block + 32 + half * 16, m.f16_scales);
#pragma GCC unroll 8
    for (std::size_t t = 0; t < N; ++t) {
      const std::size_t at = group * N + t;
      const __m256 dot = _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_slli_epi32(high[t], 8), low[t]));
      total[t] = _mm256_fmadd_ps(_mm256_mul_ps(dot, scale), _mm256_set1_ps(x.scales[at]), total[t]);
      total[t] = _mm256_fmadd_ps(bias, _mm256_set1_ps(x.sums[at]), total[t]);
    }
  }
#pragma GCC unroll 8
  for (std::size_t t = 0; t < N; ++t) _mm256_storeu_ps(out[t], total[t]);
}

template <int Bits, std::size_t N>
inline void block_tokens(const PackedAffine& m, const std::uint8_t* block, std::size_t group_bytes, const Tile& x,
                         float* y, std::size_t y_stride, std::size_t rows) {
  for (std::size_t half = 0; half * 8 < rows; ++half) {
    float out[N][8];
    half_block_tokens<Bits, N>(m, block, group_bytes, half, x, out);
    const std::size_t count = rows - half * 8 < 8 ? rows - half * 8 : 8;
#pragma GCC unroll 8
    for (std::size_t t = 0; t < N; ++t) {
      for (std::size_t row = 0; row < count; ++row) y[t * y_stride + half * 8 + row] = out[t][row];
    }
  }
}

constexpr Kernels kAvx2{"avx2",      kTile,     kTile,         quantize_row, affine_matmul, nullptr,
                        gemm_nt,     gemm_nn,   delta_step,    solve_lower,  rms_norm,      l2_norm,
                        add,         scale,     axpby,         decay_scale,  silu_mul,      mul_silu,
                        mul_sigmoid, conv_silu, softmax_block, to_f16,       from_f16,      split_row};

}  // namespace

const Kernels* avx2_kernels() { return &kAvx2; }

}  // namespace qwen35::cpu

#else

namespace qwen35::cpu {
const Kernels* avx2_kernels() { return nullptr; }
}  // namespace qwen35::cpu

#endif
