#include "checkpoint/fingerprint.h"

#include <algorithm>
#include <array>
#include <cstddef>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace qwen35 {
namespace {

constexpr std::size_t kSample = 64;  // bytes at either end of a matrix

class Hash {
 public:
  Hash() { XXH3_64bits_reset(&state_); }
  void add(const void* data, std::size_t bytes) { XXH3_64bits_update(&state_, data, bytes); }
  void add(std::uint64_t value) { add(&value, sizeof value); }
  void add(const std::vector<float>& values) { add(values.data(), values.size() * sizeof(float)); }
  /// The first and last bytes of a block.
  void add_ends(const void* data, std::size_t bytes) {
    const std::size_t sample = std::min(bytes, kSample);
    add(data, sample);
    add(static_cast<const std::byte*>(data) + (bytes - sample), sample);
  }
  [[nodiscard]] std::uint64_t value() const { return XXH3_64bits_digest(&state_); }

 private:
  XXH3_state_t state_;
};

void add_matrix(Hash& hash, const WeightMatrix& matrix) {
  hash.add(matrix.rows);
  hash.add(matrix.cols);
  if (const auto* affine = std::get_if<AffineMatrix>(&matrix.storage)) {
    hash.add(static_cast<std::uint64_t>(affine->bits));
    hash.add(static_cast<std::uint64_t>(affine->group_size));
    hash.add_ends(affine->packed, matrix.rows * (matrix.cols * static_cast<std::size_t>(affine->bits) / 8));
  } else {
    hash.add(static_cast<std::uint64_t>(std::get<DenseMatrix>(matrix.storage).type));
    hash.add_ends(std::get<DenseMatrix>(matrix.storage).data, matrix.bytes());
  }
}

}  // namespace

std::uint64_t fingerprint(const ModelWeights& weights) {
  Hash hash;
  hash.add(weights.parameters);
  for (const WeightMatrix* matrix : weights.matrices()) add_matrix(hash, *matrix);
  hash.add(weights.final_norm);
  for (const LayerWeights& layer : weights.layers) {
    hash.add(layer.input_norm);
    hash.add(layer.post_attention_norm);
    if (const auto* linear = std::get_if<LinearAttentionWeights>(&layer.mixer)) hash.add(linear->conv);
  }
  return std::max<std::uint64_t>(hash.value(), 1);
}

}  // namespace qwen35
