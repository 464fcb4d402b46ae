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

/// Two words of eight bytes, `width` words apart.
inline void store_words(__m128i words, std::int8_t* out, std::size_t width) {
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out), words);
  _mm_storeh_pd(reinterpret_cast<double*>(out + 8 * width), _mm_castsi128_pd(words));
}

void quantize_row(const float* x, std::size_t n, std::size_t group_size, std::size_t width, std::int8_t* values,
                  float* scales, float* sums) {
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
      std::int8_t* out = values + (group * group_size + i * 16) * 2 * width;
      const __m128i first = _mm_unpacklo_epi32(h, l);
      const __m128i second = _mm_unpackhi_epi32(h, l);
      store_words(first, out, width);
      store_words(second, out + 16 * width, width);
    }
    const float scale = top / static_cast<float>(kQuantLimit);
    scales[group * width] = scale;
    sums[group * width] = scale * static_cast<float>(_mm512_reduce_add_epi32(sum));
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

#include "backend/cpu/kernels/affine_common.inl"

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

/// total + (scale · dot) · x_scale + bias · x_sum: the order that every path keeps, so that results do not depend on
/// it.
inline __m512 fold(__m512 total, __m512i high, __m512i low, __m512 scale, __m512 bias, float x_scale, float x_sum) {
  const __m512 dot = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(high, 8), low));
  total = _mm512_fmadd_ps(_mm512_mul_ps(dot, scale), _mm512_set1_ps(x_scale), total);
  return _mm512_fmadd_ps(bias, _mm512_set1_ps(x_sum), total);
}

inline __mmask16 first_rows(std::size_t rows) {
  return static_cast<__mmask16>(rows >= kBlockRows ? 0xFFFFU : (1U << rows) - 1);
}

// --- one token: the weights go by once, at the speed of the memory ---------------------------------------------------

/// How far ahead the weights are asked for, in bytes: about 400 ns of one thread's reading.
constexpr std::size_t kAhead = 8192;

template <int Bits>
void matvec(const PackedAffine& m, std::size_t block_begin, std::size_t block_end, const QuantizedRows& x,
            const Output& y) {
  const std::size_t groups = m.cols / m.group_size;
  const std::size_t bytes = group_bytes<Bits>(m.group_size);
  const std::uint8_t* at = m.data + block_begin * groups * bytes;
  for (std::size_t block = block_begin; block < block_end; ++block) {
    __m512 total = _mm512_setzero_ps();
    for (std::size_t group = 0; group < groups; ++group, at += bytes) {
      __m512i high[2];
      __m512i low[2];  // two of each, or their latency would be what we wait for
      high[0] = high[1] = low[0] = low[1] = _mm512_setzero_si512();
      const std::int8_t* values = x.values + group * m.group_size * 2;
      // Read once a token: past the caches' order, so that the recurrent state, which is read again, stays in them.
      for (std::size_t i = 0; i < bytes; i += 64)
        _mm_prefetch(reinterpret_cast<const char*>(at + kAhead + i), _MM_HINT_NTA);
      for (std::size_t part = 0; part < m.group_size / 32; ++part, values += 64) {
        __m512i w[8];
        unpack<Bits>(at + 64, m.group_size, part, w);
#pragma GCC unroll 8
        for (std::size_t j = 0; j < 8; ++j) {
          high[j % 2] = _mm512_dpbusd_epi32(high[j % 2], w[j], broadcast4(values + j * 8));
          low[j % 2] = _mm512_dpbusd_epi32(low[j % 2], w[j], broadcast4(values + j * 8 + 4));
        }
      }
      total = fold(total, _mm512_add_epi32(high[0], high[1]), _mm512_add_epi32(low[0], low[1]),
                   load_scales(at, m.f16_scales), load_scales(at + 32, m.f16_scales), x.scales[group], x.sums[group]);
    }
    _mm512_mask_storeu_ps(place(y, block * kBlockRows, 0), first_rows(m.rows - block * kBlockRows), total);
  }
}

// --- few tokens: the weights go by once all the same, and meet every token while they are in registers ---------------

/// sum += four neighbouring products a lane, in place: as an intrinsic GCC 12 gives each step a fresh register and,
/// with many sums alive, spills them.
inline void dot(__m512i& sum, __m512i weights, __m512i x) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(weights), "v"(x));
}

