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
constexpr std::size_t kAhead = 1024;  // columns
constexpr std::size_t kTile = 6;      // tokens; × 4 rows: 24 of the 32 registers accumulate
constexpr std::size_t kFew = 8;

/// sum += two neighbouring products a lane. In place, see avx512.cpp.
inline void dot(__m512& sum, __m512i a, __m512i b) { asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b)); }

/// One step of 32 columns. x: N × (32 high, 32 low parts). Always inline, or the sums would leave the registers.
template <std::size_t N>
__attribute__((always_inline)) inline void step(const __m512i (&rows)[kRows], const std::uint16_t* x,
                                                __m512 (&sum)[kRows][N]) {
#pragma GCC unroll 8
  for (std::size_t t = 0; t < N; ++t) {
    const __m512i high = _mm512_loadu_si512(x + t * 2 * kSplitColumns);
    const __m512i low = _mm512_loadu_si512(x + t * 2 * kSplitColumns + kSplitColumns);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) dot(sum[r][t], rows[r], high);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) dot(sum[r][t], rows[r], low);
  }
}

/// Four rows against a tile of N tokens, the whole length of a row: every sum is one vector over the columns in order,
/// so that it does not depend on N. out: four floats a token. Ahead: the rows are read for the first time.
template <std::size_t N, bool Ahead>
inline void tile(const std::uint16_t* const (&w)[kRows], std::size_t cols, const std::uint16_t* x,
                 float (*out)[kRows]) {
  __m512 sum[kRows][N];
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (std::size_t t = 0; t < N; ++t) sum[r][t] = _mm512_setzero_ps();
  }
  __m512i rows[kRows];
  std::size_t c = 0;
  for (; c + kSplitColumns <= cols; c += kSplitColumns, x += N * 2 * kSplitColumns) {
    // Few tokens: read ahead past the caches' order (see avx512.cpp), within the rows or, near their end, in the next
    // four. No further, or the lines would be gone from the first-level cache, the only one they enter, before their
    // turn.
    const std::size_t ahead = c + kAhead + (c + kAhead < cols ? 0 : (kRows - 1) * cols);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) {
      rows[r] = _mm512_loadu_si512(w[r] + c);
      if constexpr (Ahead) _mm_prefetch(reinterpret_cast<const char*>(w[r] + ahead), _MM_HINT_NTA);
    }
    step<N>(rows, x, sum);
  }
  if (c < cols) {
    const __mmask32 mask = (1U << (cols - c)) - 1;
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) rows[r] = _mm512_maskz_loadu_epi16(mask, w[r] + c);
    step<N>(rows, x, sum);
  }
#pragma GCC unroll 8
  for (std::size_t t = 0; t < N; ++t) V::sum4({sum[0][t]}, {sum[1][t]}, {sum[2][t]}, {sum[3][t]}, out[t]);
}

template <std::size_t N, bool Ahead>
inline void narrow_tile(std::size_t tokens, const std::uint16_t* const (&w)[kRows], std::size_t cols,
                        const std::uint16_t* x, float (*out)[kRows]) {
  if (tokens == N) {
    tile<N, Ahead>(w, cols, x, out);
  } else if constexpr (N > 1) {
    narrow_tile<N - 1, Ahead>(tokens, w, cols, x, out);
  }
}

void bf16_matmul(const std::uint16_t* w, std::size_t cols, std::size_t row_begin, std::size_t row_end,
                 const SplitRows& x, const Output& y) {
  float out[kTile][kRows];
  const std::size_t row_values = (cols + kSplitColumns - 1) / kSplitColumns * 2 * kSplitColumns;
  const bool ahead = x.tokens <= kFew;  // the memory sets the pace
  // A strip of rows stays in the second-level cache while the tiles of tokens, in the first, go by.
  constexpr std::size_t kBlocks = 2;
  for (std::size_t strip = row_begin; strip < row_end; strip += kBlocks * kBlockRows) {
    float* blocks[kBlocks] = {};  // of the first token
    for (std::size_t b = 0; b < kBlocks && strip + b * kBlockRows < row_end; ++b)
      blocks[b] = place(y, strip + b * kBlockRows, 0);
    const std::size_t rows = row_end - strip < kBlocks * kBlockRows ? row_end - strip : kBlocks * kBlockRows;
    for (std::size_t t = 0; t < x.tokens; t += kTile) {
      const std::size_t n = x.tokens - t < kTile ? x.tokens - t : kTile;
      for (std::size_t row = 0; row < rows; row += kRows) {
        const std::size_t count = rows - row < kRows ? rows - row : kRows;
        const std::uint16_t* at[kRows];  // past the end: the last row again, its result dropped
        for (std::size_t r = 0; r < kRows; ++r) at[r] = w + (strip + row + (r < count ? r : count - 1)) * cols;
        const std::uint16_t* values = x.values + t * row_values;
        if (ahead && t == 0)
          narrow_tile<kTile, true>(n, at, cols, values, out);
        else
          narrow_tile<kTile, false>(n, at, cols, values, out);
        float* to = blocks[row / kBlockRows] + t * y.stride + row % kBlockRows;
        for (std::size_t i = 0; i < n; ++i, to += y.stride) {
          for (std::size_t r = 0; r < count; ++r) to[r] = out[i][r];
        }
      }
    }
  }
}

void split_row(const float* x, std::size_t n, std::size_t width, std::uint16_t* values) {
  for (std::size_t c = 0; c < n; c += kSplitColumns, values += 2 * kSplitColumns * width) {
#pragma GCC unroll 2
    for (std::size_t i = 0; i < kSplitColumns; i += 16) {
      const std::size_t left = c + i < n ? n - c - i : 0;
      const auto mask = static_cast<__mmask16>(left < 16 ? (1U << left) - 1 : 0xFFFFU);
      const __m512 v = _mm512_maskz_loadu_ps(mask, x + c + i);
      const auto high = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v));
      const __m512 rest = _mm512_sub_ps(v, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16)));
      const __mmask16 finite = _mm512_cmp_ps_mask(_mm512_abs_ps(rest), _mm512_set1_ps(3.4028235e38F), _CMP_LE_OQ);
      const auto low = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_maskz_mov_ps(finite, rest)));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(values + i), high);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(values + kSplitColumns + i), low);
    }
  }
}

/// The AVX-512 table with this file's kernels in it.
struct Table {
  Kernels kernels = *avx512_kernels();
  Table() {
    kernels.name = "avx512bf16";
    kernels.tile = kTile;
    kernels.bf16_matmul = bf16_matmul;
    kernels.split_row = split_row;
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
