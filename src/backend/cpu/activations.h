#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/cpu/aligned_array.h"
#include "backend/cpu/packed_matrix.h"

namespace qwen35::cpu {

/// The input rows of a product, in every form that its matrices ask for: float32, split into two bf16, or quantised by
/// groups.
class Activations {
 public:
  /// Makes room for `tokens` rows of `cols` floats in the forms that `matrices` ask for. Rows are then to be written,
  /// each once.
  void prepare(std::size_t tokens, std::size_t cols, std::span<const PackedMatrix* const> matrices,
               const Kernels& kernels);
  /// Writes row `token` from `x` (cols floats). Rows may be written by several threads at once.
  void write(std::size_t token, const float* x);
  /// Writes all rows from `x` (tokens × cols).
  void write_all(const float* x, ThreadPool& pool);

  [[nodiscard]] std::size_t tokens() const { return tokens_; }
  [[nodiscard]] const float* floats() const { return floats_.data(); }
  [[nodiscard]] SplitRows split() const { return {split_.data(), tokens_, split_width_}; }
  [[nodiscard]] QuantizedRows quantized(std::size_t group_size) const;

 private:
  struct Quantized {
    std::size_t group_size = 0;  ///< 0: unused
    AlignedArray<std::int8_t> values;
    AlignedArray<float> scales;
    AlignedArray<float> sums;
  };
  /// Values of one split row.
  [[nodiscard]] std::size_t split_values() const {
    return (cols_ + kSplitColumns - 1) / kSplitColumns * 2 * kSplitColumns;
  }

  const Kernels* kernels_ = nullptr;
  std::size_t tokens_ = 0;
  std::size_t cols_ = 0;
  std::size_t split_width_ = 1;  ///< tokens of a tile of split rows
  std::size_t quantized_width_ = 1;
  bool wants_floats_ = false;
  bool wants_split_ = false;
  AlignedArray<float> floats_;
  AlignedArray<std::uint16_t> split_;
  Quantized quantized_[3];  ///< group sizes 32, 64 and 128 at most
};

/// Rows that a thread takes at once where work goes row by row: a share each for a few, small pieces of many. A row is
/// about a microsecond, as is sharing out.
std::size_t row_grain(std::size_t tokens, const ThreadPool& pool);

/// One product y = W x for every row of the activations.
struct Product {
  const PackedMatrix* matrix = nullptr;
  Output y;
};

/// y as a row-major matrix, a token a row.
inline Output row_major(float* y, const PackedMatrix& matrix) { return {y, matrix.rows(), matrix.rows(), 0}; }

/// Computes all products of one set of activations in a single parallel pass over their weights. Results do not depend
/// on the number of threads.
void multiply(std::span<const Product> products, const Activations& x, const Kernels& kernels, ThreadPool& pool);

}  // namespace qwen35::cpu
