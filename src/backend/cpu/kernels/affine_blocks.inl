// The loops around a block of an affine product. Included inside an anonymous namespace by an instruction set's file,
// which defines kTile, the most tokens it takes at once, and block_tokens.

#include "backend/cpu/kernels/affine_common.inl"

/// One tile of QuantizedRows.
struct Tile {
  const std::int8_t* values;
  const float* scales;
  const float* sums;
};

inline Tile tile_at(const PackedAffine& m, const QuantizedRows& x, std::size_t first) {
  const std::size_t groups = m.cols / m.group_size;
  return {x.values + first * m.cols * 2, x.scales + first * groups, x.sums + first * groups};
}

/// One block's first `rows` rows against a tile of N tokens.
template <int Bits, std::size_t N>
inline void block_tokens(const PackedAffine& m, const std::uint8_t* block, std::size_t group_bytes, const Tile& x,
                         float* y, std::size_t y_stride, std::size_t rows);

template <int Bits, std::size_t N>
void tile_tokens(const PackedAffine& m, const std::uint8_t* block, std::size_t group_bytes, const Tile& x,
                 std::size_t tokens, float* y, std::size_t y_stride, std::size_t rows) {
  if (tokens == N) {
    block_tokens<Bits, N>(m, block, group_bytes, x, y, y_stride, rows);
  } else if constexpr (N > 1) {
    tile_tokens<Bits, N - 1>(m, block, group_bytes, x, tokens, y, y_stride, rows);
  }
}

template <int Bits>
void affine_matmul_bits(const PackedAffine& m, std::size_t block_begin, std::size_t block_end, const QuantizedRows& x,
                        const Output& y) {
  const std::size_t bytes = group_bytes<Bits>(m.group_size);
  for (std::size_t block = block_begin; block < block_end; ++block) {
    const std::uint8_t* data = m.data + block * bytes * (m.cols / m.group_size);
    const std::size_t left = m.rows - block * kBlockRows;
    const std::size_t rows = left < kBlockRows ? left : kBlockRows;
    for (std::size_t t = 0; t < x.tokens; t += x.width) {
      const std::size_t tokens = x.tokens - t < x.width ? x.tokens - t : x.width;
      tile_tokens<Bits, kTile>(m, data, bytes, tile_at(m, x, t), tokens, place(y, block * kBlockRows, t), y.stride,
                               rows);
    }
  }
}
