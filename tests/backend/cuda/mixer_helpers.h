#pragma once

// What the tests of the mixers share: how far two results are apart, and where a mixer writes.

#include <cuda_fp16.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "backend/cuda/device/device_model.h"
#include "device_helpers.h"

namespace qwen35::cuda {

/// ‖out − expected‖ / ‖expected‖ at most `limit`; else says how far, and where the worst value is in rows of `width`.
inline testing::AssertionResult close(const std::vector<float>& out, const std::vector<double>& expected,
                                      std::size_t width, double limit) {
  if (out.size() != expected.size()) return testing::AssertionFailure() << out.size() << " of " << expected.size();
  double error = 0;
  double norm = 0;
  double worst = -1;
  std::size_t where = 0;
  std::size_t numberless = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const double off = std::fabs(static_cast<double>(out[i]) - expected[i]);
    if (!std::isfinite(off)) {
      if (numberless++ == 0) where = i;
      continue;
    }
    error += off * off;
    norm += expected[i] * expected[i];
    if (off > worst && numberless == 0) {
      worst = off;
      where = i;
    }
  }
  const double relative = std::sqrt(error / (norm > 0 ? norm : 1.0));
  if (numberless == 0 && relative <= limit) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "relative error " << relative << " (at most " << limit << "), " << numberless
                                     << " without a number; worst or first such: row " << where / width << ", column "
                                     << where % width << ": " << out[where] << " instead of " << expected[where];
}

/// What a mixer writes: rows of `width` in two halves, `stride` apart, poisoned before.
struct Halves {
  Halves(std::size_t count, std::size_t row, std::size_t between)
      : rows(count),
        width(row),
        stride(between),
        hi(poisoned(count * between * sizeof(__half))),
        lo(poisoned(count * between * sizeof(__half))) {}

  /// hi + lo, and that nothing was written between rows.
  [[nodiscard]] std::vector<float> values() const {
    const std::vector<__half> high = download<__half>(hi);
    const std::vector<__half> low = download<__half>(lo);
    std::vector<float> sums;
    sums.reserve(rows * width);
    for (std::size_t i = 0; i < rows * stride; ++i) {
      const float sum = __half2float(high[i]) + __half2float(low[i]);
      if (i % stride < width) {
        sums.push_back(sum);
      } else {
        EXPECT_TRUE(std::isnan(__half2float(high[i])) && std::isnan(__half2float(low[i])))
            << "written between rows: row " << i / stride << ", column " << i % stride;
      }
    }
    return sums;
  }

  std::size_t rows, width, stride;
  DeviceMemory hi, lo;
};

}  // namespace qwen35::cuda
