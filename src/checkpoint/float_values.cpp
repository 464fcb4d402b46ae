#include "checkpoint/float_values.h"

#include <cstdint>
#include <cstring>

#include "base/half.h"

namespace qwen35 {

std::size_t float_size(FloatType type) { return type == FloatType::f32 ? 4 : 2; }

void to_floats(FloatType type, const void* data, std::size_t first, std::size_t count, float* out) {
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

}  // namespace qwen35
