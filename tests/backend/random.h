#pragma once

#include <cstddef>
#include <random>
#include <vector>

namespace qwen35 {

/// Normally distributed floats from a fixed seed.
inline std::vector<float> random_floats(std::size_t n, unsigned seed, float deviation = 1.0F) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0F, deviation);
  std::vector<float> values(n);
  for (float& value : values) value = normal(engine);
  return values;
}

}  // namespace qwen35
