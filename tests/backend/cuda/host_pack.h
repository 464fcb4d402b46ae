#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "backend/cuda/layout.h"

namespace qwen35::cuda {

/// binary16 as it is stored, on the host.
inline float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000U) << 16U;
  const std::uint32_t exponent = (half >> 10U) & 31U;
  const std::uint32_t fraction = half & 1023U;
  float value = 0;
  if (exponent == 0) {
    value = static_cast<float>(fraction) * 0x1p-24F;
  } else {
    const std::uint32_t bits =
        exponent == 31 ? 0x7f800000U | fraction << 13U : (exponent + 112) << 23U | fraction << 13U;
    std::memcpy(&value, &bits, sizeof(value));
  }
  return sign != 0 ? -value : value;
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

/// The byte and, where `bits` < 16, what else belongs to value (row, column).
class HostPacker {
 public:
  HostPacker(std::uint32_t rows, std::uint32_t columns, std::uint32_t bits, std::uint32_t group) {
    Matrix& m = out_.matrix;
    m.rows = rows;
    m.columns = columns;
    m.tiles = (rows + kTileRows - 1) / kTileRows;
    m.units = (columns + kUnitColumns - 1) / kUnitColumns;
    m.bits = bits;
    m.group = bits == 16 ? 0 : group;
    m.unit_bytes = value_bytes(bits) + scale_bytes(bits, group);
    out_.bytes.resize(std::size_t{m.tiles} * m.units * m.unit_bytes);
    out_.values.resize(std::size_t{rows} * columns);
    out_.exact.resize(out_.values.size());
  }

  /// A binary16 value.
  void put_half(std::uint32_t row, std::uint32_t column, std::uint16_t half) {
    const Place p = place(row, column);
    put16(p.unit + p.pair / 4 * 512 + p.lane * 16 + p.pair % 4 * 4 + p.second * 2, half);
    set(row, column, half_to_float(half));
  }
  /// A group's scale and bias; before its values.
  void put_scale(std::uint32_t row, std::uint32_t first_column, std::uint16_t scale, std::uint16_t bias) {
    const std::size_t at = scale_at(row, first_column);
    put16(at, scale);
    put16(at + 2, bias);
  }
  void put_quantized(std::uint32_t row, std::uint32_t column, std::uint32_t q) {
    const Place p = place(row, column);
    const std::uint32_t bits = out_.matrix.bits;
    if (bits == 8) {
      const std::uint32_t step = p.pair / 2;
      out_.bytes[p.unit + step / 4 * 512 + p.lane * 16 + step % 4 * 4 + p.pair % 2 * 2 + p.second] =
          static_cast<std::uint8_t>(q);
    } else {
      or32(p.unit + p.lane * 16 + p.pair / 4 * 4, (q & 15U) << (4 * (p.pair % 4) + 16 * p.second));
      if (bits == 5) or32(p.unit + 512 + p.lane * 4, (q >> 4U) << (p.pair + 16 * p.second));
      if (bits == 6) {
        or32(p.unit + 512 + p.lane * 8 + p.pair / 8 * 4, (q >> 4U) << (2 * (p.pair % 8) + 16 * p.second));
      }
    }
    const std::size_t at = scale_at(row, column);
    const double value = double{half_to_float(get16(at))} * q + half_to_float(get16(at + 2));
    set(row, column, value);
  }
  [[nodiscard]] HostMatrix take() { return std::move(out_); }

 private:
  struct Place {
    std::size_t unit;  ///< bytes before it
    std::uint32_t lane, pair, second;
  };
  [[nodiscard]] Place place(std::uint32_t row, std::uint32_t column) const {
    const Matrix& m = out_.matrix;
    const std::uint32_t in_unit = column % kUnitColumns;
    const std::uint32_t in_step = in_unit % 16;
    const std::size_t unit = (std::size_t{row / kTileRows} * m.units + column / kUnitColumns) * m.unit_bytes;
    return {unit, 4 * (row % kTileRows) + in_step % 8 / 2, 2 * (in_unit / 16) + in_step / 8, in_step % 2};
  }
  [[nodiscard]] std::size_t scale_at(std::uint32_t row, std::uint32_t column) const {
    const Matrix& m = out_.matrix;
    const std::uint32_t groups = kUnitColumns / m.group;
    return place(row, column).unit + value_bytes(m.bits) +
           (row % kTileRows * groups + column % kUnitColumns / m.group) * std::size_t{4};
  }
  void put16(std::size_t at, std::uint16_t value) { std::memcpy(&out_.bytes[at], &value, sizeof(value)); }
  [[nodiscard]] std::uint16_t get16(std::size_t at) const {
    std::uint16_t value = 0;
    std::memcpy(&value, &out_.bytes[at], sizeof(value));
    return value;
  }
  void or32(std::size_t at, std::uint32_t bits) {
    std::uint32_t value = 0;
    std::memcpy(&value, &out_.bytes[at], sizeof(value));
    value |= bits;
    std::memcpy(&out_.bytes[at], &value, sizeof(value));
  }
  void set(std::uint32_t row, std::uint32_t column, double value) {
    const std::size_t at = std::size_t{row} * out_.matrix.columns + column;
    out_.values[at] = half_to_float(half_of(value));
    out_.exact[at] = value;
  }

  HostMatrix out_;
};

/// Values of about `size`, drawn from `seed`.
inline HostMatrix random_matrix(std::uint32_t rows, std::uint32_t columns, std::uint32_t bits, std::uint32_t group,
                                unsigned seed, float size = 0.05F, float factor = 1) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0F, 1.0F);
  HostPacker packer(rows, columns, bits, group);
  for (std::uint32_t row = 0; row < rows; ++row) {
    for (std::uint32_t column = 0; column < columns; ++column) {
      if (bits == 16) {
        packer.put_half(row, column, half_of(size * normal(engine)));
        continue;
      }
      const std::uint32_t most = (1U << bits) - 1;
      if (column % group == 0) {
        const float scale = size * (2 + normal(engine) / 4) / static_cast<float>(most);
        packer.put_scale(row, column, half_of(scale), half_of(-scale * static_cast<float>(most) * 0.45F));
      }
      packer.put_quantized(row, column, static_cast<std::uint32_t>(engine()) & most);
    }
  }
  HostMatrix matrix = packer.take();
  matrix.matrix.factor = factor;
  return matrix;
}

}  // namespace qwen35::cuda
