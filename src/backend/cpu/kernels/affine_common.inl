// What every instruction set's affine product begins with. Included inside an anonymous namespace.

#include "backend/cpu/kernels/output.inl"

/// Bytes of one group of one block (kernels.h).
template <int Bits>
constexpr std::size_t group_bytes(std::size_t group_size) {
  return 64 + group_size * (Bits == 8 ? 16 : 8 + 2 * (Bits - 4));
}

/// Blocks [block_begin, block_end) against all tokens; each instruction set has its own.
template <int Bits>
void affine_matmul_bits(const PackedAffine& m, std::size_t block_begin, std::size_t block_end, const QuantizedRows& x,
                        const Output& y);

void affine_matmul(const PackedAffine& m, std::size_t block_begin, std::size_t block_end, const QuantizedRows& x,
                   const Output& y) {
  if (m.bits == 4)
    affine_matmul_bits<4>(m, block_begin, block_end, x, y);
  else if (m.bits == 5)
    affine_matmul_bits<5>(m, block_begin, block_end, x, y);
  else if (m.bits == 6)
    affine_matmul_bits<6>(m, block_begin, block_end, x, y);
  else
    affine_matmul_bits<8>(m, block_begin, block_end, x, y);
}
