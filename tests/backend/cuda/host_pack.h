#pragma once

// Weights packed on the host by the function that the packing kernel runs, and what kernels that read them must compute
// with.

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "backend/cuda/load/pack_kernels.h"
#include "base/half.h"

namespace qwen35::cuda {

/// Of packed weights; group 0 at 16 bits.
struct Format {
  std::uint32_t bits, group;
};

/// The bytes of `matrix`, which is packed_form() of `source` with a factor.
inline std::vector<std::uint8_t> pack_on_host(const PackSource& source, const Matrix& matrix) {
  std::vector<std::uint8_t> data(matrix.bytes(), 0xA5);
  for (std::uint32_t tile = 0; tile < matrix.tiles; ++tile) {
    for (std::uint32_t unit = 0; unit < matrix.units; ++unit) {
      for (std::uint32_t lane = 0; lane < kLanes; ++lane) pack_lane(source, matrix, data.data(), tile, unit, lane);
    }
  }
  return data;
}

/// The nearest binary16 to `value` (ties to even), infinite past its range. From double: one rounding.
inline std::uint16_t half_of(double value) {
  const std::uint16_t sign = value < 0 ? 0x8000 : 0;
  const double size = value < 0 ? -value : value;
  if (!(size < 65520)) return static_cast<std::uint16_t>(sign | 0x7c00U);
  double step = 0x1p-24;  // between neighbours at this size
  std::uint32_t exponent = 0;
  if (size >= 0x1p-14) {
    exponent = 1;
    while (size >= 0x1p-13 * static_cast<double>(std::uint32_t{1} << (exponent - 1))) ++exponent;
    step = 0x1p-24 * static_cast<double>(std::uint32_t{1} << (exponent - 1));
  }
  const double steps = size / step;  // exact: a power of two
  auto whole = static_cast<std::uint32_t>(steps);
  const double rest = steps - whole;
  if (rest > 0.5 || (rest == 0.5 && whole % 2 == 1)) ++whole;
  // The fraction of a normal number has its leading 1024 taken away; a carry goes into the exponent by itself.
  return static_cast<std::uint16_t>(sign | (exponent == 0 ? whole : (exponent << 10U) + whole - 1024));
}

/// A matrix as layout.h has it, on the host, with what its values are: what kernels must compute with.
struct HostMatrix {
  Matrix matrix;                    ///< data: nullptr, to be set where the bytes are copied to
  std::vector<std::uint8_t> bytes;  ///< tiles × units × unit_bytes
  std::vector<float> values;        ///< rows × columns: as the tensor cores get them (binary16), without the factor
  std::vector<double> exact;        ///< rows × columns: scale · q + bias without rounding
};

/// Values of about `size`, drawn from `seed`; scales, biases and dense values are binary16.
inline HostMatrix random_matrix(std::uint32_t rows, std::uint32_t columns, std::uint32_t bits, std::uint32_t group,
                                unsigned seed, float size = 0.05F, float factor = 1) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0F, 1.0F);
  std::vector<std::uint32_t> words(bits == 16 ? 0 : std::size_t{rows} * columns * bits / 32);
  std::vector<std::uint16_t> halves, scales, biases;
  HostMatrix out;
  const auto add = [&](double value) {
    out.values.push_back(f16_to_float(half_of(value)));
    out.exact.push_back(value);
  };
  for (std::uint32_t row = 0; row < rows; ++row) {
    for (std::uint32_t column = 0; column < columns; ++column) {
      if (bits == 16) {
        halves.push_back(half_of(size * normal(engine)));
        add(f16_to_float(halves.back()));
        continue;
      }
      const std::uint32_t most = (1U << bits) - 1;
      if (column % group == 0) {
        const float scale = size * (2 + normal(engine) / 4) / static_cast<float>(most);
        scales.push_back(half_of(scale));
        biases.push_back(half_of(-scale * static_cast<float>(most) * 0.45F));
      }
      const std::uint32_t q = static_cast<std::uint32_t>(engine()) & most;
      const std::size_t bit = (std::size_t{row} * columns + column) * bits;
      words[bit / 32] |= q << (bit % 32);
      if (bit % 32 + bits > 32) words[bit / 32 + 1] |= q >> (32 - bit % 32);
      add(double{f16_to_float(scales.back())} * q + f16_to_float(biases.back()));
    }
  }
  PackSource source;
  source.count = 1;
  PackPart& part = source.parts[0];
  part.rows = rows;
  part.stored = Stored::f16;
  part.values = halves.data();
  if (bits != 16) {
    part.bits = bits;
    part.group = group;
    part.values = words.data();
    part.scales = scales.data();
    part.biases = biases.data();
  }
  out.matrix = packed_form(source, columns);
  out.bytes = pack_on_host(source, out.matrix);
  out.matrix.factor = factor;
  return out;
}

}  // namespace qwen35::cuda
