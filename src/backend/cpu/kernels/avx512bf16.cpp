// AVX-512 with bfloat16 dot products (Zen 4, Cooper Lake, Sapphire Rapids and later): the AVX-512 kernels, and dense
// bf16 weights against bf16 activations.

#include "backend/cpu/kernels/kernels.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__) && \
    defined(__AVX512BF16__)

#include <immintrin.h>

namespace qwen35::cpu {
namespace {

#include "backend/cpu/kernels/output.inl"
#include "backend/cpu/kernels/simd_avx512.inl"

constexpr std::size_t kRows = 4;
constexpr std::size_t kTokens = 6;  // × 4 rows: 24 of the 32 registers accumulate
constexpr std::size_t kStep = 32;   // columns of a vector

/// sum += two neighbouring products a lane. In place, see avx512.cpp.
inline void dot(__m512& sum, __m512i a, __m512i b) { asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b)); }

/// Four rows against N tokens, the whole length of a row: every sum is one vector over the columns in order, so that it
/// does not depend on N. out: four floats a token, out_stride apart.
template <std::size_t N>
inline void tile(const std::uint16_t* const (&w)[kRows], std::size_t cols, const std::uint16_t* x,
                 float (*out)[kRows]) {
  __m512 sum[kRows][N];
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (std::size_t t = 0; t < N; ++t) sum[r][t] = _mm512_setzero_ps();
  }
  const auto step = [&](std::size_t c, __mmask32 mask) {
    __m512i rows[kRows];
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) rows[r] = _mm512_maskz_loadu_epi16(mask, w[r] + c);
#pragma GCC unroll 8
    for (std::size_t t = 0; t < N; ++t) {
      const __m512i high = _mm512_maskz_loadu_epi16(mask, x + t * 2 * cols + c);
      const __m512i low = _mm512_maskz_loadu_epi16(mask, x + t * 2 * cols + cols + c);
#pragma GCC unroll 8
      for (std::size_t r = 0; r < kRows; ++r) dot(sum[r][t], rows[r], high);
#pragma GCC unroll 8
      for (std::size_t r = 0; r < kRows; ++r) dot(sum[r][t], rows[r], low);
    }
  };
  std::size_t c = 0;
  for (; c + kStep <= cols; c += kStep) step(c, 0xFFFFFFFFU);
  if (c < cols) step(c, (1U << (cols - c)) - 1);
#pragma GCC unroll 8
  for (std::size_t t = 0; t < N; ++t) V::sum4({sum[0][t]}, {sum[1][t]}, {sum[2][t]}, {sum[3][t]}, out[t]);
}

template <std::size_t N>
inline void narrow_tile(std::size_t tokens, const std::uint16_t* const (&w)[kRows], std::size_t cols,
                        const std::uint16_t* x, float (*out)[kRows]) {
  if (tokens == N) {
    tile<N>(w, cols, x, out);
  } else if constexpr (N > 1) {
    narrow_tile<N - 1>(tokens, w, cols, x, out);
  }
}

void bf16_matmul(const std::uint16_t* w, std::size_t cols, std::size_t row_begin, std::size_t row_end,
                 const std::uint16_t* x, std::size_t tokens, const Output& y) {
  float out[kTokens][kRows];
  // A strip of rows stays in the second-level cache while the tiles of tokens, in the first, go by.
  constexpr std::size_t kStrip = 2 * kBlockRows;
  for (std::size_t strip = row_begin; strip < row_end; strip += kStrip) {
    const std::size_t strip_end = strip + kStrip < row_end ? strip + kStrip : row_end;
    for (std::size_t t = 0; t < tokens; t += kTokens) {
      const std::size_t n = tokens - t < kTokens ? tokens - t : kTokens;
      for (std::size_t row = strip; row < strip_end; row += kRows) {
        const std::size_t rows = strip_end - row < kRows ? strip_end - row : kRows;
        const std::uint16_t* at[kRows];  // past the end: the last row again, its result dropped
        for (std::size_t r = 0; r < kRows; ++r) at[r] = w + (row + (r < rows ? r : rows - 1)) * cols;
        narrow_tile<kTokens>(n, at, cols, x + t * 2 * cols, out);
        const std::size_t block = row / kBlockRows * kBlockRows;
        for (std::size_t i = 0; i < n; ++i) {
          float* to = place(y, block, t + i) + row % kBlockRows;
          for (std::size_t r = 0; r < rows; ++r) to[r] = out[i][r];
        }
      }
    }
  }
}

void split_bf16(const float* x, std::uint16_t* high, std::uint16_t* low, std::size_t n) {
  for (std::size_t i = 0; i < n; i += 16) {
    const auto mask = static_cast<__mmask16>(n - i < 16 ? (1U << (n - i)) - 1 : 0xFFFFU);
    const __m512 v = _mm512_maskz_loadu_ps(mask, x + i);
    const auto first = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v));
    const __m512 rest = _mm512_sub_ps(v, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(first), 16)));
    const __mmask16 finite = _mm512_cmp_ps_mask(_mm512_abs_ps(rest), _mm512_set1_ps(3.4028235e38F), _CMP_LE_OQ);
    const auto second = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_maskz_mov_ps(finite, rest)));
    _mm256_mask_storeu_epi16(high + i, mask, first);
    _mm256_mask_storeu_epi16(low + i, mask, second);
  }
}

/// The AVX-512 table with this file's kernels in it.
struct Table {
  Kernels kernels = *avx512_kernels();
  Table() {
    kernels.name = "avx512bf16";
    kernels.bf16_matmul = bf16_matmul;
    kernels.split_bf16 = split_bf16;
  }
};

}  // namespace

const Kernels* avx512bf16_kernels() {
  if (avx512_kernels() == nullptr) return nullptr;
  static const Table table;
  return &table.kernels;
}

}  // namespace qwen35::cpu

#else

namespace qwen35::cpu {
const Kernels* avx512bf16_kernels() { return nullptr; }
}  // namespace qwen35::cpu

#endif
