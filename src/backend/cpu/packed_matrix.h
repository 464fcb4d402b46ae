#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <vector>

#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/thread_pool.h"
#include "checkpoint/weights.h"

namespace qwen35::cpu {

/// Bytes of one group of one block in the packed layout (kernels.h).
std::size_t packed_group_bytes(int bits, std::size_t group_size);

/// One quant of a packed matrix, unsigned. For tests, the embedding and the scalar kernel; not fast.
int packed_quant(const PackedAffine& w, std::size_t row, std::size_t col);

struct AffineGroup {
  float scale = 0;
  float bias = 0;
};
AffineGroup packed_group(const PackedAffine& w, std::size_t row, std::size_t group);

/// An array aligned to a cache line, uninitialised.
template <typename T>
class AlignedArray {
 public:
  AlignedArray() = default;
  explicit AlignedArray(std::size_t n)
      : data_(static_cast<T*>(::operator new (n * sizeof(T), std::align_val_t{64}))), size_(n) {}
  [[nodiscard]] T* data() const { return data_.get(); }
  [[nodiscard]] std::size_t size() const { return size_; }
  /// Makes room for at least n elements; the content is lost when it grows.
  void reserve(std::size_t n) {
    if (n > size_) *this = AlignedArray(n);
  }

 private:
  struct Free {
    void operator()(T* p) const { ::operator delete (p, std::align_val_t{64}); }
  };
  std::unique_ptr<T, Free> data_;
  std::size_t size_ = 0;
};

/// A weight matrix in the form the kernels read: affine matrices packed (a copy), or left as they are in the map.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  /// Packs `weights` when it is quantised (with 16-bit scales) and `pack` is set; otherwise reads it in place.
  PackedMatrix(const WeightMatrix& weights, bool pack, ThreadPool& pool);

  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] std::size_t cols() const { return cols_; }
  /// Group size of a packed matrix; 0: the matrix takes float activations.
  [[nodiscard]] std::size_t group_size() const { return packed_.group_size; }
  [[nodiscard]] const PackedAffine& packed() const { return packed_; }
  [[nodiscard]] const WeightMatrix& stored() const { return *weights_; }
  [[nodiscard]] std::size_t memory_bytes() const;

  /// Row `row` as cols floats (an embedding).
  void row(std::size_t row, float* out) const;

 private:
  void pack_block(const AffineMatrix& from, std::size_t block);

  const WeightMatrix* weights_ = nullptr;
  std::size_t rows_ = 0;
  std::size_t cols_ = 0;
  PackedAffine packed_;
  AlignedArray<std::uint8_t> storage_;
};

/// Rows of activations that several products share. Quantised once for every group size in use.
class Activations {
 public:
  /// Takes `tokens` rows of `cols` floats at `x` (kept by the caller until the products are done) and quantises them
  /// for each group size that `matrices` ask for.
  void assign(const float* x, std::size_t tokens, std::size_t cols, std::span<const PackedMatrix* const> matrices,
              const Kernels& kernels, ThreadPool& pool);
  [[nodiscard]] const float* floats() const { return x_; }
  [[nodiscard]] std::size_t tokens() const { return tokens_; }
  [[nodiscard]] QuantizedRows quantized(std::size_t group_size) const;

 private:
  struct Form {
    std::size_t group_size = 0;  ///< 0: unused
    AlignedArray<std::int8_t> values;
    AlignedArray<float> scales;
    AlignedArray<float> sums;
  };
  const float* x_ = nullptr;
  std::size_t tokens_ = 0;
  std::size_t width_ = 1;  ///< tokens of a tile
  Form forms_[3];
};

/// One product y = W x for every row of the activations: y[t · y_stride + row].
struct Product {
  const PackedMatrix* matrix = nullptr;
  float* y = nullptr;
  std::size_t y_stride = 0;
};

/// Computes all products of one set of activations in a single parallel pass over their weights. Results do not depend
/// on the number of threads.
void multiply(std::span<const Product> products, const Activations& x, const Kernels& kernels, ThreadPool& pool);

}  // namespace qwen35::cpu
