#pragma once

// What tests of products of many tokens share: activations on both sides, products in float64, the largest error.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "../random.h"
#include "backend/cuda/prefill/product.h"
#include "device_helpers.h"
#include "host_pack.h"

namespace qwen35::cuda {

inline constexpr Format kFormats[] = {{16, 0}, {4, 32}, {4, 64},  {4, 128}, {5, 32}, {5, 64}, {5, 128},
                                      {6, 32}, {6, 64}, {6, 128}, {8, 32},  {8, 64}, {8, 128}};

/// Activations as hi + lo, on both sides.
struct HostPair {
  std::vector<std::uint16_t> hi, lo;
  std::uint32_t stride = 0, columns = 0, tokens = 0;
  DeviceMemory device_hi, device_lo;

  HostPair(const std::vector<float>& values, std::uint32_t n, std::uint32_t width)
      : stride(padded(width)), columns(width), tokens(n) {
    hi.resize(std::size_t{n} * stride);
    lo.resize(hi.size());
    for (std::uint32_t t = 0; t < n; ++t) {
      for (std::uint32_t k = 0; k < width; ++k) {
        const float x = values[std::size_t{t} * width + k];
        const std::size_t at = std::size_t{t} * stride + k;
        hi[at] = half_of(x);
        lo[at] = half_of(double{x} - f16_to_float(hi[at]));
      }
    }
    device_hi = upload(hi);
    device_lo = upload(lo);
  }
  [[nodiscard]] double value(std::uint32_t t, std::uint32_t k) const {
    const std::size_t at = std::size_t{t} * stride + k;
    return double{f16_to_float(hi[at])} + f16_to_float(lo[at]);
  }
  /// From token `first` on.
  [[nodiscard]] HalfPair pair(std::uint32_t first = 0) const {
    return {device_hi.as<__half>() + std::size_t{first} * stride, device_lo.as<__half>() + std::size_t{first} * stride,
            stride};
  }
};

/// Random weights (random_matrix), on both sides.
struct DeviceWeights {
  DeviceWeights(std::uint32_t rows, std::uint32_t columns, const Format& format, unsigned seed, float size = 0.05F,
                float factor = 1)
      : host(random_matrix(rows, columns, format.bits, format.group, seed, size, factor)),
        memory(upload(host.bytes)),
        matrix(host.matrix) {
    matrix.data = memory.as<std::uint8_t>();
  }
  HostMatrix host;
  DeviceMemory memory;
  Matrix matrix;
};

/// Sums in float64, and those of the absolute values, which errors are measured by. tokens × rows.
struct Expected {
  std::vector<double> sums, sizes;
};
inline Expected expected(const HostMatrix& w, const HostPair& x) {
  const std::size_t rows = w.matrix.rows;
  const std::size_t columns = w.matrix.columns;
  Expected out;
  out.sums.resize(x.tokens * rows);
  out.sizes.resize(x.tokens * rows);
  std::vector<double> row_of_x(columns);
  for (std::uint32_t t = 0; t < x.tokens; ++t) {
    for (std::uint32_t k = 0; k < columns; ++k) row_of_x[k] = x.value(t, k);
    for (std::size_t r = 0; r < rows; ++r) {
      double sum = 0;
      double size = 0;
      const float* weights = &w.values[r * columns];
      for (std::size_t k = 0; k < columns; ++k) {
        const double product = weights[k] * row_of_x[k];
        sum += product;
        size += std::abs(product);
      }
      out.sums[t * rows + r] = sum * w.matrix.factor;
      out.sizes[t * rows + r] = size * w.matrix.factor;
    }
  }
  return out;
}

/// Float32 sums on tensor cores; a product without its low half is further off than this in short sums.
inline constexpr double kTolerance = 0x1p-18;

/// The largest error in terms of what is allowed, with where it is; "" when all is well.
class Worst {
 public:
  void see(double found, double wanted, double allowed, std::size_t token, std::size_t row) {
    const double error = std::abs(found - wanted);
    const double share = error / allowed;
    if (!(share <= worst_)) {  // a NaN is the worst
      worst_ = std::isnan(share) ? std::numeric_limits<double>::infinity() : share;
      text_ = "token " + std::to_string(token) + ", row " + std::to_string(row) + ": " + std::to_string(found) +
              " for " + std::to_string(wanted) + ", error " + std::to_string(error) + ", allowed " +
              std::to_string(allowed);
    }
    wrong_ += share <= 1 ? 0 : 1;
    ++all_;
  }
  [[nodiscard]] std::string verdict() const {
    if (wrong_ == 0) return {};
    return std::to_string(wrong_) + " of " + std::to_string(all_) + " wrong; the worst is " + text_;
  }

