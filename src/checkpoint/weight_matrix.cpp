#include "checkpoint/affine.h"
#include "checkpoint/float_values.h"
#include "checkpoint/weights.h"

namespace qwen35 {
std::size_t WeightMatrix::bytes() const {
  if (const auto* dense = std::get_if<DenseMatrix>(&storage)) return rows * cols * float_size(dense->type);
  const auto& affine = std::get<AffineMatrix>(storage);
  const std::size_t groups = cols / static_cast<std::size_t>(affine.group_size);
  return rows * (cols * static_cast<std::size_t>(affine.bits) / 8 + 2 * groups * float_size(affine.scale_type));
}

void WeightMatrix::row(std::size_t row, float* out) const {
  if (const auto* dense = std::get_if<DenseMatrix>(&storage)) {
    to_floats(dense->type, dense->data, row * cols, cols, out);
    return;
  }
  const auto& affine = std::get<AffineMatrix>(storage);
  const auto group_size = static_cast<std::size_t>(affine.group_size);
  const std::size_t groups = cols / group_size;
  const std::size_t words = group_size * static_cast<std::size_t>(affine.bits) / 32;
  const std::uint32_t* packed = affine.packed + row * groups * words;
  for (std::size_t g = 0; g < groups; ++g) {
    float scale = 0;
    float bias = 0;
    to_floats(affine.scale_type, affine.scales, row * groups + g, 1, &scale);
    to_floats(affine.scale_type, affine.biases, row * groups + g, 1, &bias);
    dequantize_group(packed + g * words, affine.bits, group_size, scale, bias, out + g * group_size);
  }
}

}  // namespace qwen35