/// The same with four values of x for all lanes.
inline void dot(__m512i& sum, __m512i weights, const std::int8_t* x) {
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(weights), "m"(*reinterpret_cast<const int(*)[1]>(x)));
}

constexpr std::size_t kFew = 8;

/// The two vectors of columns 8j .. 8j + 7 of a group.
template <int Bits>
inline void unpack_pair(const std::uint8_t* quants, std::size_t group_size, std::size_t j, __m512i (&w)[2]) {
  if constexpr (Bits == 8) {
    w[0] = _mm512_load_si512(quants + j * 128);
    w[1] = _mm512_load_si512(quants + j * 128 + 64);
  } else {
    const __m512i low = _mm512_set1_epi8(0x0F);
    const __m512i nibbles = _mm512_load_si512(quants + j * 64);
    w[0] = _mm512_and_si512(nibbles, low);
    w[1] = _mm512_and_si512(_mm512_srli_epi16(nibbles, 4), low);
    for (int plane = 0; plane < Bits - 4; ++plane) {
      const __m512i value = _mm512_set1_epi8(static_cast<char>(16 << plane));
      const std::uint8_t* bits = quants + group_size * 8 + static_cast<std::size_t>(plane) * group_size * 2 + j * 16;
      std::uint64_t masks[2];
      __builtin_memcpy(masks, bits, 16);
      w[0] = _mm512_mask_add_epi8(w[0], masks[0], w[0], value);
      w[1] = _mm512_mask_add_epi8(w[1], masks[1], w[1], value);
    }
  }
}

/// N tokens, 2 <= N <= kFew, in one tile. Up to four tokens have two sums each of high and low, or their latency would
/// be what we wait for; integers add up to the same in any order.
template <int Bits, std::size_t N>
void few_tokens(const PackedAffine& m, std::size_t block_begin, std::size_t block_end, const QuantizedRows& x,
                const Output& y) {
  constexpr std::size_t kSums = N <= 4 ? 2 : 1;
  const std::size_t groups = m.cols / m.group_size;
  const std::size_t bytes = group_bytes<Bits>(m.group_size);
  const std::uint8_t* at = m.data + block_begin * groups * bytes;
  for (std::size_t block = block_begin; block < block_end; ++block) {
    __m512 total[N];
#pragma GCC unroll 8
    for (std::size_t t = 0; t < N; ++t) total[t] = _mm512_setzero_ps();
    const std::int8_t* values = x.values;
    for (std::size_t group = 0; group < groups; ++group, at += bytes) {
      __m512i high[kSums][N];
      __m512i low[kSums][N];
#pragma GCC unroll 8
      for (std::size_t t = 0; t < N; ++t) {
#pragma GCC unroll 2
        for (std::size_t i = 0; i < kSums; ++i) high[i][t] = low[i][t] = _mm512_setzero_si512();
      }
      for (std::size_t i = 0; i < bytes; i += 64)
        _mm_prefetch(reinterpret_cast<const char*>(at + kAhead + i), _MM_HINT_NTA);
      for (std::size_t j = 0; j < m.group_size / 8; ++j, values += 2 * N * 8) {
        __m512i w[2];
        unpack_pair<Bits>(at + 64, m.group_size, j, w);
#pragma GCC unroll 2
        for (std::size_t i = 0; i < 2; ++i) {
#pragma GCC unroll 8
          for (std::size_t t = 0; t < N; ++t) {
            dot(high[i % kSums][t], w[i], values + (i * N + t) * 8);
            dot(low[i % kSums][t], w[i], values + (i * N + t) * 8 + 4);
          }
        }
      }
      const __m512 scale = load_scales(at, m.f16_scales);
      const __m512 bias = load_scales(at + 32, m.f16_scales);
#pragma GCC unroll 8
      for (std::size_t t = 0; t < N; ++t) {
        if constexpr (kSums == 2) {
          high[0][t] = _mm512_add_epi32(high[0][t], high[1][t]);
          low[0][t] = _mm512_add_epi32(low[0][t], low[1][t]);
        }
        total[t] = fold(total[t], high[0][t], low[0][t], scale, bias, x.scales[group * N + t], x.sums[group * N + t]);
      }
    }
#pragma GCC unroll 8
    for (std::size_t t = 0; t < N; ++t)
      _mm512_mask_storeu_ps(place(y, block * kBlockRows, t), first_rows(m.rows - block * kBlockRows), total[t]);
  }
}

