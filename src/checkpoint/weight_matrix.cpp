#include <cstring>

#include "base/half.h"
#include "checkpoint/affine.h"
#include "checkpoint/weights.h"

namespace qwen35 {
namespace {

std::size_t float_size(FloatType type) { return type == FloatType::f32 ? 4 : 2; }

void floats_from(FloatType type, const void* data, std::size_t first, std::size_t count, float* out) {
  if (type == FloatType::f32) {
    std::memcpy(out, static_cast<const float*>(data) + first, count * sizeof(float));
    return;
  }
  const auto* halves = static_cast<const std::uint16_t*>(data) + first;
  if (type == FloatType::bf16) {
    for (std::size_t i = 0; i < count; ++i) out[i] = bf16_to_float(halves[i]);
  } else {
    for (std::size_t i = 0; i < count; ++i) out[i] = f16_to_float(halves[i]);
  }
}

}  // namespace

std::size_t WeightMatrix::bytes() const {
  if (const auto* dense = std::get_if<DenseMatrix>(&storage)) return rows * cols * float_size(dense->type);
  const auto& affine = std::get<AffineMatrix>(storage);
  const std::size_t groups = cols / static_cast<std::size_t>(affine.group_size);
  return rows * (cols * static_cast<std::size_t>(affine.bits) / 8 + 2 * groups * float_size(affine.scale_type));
}

void WeightMatrix::row(std::size_t row, float* out) const {
  if (const auto* dense = std::get_if<DenseMatrix>(&storage)) {
    floats_from(dense->type, dense->data, row * cols, cols, out);
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
    floats_from(affine.scale_type, affine.scales, row * groups + g, 1, &scale);
    floats_from(affine.scale_type, affine.biases, row * groups + g, 1, &bias);
    dequantize_group(packed + g * words, affine.bits, group_size, scale, bias, out + g * group_size);
  }
}

}  // namespace qwen35
