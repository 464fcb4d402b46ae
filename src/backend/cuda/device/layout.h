#pragma once

// How weights, states, keys and values lie in the memory of a GPU. Everything is cut into the pieces that one warp of
// a tensor-core product mma.m16n8k16 takes as its "column" operand: 8 rows (weights' rows, keys, or dimensions of
// values) × 16 columns of the sum, four values a lane. Two pieces of 8 rows side by side are at the same time the "row"
// operand (16 × 16) of mma.m16n8k16 and of wgmma, so that decode (few tokens: weights as columns) and prefill (many:
// weights as rows) read one copy of the weights.

#include <cstddef>
#include <cstdint>

#if defined(__CUDACC__)
#define QWEN35_HD __host__ __device__
#else
#define QWEN35_HD
#endif

namespace qwen35::cuda {

// Weights. A matrix is a row of tiles of 8 rows; a tile is a row of units of 8 rows × 128 columns, all bytes of a unit
// in one place, so that a tile is one contiguous stream. Rows and columns past the matrix's own are zero.
//
// Lane l of a warp (0 to 31) has row l / 4 of the unit, and of each of its eight steps s of 16 columns the values
//     j = 0 … 3: column 16 s + 2 (l % 4) + (j & 1) + 8 (j >> 1)
// Pairs (j = 0, 1) and (j = 2, 3) are the two registers of the operand: pair p = 2 s + (j >> 1), 0 to 15.
//
// 16 bits (binary16): four pieces of 512 bytes; piece i has 16 bytes a lane: the pairs 4 i … 4 i + 3.
// 4 bits: 512 bytes, 16 a lane; word w has pairs 4 w … 4 w + 3: first value of pair 4 w + i in bits 4 i …, second in
//     bits 16 + 4 i ….
// 5 bits: the lower four as above; then 128 bytes, a word a lane: the fifth bit of pair p in bits p and 16 + p.
// 6 bits: likewise; then 256 bytes, two words a lane: the upper two bits of pair p in word p / 8, bits 2 (p % 8) … and
//     16 + 2 (p % 8) ….
// 8 bits: two pieces of 512 bytes; piece i has 16 bytes a lane; word w of it has step 4 i + w, byte j value j.
// After quantised values: for each row of the unit, for each of its 128 / group groups: scale and bias, binary16.
inline constexpr std::uint32_t kTileRows = 8;
inline constexpr std::uint32_t kUnitColumns = 128;
inline constexpr std::uint32_t kLanes = 32;

/// Bytes of the values of a unit at `bits` = 4, 5, 6, 8 or 16.
QWEN35_HD constexpr std::uint32_t value_bytes(std::uint32_t bits) { return kTileRows * kUnitColumns * bits / 8; }
/// Bytes of its scales and biases; none at 16 bits.
QWEN35_HD constexpr std::uint32_t scale_bytes(std::uint32_t bits, std::uint32_t group) {
  return bits == 16 ? 0 : kTileRows * (kUnitColumns / group) * 4;
}

/// A matrix in that form, as kernels take it: value = factor · (scale · q + bias), or factor · the binary16 value. The
/// factor is a power of two that keeps scales and values well inside binary16's range.
struct Matrix {
  const std::uint8_t* data = nullptr;  ///< tiles × units × unit_bytes
  std::uint32_t rows = 0;              ///< its own
  std::uint32_t columns = 0;
  std::uint32_t tiles = 0;       ///< ceil(rows / 8)
  std::uint32_t units = 0;       ///< of a tile: ceil(columns / 128)
  std::uint32_t unit_bytes = 0;  ///< a multiple of 16
  std::uint32_t bits = 16;       ///< 4, 5, 6, 8 or 16
  std::uint32_t group = 0;       ///< 32, 64 or 128; 0 at 16 bits
  float factor = 1;

  [[nodiscard]] QWEN35_HD constexpr std::size_t bytes() const { return std::size_t{tiles} * units * unit_bytes; }
};

/// The column of value j (0 to 3) of step s in a lane.
QWEN35_HD constexpr std::uint32_t column_of(std::uint32_t lane, std::uint32_t step, std::uint32_t j) {
  return 16 * step + 2 * (lane % 4) + (j & 1U) + 8 * (j >> 1U);
}

// The state of a conversation.
//
// S: linear layers × value heads × value_dim × key_dim floats (a column of the model page's S side by side).
// Ring: linear layers × kRingRows × row floats, row = conv channels, then b, then a of each value head: what went into
//     the recurrence. The token at position p is in row p % kRingRows. The last conv_kernel - 1 of them are what the
//     convolution remembers, and those of a verification pass are there to be played again.
// Pages of keys and values: kPageTokens positions; in each, full layer after full layer, KV head after KV head: keys,
//     then values, binary16, in pieces of 512 bytes (16 a lane, values in the order of a 16-bit unit's piece):
//         keys:   for each 8 positions, for each 32 dimensions: lane l has position l / 4
//         values: for each 32 positions, for each 8 dimensions: lane l has dimension l / 4, the pairs run along
//         positions
inline constexpr std::uint32_t kRingRows = 12;
inline constexpr std::uint32_t kPageTokens = 64;

/// Halves of one KV head's keys (or values) in a page.
QWEN35_HD constexpr std::uint32_t strip_halves(std::uint32_t head_dim) { return kPageTokens * head_dim; }
/// Halves before the keys (or, with `value`, the values) of a full layer's KV head in a page.
QWEN35_HD constexpr std::size_t strip_offset(std::uint32_t layer, std::uint32_t head, bool value,
                                             std::uint32_t kv_heads, std::uint32_t head_dim) {
  return ((std::size_t{layer} * kv_heads + head) * 2 + (value ? 1 : 0)) * strip_halves(head_dim);
}
/// Where in a piece of 8 × 32 (`row` < 8, `column` < 32) a half stands.
QWEN35_HD constexpr std::uint32_t piece_index(std::uint32_t row, std::uint32_t column) {
  const std::uint32_t in_step = column % 16;
  const std::uint32_t lane = 4 * row + in_step % 8 / 2;
  return 8 * lane + 4 * (column / 16) + 2 * (in_step / 8) + in_step % 2;
}
/// Halves from the strip's beginning to dimension `d` of the key at `position` % kPageTokens = `t`.
QWEN35_HD constexpr std::uint32_t key_index(std::uint32_t t, std::uint32_t d, std::uint32_t head_dim) {
  return (t / 8 * (head_dim / 32) + d / 32) * 256 + piece_index(t % 8, d % 32);
}
QWEN35_HD constexpr std::uint32_t value_index(std::uint32_t t, std::uint32_t d, std::uint32_t head_dim) {
  return (t / 32 * (head_dim / 8) + d / 8) * 256 + piece_index(d % 8, t % 32);
}

/// One state's share of a pass, as kernels take it.
struct SequenceView {
  const float* s_in = nullptr;  ///< S before the pass; nullptr: zeros (position 0)
  float* s_out = nullptr;       ///< S after it; may be s_in
  float* ring = nullptr;
  std::uint16_t* const* pages = nullptr;  ///< device memory: the page of positions [64 i, 64 i + 64)
  std::uint32_t position = 0;             ///< tokens before the pass
  std::uint32_t first = 0;                ///< the pass's row of its first token
  std::uint32_t count = 0;                ///< its tokens in the pass
};

}  // namespace qwen35::cuda