/// few_tokens for x.tokens <= N.
template <int Bits, std::size_t N>
void narrow_few_tokens(const PackedAffine& m, std::size_t block_begin, std::size_t block_end, const QuantizedRows& x,
                       const Output& y) {
  if (x.tokens == N) {
    few_tokens<Bits, N>(m, block_begin, block_end, x, y);
  } else if constexpr (N > 2) {
    narrow_few_tokens<Bits, N - 1>(m, block_begin, block_end, x, y);
  }
}

// --- many tokens: two blocks of rows against tiles of tokens, at the speed of the dot products -----------------------

constexpr std::size_t kTile = 6;         // × 2 blocks × high and low: 24 of the 32 registers accumulate
constexpr std::size_t kChunkTiles = 24;  // tiles whose totals stay in the first-level cache beside the unpacked group

/// One group of two blocks of rows, unpacked.
struct Group {
  const std::uint8_t* quants[2];  ///< vectors of four columns
  alignas(64) std::uint8_t unpacked[2][128 / 4][64];
  __m512 scale[2];
  __m512 bias[2];
};

template <int Bits>
inline void unpack_group(const std::uint8_t* const (&at)[2], std::size_t group_size, bool f16, Group& out) {
#pragma GCC unroll 2
  for (std::size_t block = 0; block < 2; ++block) {
    out.scale[block] = load_scales(at[block], f16);
    out.bias[block] = load_scales(at[block] + 32, f16);
    out.quants[block] = Bits == 8 ? at[block] + 64 : out.unpacked[block][0];
    if constexpr (Bits == 8) continue;  // stored as they are used
    for (std::size_t part = 0; part < group_size / 32; ++part) {
      __m512i w[8];
      unpack<Bits>(at[block] + 64, group_size, part, w);
#pragma GCC unroll 8
      for (std::size_t j = 0; j < 8; ++j) _mm512_store_si512(out.unpacked[block][part * 8 + j], w[j]);
    }
  }
}

/// Adds one group's share to the totals of two blocks × N tokens. values: group_size / 4 × N × 8 bytes.
template <std::size_t N>
inline void tile_group(const Group& w, std::size_t group_size, const std::int8_t* values, const float* scales,
                       const float* sums, float (*totals)[2][kBlockRows]) {
  __m512i high[2][N];
  __m512i low[2][N];
#pragma GCC unroll 8
  for (std::size_t t = 0; t < N; ++t) high[0][t] = high[1][t] = low[0][t] = low[1][t] = _mm512_setzero_si512();
  for (std::size_t j = 0; j < group_size / 4; ++j, values += N * 8) {
    const __m512i first = _mm512_load_si512(w.quants[0] + j * 64);
    const __m512i second = _mm512_load_si512(w.quants[1] + j * 64);
#pragma GCC unroll 8
    for (std::size_t t = 0; t < N; ++t) {
      const __m512i x_high = broadcast4(values + t * 8);
      const __m512i x_low = broadcast4(values + t * 8 + 4);
      dot(high[0][t], first, x_high);
      dot(high[1][t], second, x_high);
      dot(low[0][t], first, x_low);
      dot(low[1][t], second, x_low);
    }
  }
#pragma GCC unroll 8
  for (std::size_t t = 0; t < N; ++t) {
#pragma GCC unroll 2
    for (std::size_t b = 0; b < 2; ++b) {
      const __m512 total = _mm512_load_ps(totals[t][b]);
      _mm512_store_ps(totals[t][b], fold(total, high[b][t], low[b][t], w.scale[b], w.bias[b], scales[t], sums[t]));
    }
  }
}

/// tile_group for a tile of `tokens` <= N.
template <std::size_t N>
inline void narrow_tile_group(const Group& w, std::size_t group_size, std::size_t tokens, const std::int8_t* values,
                              const float* scales, const float* sums, float (*totals)[2][kBlockRows]) {
  if (tokens == N) {
    tile_group<N>(w, group_size, values, scales, sums, totals);
  } else if constexpr (N > 1) {
    narrow_tile_group<N - 1>(w, group_size, tokens, values, scales, sums, totals);
  }
}

