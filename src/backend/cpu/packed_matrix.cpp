#include "backend/cpu/packed_matrix.h"

#include <algorithm>
#include <cstring>

#include "base/half.h"

namespace qwen35::cpu {
namespace {

constexpr std::size_t kVector = 64;                  // bytes of one vector of 16 rows × 4 columns
constexpr std::size_t kScaleBytes = kBlockRows * 2;  // the scales of a group; the biases take as much
constexpr std::size_t kGroupHeader = 2 * kScaleBytes;

/// Bits of the nibble or byte part, and high planes above it.
int high_planes(int bits) { return bits == 8 ? 0 : bits - 4; }

std::size_t quant_bytes(int bits, std::size_t group_size) { return bits == 8 ? group_size * 16 : group_size * 8; }

const std::uint8_t* group_at(const PackedAffine& w, std::size_t row, std::size_t group) {
  const std::size_t bytes = packed_group_bytes(w.bits, w.group_size);
  return w.data + (row / kBlockRows * (w.cols / w.group_size) + group) * bytes;
}

/// Four nibbles of the low 16 bits spread to the low halves of four bytes.
std::uint32_t spread_nibbles(std::uint32_t x) {
  x = (x | (x << 8)) & 0x00FF00FFU;
  return (x | (x << 4)) & 0x0F0F0F0FU;
}

/// Reads `bits`-wide values from a row's little-endian bit stream. Reads only the words that the value touches.
std::uint32_t stream_value(const std::uint32_t* words, std::size_t index, int bits) {
  const std::size_t bit = index * static_cast<std::size_t>(bits);
  const std::size_t word = bit / 32;
  const std::size_t shift = bit % 32;
  std::uint64_t value = words[word] >> shift;
  if (shift + static_cast<std::size_t>(bits) > 32) value |= static_cast<std::uint64_t>(words[word + 1]) << (32 - shift);
  return static_cast<std::uint32_t>(value) & ((1U << bits) - 1);
}

}  // namespace

std::size_t packed_group_bytes(int bits, std::size_t group_size) {
  return kGroupHeader + quant_bytes(bits, group_size) + static_cast<std::size_t>(high_planes(bits)) * group_size * 2;
}

int packed_quant(const PackedAffine& w, std::size_t row, std::size_t col) {
  const std::uint8_t* quants = group_at(w, row, col / w.group_size) + kGroupHeader;
  const std::size_t i = col % w.group_size;
  const std::size_t byte = row % kBlockRows * 4 + i % 4;  // place in the unpacked vector of four columns
  if (w.bits == 8) return quants[i / 4 * kVector + byte];
  int value = quants[i / 8 * kVector + byte] >> (i / 4 % 2 * 4) & 0xF;
  const std::uint8_t* plane = quants + quant_bytes(w.bits, w.group_size);
  for (int p = 0; p < high_planes(w.bits); ++p, plane += w.group_size * 2) {
    value |= (plane[i / 4 * 8 + byte / 8] >> (byte % 8) & 1) << (4 + p);
  }
  return value;
}

AffineGroup packed_group(const PackedAffine& w, std::size_t row, std::size_t group) {
  const std::uint8_t* at = group_at(w, row, group) + row % kBlockRows * 2;
  std::uint16_t scale = 0;
  std::uint16_t bias = 0;
  std::memcpy(&scale, at, 2);
  std::memcpy(&bias, at + kScaleBytes, 2);
  if (w.f16_scales) return {f16_to_float(scale), f16_to_float(bias)};
  return {bf16_to_float(scale), bf16_to_float(bias)};
}

std::size_t PackedMatrix::packed_bytes(const WeightMatrix& weights) {
  const auto* from = std::get_if<AffineMatrix>(&weights.storage);
  // float32 scales are rare: such a matrix keeps its precision on the float path instead of losing it here.
  if (from == nullptr || from->scale_type == FloatType::f32) return 0;
  const auto group_size = static_cast<std::size_t>(from->group_size);
  const std::size_t blocks = (weights.rows + kBlockRows - 1) / kBlockRows;
  return blocks * (weights.cols / group_size) * packed_group_bytes(std::max(from->bits, 4), group_size);
}

PackedMatrix::PackedMatrix(const WeightMatrix& weights, const Packing& packing)
    : weights_(&weights), rows_(weights.rows), cols_(weights.cols) {
  if (!packing.fast) return;
  if (const auto* dense = std::get_if<DenseMatrix>(&weights.storage)) {
    if (dense->type == FloatType::bf16 && packing.kernels.bf16_matmul != nullptr) form_ = Form::split;
    return;
  }
  bytes_ = packed_bytes(weights);
  if (bytes_ == 0) return;
  const auto& from = std::get<AffineMatrix>(weights.storage);
  form_ = Form::quantized;
  packed_.rows = rows_;
  packed_.cols = cols_;
  packed_.group_size = static_cast<std::size_t>(from.group_size);
  packed_.bits = std::max(from.bits, 4);
  packed_.f16_scales = from.scale_type == FloatType::f16;
  const std::size_t blocks = (rows_ + kBlockRows - 1) / kBlockRows;
  storage_ = packing.arena.take(bytes_);
  packed_.data = storage_;
  packing.pool.run(blocks, std::max<std::size_t>(1, 4096 / cols_ + 1),
                   [&](std::size_t begin, std::size_t end, std::size_t) {
                     for (std::size_t block = begin; block < end; ++block) pack_block(from, block);
                   });
  release_pages(packing.weights, weights);
}

void PackedMatrix::pack_block(const AffineMatrix& from, std::size_t block) {
  const std::size_t group_size = packed_.group_size;
  const std::size_t groups = cols_ / group_size;
  const std::size_t bytes = packed_group_bytes(packed_.bits, group_size);
  const std::size_t words_per_row = cols_ * static_cast<std::size_t>(from.bits) / 32;
  const auto* scales = static_cast<const std::uint16_t*>(from.scales);
  const auto* biases = static_cast<const std::uint16_t*>(from.biases);
  std::uint8_t* out = storage_ + block * groups * bytes;
  const std::size_t rows = std::min(kBlockRows, rows_ - block * kBlockRows);
  // Rows past the end are zero quants with zero scales: they cost arithmetic, never a branch.
  if (rows < kBlockRows || high_planes(packed_.bits) > 0) std::memset(out, 0, groups * bytes);

  for (std::size_t group = 0; group < groups; ++group, out += bytes) {
    std::uint8_t* quants = out + kGroupHeader;
    std::uint8_t* planes = quants + quant_bytes(packed_.bits, group_size);
    for (std::size_t lane = 0; lane < rows; ++lane) {
      const std::size_t row = block * kBlockRows + lane;
      std::memcpy(out + lane * 2, scales + row * groups + group, 2);
      std::memcpy(out + kScaleBytes + lane * 2, biases + row * groups + group, 2);
      const std::uint32_t* words = from.packed + row * words_per_row;
      const std::size_t first = group * group_size;
      if (from.bits == 4) {
        for (std::size_t j = 0; j < group_size / 8; ++j) {
          const std::uint32_t word = words[first / 8 + j];
          const std::uint32_t mixed = spread_nibbles(word & 0xFFFFU) | spread_nibbles(word >> 16) << 4;
          std::memcpy(quants + j * kVector + lane * 4, &mixed, 4);
        }
      } else if (from.bits == 8) {
        for (std::size_t j = 0; j < group_size / 4; ++j) {
          std::memcpy(quants + j * kVector + lane * 4, words + first / 4 + j, 4);
        }
      } else {
        for (std::size_t j = 0; j < group_size / 8; ++j) {
          std::uint32_t mixed = 0;
          for (std::size_t i = 0; i < 8; ++i) {
            const std::uint32_t q = stream_value(words, first + 8 * j + i, from.bits);
            mixed |= (q & 0xFU) << (i % 4 * 8 + i / 4 * 4);
            const std::size_t byte = lane * 4 + i % 4;
            for (int p = 0; p < high_planes(packed_.bits); ++p) {
              const std::uint32_t bit = q >> (4 + p) & 1U;
              std::uint8_t* plane = planes + static_cast<std::size_t>(p) * group_size * 2 + (2 * j + i / 4) * 8;
              plane[byte / 8] = static_cast<std::uint8_t>(plane[byte / 8] | bit << (byte % 8));
            }
          }
          std::memcpy(quants + j * kVector + lane * 4, &mixed, 4);
        }
      }
    }
  }
}

std::size_t PackedMatrix::memory_bytes() const {
  return packed_.data != nullptr ? bytes_ : weights_ != nullptr ? weights_->bytes() : 0;
}

void PackedMatrix::row(std::size_t row, float* out) const {
  if (packed_.data == nullptr) {
    weights_->row(row, out);
    return;
  }
  for (std::size_t col = 0; col < cols_; ++col) {
    const AffineGroup group = packed_group(packed_, row, col / packed_.group_size);
    out[col] = group.scale * static_cast<float>(packed_quant(packed_, row, col)) + group.bias;
  }
}

}  // namespace qwen35::cpu
