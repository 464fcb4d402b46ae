#pragma once

// How one lane's bytes of a unit of weights (layout.h) are made from a checkpoint's matrices: one function for the
// kernel that packs and for the tests that run it on the host.

#include <cstdint>
#include <cstring>

#include "backend/cuda/device/layout.h"
#include "base/half.h"

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#endif

namespace qwen35::cuda {

/// How numbers stand in a checkpoint.
enum class Stored : std::uint8_t { bf16, f16, f32 };

/// One matrix of a checkpoint, whose bytes lie where the packing runs.
struct PackPart {
  std::uint32_t rows = 0;
  std::uint32_t bits = 16;  ///< 2, 3, 4, 5, 6 or 8; 16: not quantised
  std::uint32_t group = 0;  ///< 0: not quantised
  Stored stored = Stored::bf16;
  const void* values = nullptr;  ///< quantised: rows · columns · bits / 32 words; else floats of the kind `stored`
  const void* scales = nullptr;  ///< rows × columns / group of the kind `stored`
  const void* biases = nullptr;
};

/// What one packed matrix is made of: parts with equal columns.
struct PackSource {
  PackPart parts[4];
  std::uint32_t count = 0;
  bool interleaved = false;  ///< of each 8 rows, 4 of the first part, 4 of the second; else one part after the other
};

/// Value `index` of a row of numbers.
QWEN35_HD inline float stored_value(const void* data, Stored stored, std::size_t index) {
  if (stored == Stored::f32) return static_cast<const float*>(data)[index];
  const std::uint16_t half = static_cast<const std::uint16_t*>(data)[index];
#if defined(__CUDA_ARCH__)
  return stored == Stored::bf16 ? __uint_as_float(static_cast<unsigned>(half) << 16U)
                                : __half2float(__ushort_as_half(half));
#else
  return stored == Stored::bf16 ? bf16_to_float(half) : f16_to_float(half);
#endif
}

QWEN35_HD inline std::uint16_t to_binary16(float value) {
#if defined(__CUDA_ARCH__)
  return __half_as_ushort(__float2half_rn(value));
#else
  return float_to_f16(value);
#endif
}

/// scale · q + bias, rounded once a product, once a sum (WeightMatrix::row).
QWEN35_HD inline float dequantized(float scale, std::uint32_t q, float bias) {
#if defined(__CUDA_ARCH__)
  return __fadd_rn(__fmul_rn(scale, static_cast<float>(q)), bias);
#else
  const volatile float product = scale * static_cast<float>(q);  // never one rounding for both
  return product + bias;
#endif
}

/// A row of the packed matrix in its part; part == nullptr past the end.
struct PackRow {
  const PackPart* part = nullptr;
  std::uint32_t row = 0;
};
QWEN35_HD inline PackRow pack_row(const PackSource& source, std::uint32_t row) {
  if (source.interleaved) {
    const PackPart& part = source.parts[row % 8 / 4];
    const std::uint32_t inside = row / 8 * 4 + row % 4;
    return {inside < part.rows ? &part : nullptr, inside};
  }
  for (std::uint32_t i = 0; i < source.count; ++i) {
    if (row < source.parts[i].rows) return {&source.parts[i], row};
    row -= source.parts[i].rows;
  }
  return {};
}

/// The unsigned number of a quantised value.
QWEN35_HD inline std::uint32_t pack_quant(const PackRow& from, std::uint32_t column, std::uint32_t columns) {
  const std::uint32_t bits = from.part->bits;
  const auto* words =
      static_cast<const std::uint32_t*>(from.part->values) + std::size_t{from.row} * columns * bits / 32;
  const std::uint32_t bit = column * bits;
  const std::uint32_t shift = bit % 32;
  std::uint64_t value = words[bit / 32] >> shift;
  if (shift + bits > 32) value |= static_cast<std::uint64_t>(words[bit / 32 + 1]) << (32 - shift);
  return static_cast<std::uint32_t>(value) & ((1U << bits) - 1);
}

/// Scale or bias of a column's group.
QWEN35_HD inline float pack_scale(const PackRow& from, bool bias, std::uint32_t column, std::uint32_t columns) {
  const PackPart& part = *from.part;
  return stored_value(bias ? part.biases : part.scales, part.stored,
                      std::size_t{from.row} * (columns / part.group) + column / part.group);
}

/// The value as a float.
QWEN35_HD inline float pack_value(const PackRow& from, std::uint32_t column, std::uint32_t columns) {
  if (from.part->group == 0)
    return stored_value(from.part->values, from.part->stored, std::size_t{from.row} * columns + column);
  return dequantized(pack_scale(from, false, column, columns), pack_quant(from, column, columns),
                     pack_scale(from, true, column, columns));
}

/// Writes lane `lane` of unit `unit` of tile `tile` of `matrix`, whose data is at `data`: its values, and its share of
/// the scales.
QWEN35_HD inline void pack_lane(const PackSource& source, const Matrix& matrix, std::uint8_t* data, std::uint32_t tile,
                                std::uint32_t unit, std::uint32_t lane) {
  std::uint8_t* const to = data + (std::size_t{tile} * matrix.units + unit) * matrix.unit_bytes;
  const float inverse = 1 / matrix.factor;  // of a power of two: exact
  const PackRow from = pack_row(source, tile * kTileRows + lane / 4);
  const std::uint32_t first = unit * kUnitColumns;
  if (matrix.bits == 16) {
    for (std::uint32_t piece = 0; piece < 4; ++piece) {
      std::uint32_t words[4] = {0, 0, 0, 0};
      for (std::uint32_t i = 0; i < 8; ++i) {
        const std::uint32_t column = first + column_of(lane, 2 * piece + i / 4, i % 4);
        if (from.part == nullptr || column >= matrix.columns) continue;
        const std::uint32_t half = to_binary16(pack_value(from, column, matrix.columns) * inverse);
        words[i / 2] |= half << (16 * (i % 2));
      }
      memcpy(to + piece * 512 + lane * 16, words, 16);
    }
    return;
  }
  // Pairs 0 to 15: the low four bits (or a byte), and what is above them.
  std::uint32_t low[8] = {0, 0, 0, 0, 0, 0, 0, 0};
  std::uint32_t high[2] = {0, 0};
  for (std::uint32_t pair = 0; pair < 16; ++pair) {
    for (std::uint32_t half = 0; half < 2; ++half) {
      const std::uint32_t column = first + column_of(lane, pair / 2, 2 * (pair % 2) + half);
      if (from.part == nullptr || column >= matrix.columns) continue;
      const std::uint32_t q = pack_quant(from, column, matrix.columns);
      if (matrix.bits == 8) {
        low[pair / 2] |= q << (8 * (2 * (pair % 2) + half));
        continue;
      }
      low[pair / 4] |= (q & 15U) << (16 * half + 4 * (pair % 4));
      if (matrix.bits == 5) high[0] |= (q >> 4U) << (16 * half + pair);
      if (matrix.bits == 6) high[pair / 8] |= (q >> 4U) << (16 * half + 2 * (pair % 8));
    }
  }
  memcpy(to + lane * 16, low, 16);
  if (matrix.bits == 8) memcpy(to + 512 + lane * 16, low + 4, 16);
  if (matrix.bits == 5) memcpy(to + 512 + lane * 4, high, 4);
  if (matrix.bits == 6) memcpy(to + 512 + lane * 8, high, 8);

  const std::uint32_t groups = kUnitColumns / matrix.group;
  if (lane >= kTileRows * groups) return;
  const PackRow scaled = pack_row(source, tile * kTileRows + lane / groups);
  const std::uint32_t column = first + lane % groups * matrix.group;
  std::uint32_t both = 0;
  if (scaled.part != nullptr && column < matrix.columns) {
    both = to_binary16(pack_scale(scaled, false, column, matrix.columns) * inverse);
    both |= static_cast<std::uint32_t>(to_binary16(pack_scale(scaled, true, column, matrix.columns) * inverse)) << 16U;
  }
  memcpy(to + value_bytes(matrix.bits) + lane * 4, &both, 4);
}

}  // namespace qwen35::cuda