template <int Bits>
void matmul(const PackedAffine& m, std::size_t block_begin, std::size_t block_end, const QuantizedRows& x,
            const Output& y) {
  const std::size_t groups = m.cols / m.group_size;
  const std::size_t bytes = group_bytes<Bits>(m.group_size);
  constexpr std::size_t kChunkTokens = kChunkTiles * kTile;
  Group group_weights;
  alignas(64) float totals[kChunkTokens][2][kBlockRows];
  for (std::size_t block = block_begin; block < block_end; block += 2) {
    const bool pair = block + 1 < block_end;  // a last single block is computed twice and stored once
    const std::uint8_t* first_block = m.data + block * groups * bytes;
    const std::uint8_t* second_block = pair ? first_block + groups * bytes : first_block;
    for (std::size_t begin = 0; begin < x.tokens; begin += kChunkTokens) {
      const std::size_t count = x.tokens - begin < kChunkTokens ? x.tokens - begin : kChunkTokens;
      __builtin_memset(totals, 0, count * sizeof(totals[0]));
      float* outs[2] = {place(y, block * kBlockRows, begin),
                        pair ? place(y, (block + 1) * kBlockRows, begin) : nullptr};
      // The results' lines are far apart: ask for them before they are needed.
      for (std::size_t t = 0; t < count; ++t) {
        __builtin_prefetch(outs[0] + t * y.stride, 1);
        if (pair) __builtin_prefetch(outs[1] + t * y.stride, 1);
      }
      for (std::size_t group = 0; group < groups; ++group) {
        const std::uint8_t* const at[2] = {first_block + group * bytes, second_block + group * bytes};
        unpack_group<Bits>(at, m.group_size, m.f16_scales, group_weights);
        for (std::size_t i = 0; i < bytes; i += 64) {
          __builtin_prefetch(at[0] + bytes + i);
          __builtin_prefetch(at[1] + bytes + i);
        }
        for (std::size_t t = 0; t < count; t += kTile) {
          const std::size_t n = count - t < kTile ? count - t : kTile;
          const std::size_t tile = begin + t;
          const std::int8_t* values = x.values + tile * m.cols * 2 + group * m.group_size * 2 * n;
          // The next tile's share of this group: too short a stretch for the hardware to foresee.
          const std::int8_t* next = values + kTile * m.cols * 2;
          for (std::size_t i = 0; i < m.group_size * 2 * kTile; i += 64) __builtin_prefetch(next + i);
          const float* scales = x.scales + tile * groups + group * n;
          const float* sums = x.sums + tile * groups + group * n;
          narrow_tile_group<kTile>(group_weights, m.group_size, n, values, scales, sums, totals + t);
        }
      }
      const __mmask16 rows[2] = {first_rows(m.rows - block * kBlockRows),
                                 first_rows(pair ? m.rows - (block + 1) * kBlockRows : 0)};
      for (std::size_t t = 0; t < count; ++t) {
        _mm512_mask_storeu_ps(outs[0] + t * y.stride, rows[0], _mm512_load_ps(totals[t][0]));
        if (pair) _mm512_mask_storeu_ps(outs[1] + t * y.stride, rows[1], _mm512_load_ps(totals[t][1]));
      }
    }
  }
}

template <int Bits>
void affine_matmul_bits(const PackedAffine& m, std::size_t block_begin, std::size_t block_end, const QuantizedRows& x,
                        const Output& y) {
  if (x.tokens == 1)
    matvec<Bits>(m, block_begin, block_end, x, y);
  else if (x.tokens <= kFew)
    narrow_few_tokens<Bits, kFew>(m, block_begin, block_end, x, y);
  else
    matmul<Bits>(m, block_begin, block_end, x, y);
}

constexpr Kernels kAvx512{"avx512",    kTile,     kFew,          quantize_row, affine_matmul, nullptr,
                          gemm_nt,     gemm_nn,   delta_step,    solve_lower,  rms_norm,      l2_norm,
                          add,         scale,     axpby,         decay_scale,  silu_mul,      mul_silu,
                          mul_sigmoid, conv_silu, softmax_block, to_f16,       from_f16,      split_row};

}  // namespace

const Kernels* avx512_kernels() { return &kAvx512; }

}  // namespace qwen35::cpu

#else

namespace qwen35::cpu {
const Kernels* avx512_kernels() { return nullptr; }
}  // namespace qwen35::cpu

#endif