 private:
  double worst_ = 0;
  std::size_t wrong_ = 0, all_ = 0;
  std::string text_;
};

inline std::string text_of(const Format& format, std::uint32_t rows, std::uint32_t columns, std::uint32_t tokens,
                           ProductShape shape) {
  return std::to_string(format.bits) + " bits, groups of " + std::to_string(format.group) + ", " +
         std::to_string(rows) + " x " + std::to_string(columns) + ", " + std::to_string(tokens) + " tokens, shape " +
         std::to_string(static_cast<int>(shape));
}

class CudaProduct : public GpuTest, public testing::WithParamInterface<Products::Path> {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    info_ = device_info();
    if (GetParam() == Products::Path::wgmma && info_.major != 9) GTEST_SKIP() << "no wgmma on " << info_.name;
    products_.emplace_back(info_, GetParam());
  }
  [[nodiscard]] Products& products() { return products_.front(); }
  [[nodiscard]] bool has(ProductShape shape) { return shape >= ProductShape::automatic || products().has(shape); }

  /// `add`: added to what is there, times 16. In each shape that there is, of each number of tokens; nothing else may
  /// be written.
  void expect_products(const Format& format, std::uint32_t rows, std::uint32_t columns,
                       const std::vector<std::uint32_t>& counts, std::span<const ProductShape> shapes, bool add) {
    const std::uint32_t most = *std::max_element(counts.begin(), counts.end());
    const DeviceWeights w(rows, columns, format, rows + columns, 0.05F, 0.25F);
    const HostPair x(random_floats(std::size_t{most} * columns, columns), most, columns);
    const Expected want = expected(w.host, x);
    const std::uint32_t stride = rows + 3;
    const std::vector<float> before = random_floats(std::size_t{most + 1} * stride, 22);
    for (const std::uint32_t tokens : counts) {
      for (const ProductShape shape : shapes) {
        if (!has(shape)) continue;
        const DeviceMemory out = upload(before);
        if (add) {
          products().add(w.matrix, x.pair(), tokens, 16.0F, out.as<float>(), stride, nullptr, shape);
        } else {
          products().store(w.matrix, x.pair(), tokens, out.as<float>(), stride, nullptr, shape);
        }
        const std::vector<float> found = download<float>(out);
        Worst worst;
        std::size_t touched = 0;
        for (std::size_t i = 0; i < found.size(); ++i) {
          const std::size_t t = i / stride;
          const std::size_t r = i % stride;
          if (t >= tokens || r >= rows) {
            touched += found[i] == before[i] ? 0 : 1;
            continue;
          }
          const double sum = want.sums[t * rows + r];
          const double allowed = kTolerance * want.sizes[t * rows + r];
          if (add) {
            const double whole = before[i] + 16 * sum;
            worst.see(found[i], whole, 16 * allowed + 0x1p-23 * std::abs(whole), t, r);
          } else {
            worst.see(found[i], sum, allowed, t, r);
          }
        }
        const std::string which = text_of(format, rows, columns, tokens, shape) + (add ? ", added" : ", stored");
        ASSERT_EQ(worst.verdict(), "") << which;
        ASSERT_EQ(touched, 0U) << which;
      }
    }
  }

  DeviceInfo info_;
  std::vector<Products> products_;
};

inline std::string path_name(const testing::TestParamInfo<Products::Path>& param) {
  return param.param == Products::Path::wgmma ? "Wgmma" : "Mma";
}

}  // namespace qwen35::cuda
