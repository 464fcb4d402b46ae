#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/arena.h"
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

/// What packing needs to know and use.
struct Packing {
  const ModelWeights& weights;  ///< that the matrices belong to
  bool fast;  ///< quantised or bf16 activations; otherwise everything stays float32 on the stored weights
  const Kernels& kernels;
  ThreadPool& pool;
  Arena& arena;  ///< where packed matrices live; must outlive them
};

/// How activations must stand for a product with a matrix.
enum class Form : std::uint8_t { floats, split, quantized };

/// A weight matrix in the form the kernels read: affine matrices packed (a copy), dense ones as they are in the map.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  /// Packs `weights` when it is quantised (with 16-bit scales) and then gives its pages in the map back to the system,
  /// so that the two forms of one matrix at most are in memory at once; otherwise reads it in place.
  PackedMatrix(const WeightMatrix& weights, const Packing& packing);

  /// Bytes that packing `weights` takes from the arena; 0 for a matrix that is read in place.
  static std::size_t packed_bytes(const WeightMatrix& weights);

  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] std::size_t cols() const { return cols_; }
  [[nodiscard]] Form form() const { return form_; }
  /// Group size of a packed matrix; 0 otherwise.
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
  Form form_ = Form::floats;
  PackedAffine packed_;
  std::uint8_t* storage_ = nullptr;  ///< in the arena
  std::size_t bytes_ = 0;
};

}  // namespace qwen35::cpu
