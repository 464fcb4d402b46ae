// The loops around a block of an affine product, the same for every instruction set. Included inside an anonymous
// namespace, after the including file has defined
//     block_tokens<Bits, N>(m, block, group_bytes, x, first, y, y_stride, rows)
// one block's first `rows` rows against tokens [first, first + N), and kTokens, the most tokens it takes at once.

template <int Bits>
void affine_matmul_bits(const PackedAffine& m, std::size_t block_begin, std::size_t block_end, const QuantizedRows& x,
                        float* y, std::size_t y_stride) {
  const std::size_t planes = Bits == 8 ? 0 : Bits - 4;
  const std::size_t group_bytes = 64 + m.group_size * (Bits == 8 ? 16 : 8) + planes * m.group_size * 2;
  const std::size_t block_bytes = group_bytes * (m.cols / m.group_size);
  for (std::size_t block = block_begin; block < block_end; ++block) {
    const std::uint8_t* data = m.data + block * block_bytes;
    const std::size_t left = m.rows - block * kBlockRows;
    const std::size_t rows = left < kBlockRows ? left : kBlockRows;
    float* out = y + block * kBlockRows;
    std::size_t t = 0;
    for (; t + kTokens <= x.tokens; t += kTokens) {
      block_tokens<Bits, kTokens>(m, data, group_bytes, x, t, out, y_stride, rows);
    }
    for (; t + 4 <= x.tokens; t += 4) block_tokens<Bits, 4>(m, data, group_bytes, x, t, out, y_stride, rows);
    for (; t < x.tokens; ++t) block_tokens<Bits, 1>(m, data, group_bytes, x, t, out, y_stride, rows);
  }
}

void affine_matmul(const PackedAffine& m, std::size_t block_begin, std::size_t block_end, const QuantizedRows& x,
                   float* y, std::size_t y_stride) {
  if (m.bits == 4)
    affine_matmul_bits<4>(m, block_begin, block_end, x, y, y_stride);
  else if (m.bits == 5)
    affine_matmul_bits<5>(m, block_begin, block_end, x, y, y_stride);
  else if (m.bits == 6)
    affine_matmul_bits<6>(m, block_begin, block_end, x, y, y_stride);
  else
    affine_matmul_bits<8>(m, block_begin, block_end, x, y, y_stride);
}
