#include "checkpoint/affine.h"

#include <algorithm>
#include <cmath>

namespace qwen35 {
namespace {

/// Calls use(i, q) for each value of a bit stream.
template <typename Use>
void for_each_value(const std::uint32_t* packed, int bits, std::size_t count, Use use) {
  const std::uint64_t mask = (std::uint64_t{1} << bits) - 1;
  std::uint64_t buffer = 0;
  int held = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (held < bits) {
      buffer |= static_cast<std::uint64_t>(*packed++) << held;
      held += 32;
    }
    use(i, static_cast<std::uint32_t>(buffer & mask));
    buffer >>= bits;
    held -= bits;
  }
}

/// Bits that divide 32 never straddle a word: a shape the compiler can vectorise.
template <int bits>
void dequantize_aligned(const std::uint32_t* packed, std::size_t count, float scale, float bias, float* values) {
  constexpr std::size_t per_word = 32 / bits;
  constexpr std::uint32_t mask = (1U << bits) - 1;
  for (std::size_t w = 0; w < count / per_word; ++w) {
    for (std::size_t i = 0; i < per_word; ++i) {
      const float product = scale * static_cast<float>((packed[w] >> (bits * i)) & mask);
      values[w * per_word + i] = product + bias;
    }
  }
}

}  // namespace

AffineGroup quantize_group(const float* values, std::size_t count, int bits, std::uint32_t* packed) {
  constexpr float smallest_scale = 1e-7F;
  const auto most = static_cast<float>((1 << bits) - 1);
  const auto [low, high] = std::minmax_element(values, values + count);
  const bool low_is_edge = std::fabs(*low) > std::fabs(*high);
  const float edge = low_is_edge ? *low : *high;
  AffineGroup group;
  group.scale = std::max((*high - *low) / most, smallest_scale);
  if (!low_is_edge) group.scale = -group.scale;
  const float zero_point = std::nearbyint(edge / group.scale);
  if (zero_point != 0) {
    group.scale = edge / zero_point;
    group.bias = edge;
  }

  std::uint64_t buffer = 0;
  int held = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const float q = std::clamp(std::nearbyint((values[i] - group.bias) / group.scale), 0.0F, most);
    buffer |= static_cast<std::uint64_t>(q) << held;
    held += bits;
    if (held >= 32) {
      *packed++ = static_cast<std::uint32_t>(buffer);
      buffer >>= 32;
      held -= 32;
    }
  }
  return group;
}

void dequantize_group(const std::uint32_t* packed, int bits, std::size_t count, float scale, float bias,
                      float* values) {
  switch (bits) {
    case 2:
      return dequantize_aligned<2>(packed, count, scale, bias, values);
    case 4:
      return dequantize_aligned<4>(packed, count, scale, bias, values);
    case 8:
      return dequantize_aligned<8>(packed, count, scale, bias, values);
    default:
      for_each_value(packed, bits, count, [&](std::size_t i, std::uint32_t q) {
        const float product = scale * static_cast<float>(q);
        values[i] = product + bias;
      });
  }
}

}  // namespace qwen35
