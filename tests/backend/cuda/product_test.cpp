// Products of many tokens with packed weights, and what goes on around them, against float64 on the host.

#include "backend/cuda/prefill/product.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "backend/cuda/prefill/rows.h"
#include "product_helpers.h"

namespace qwen35::cuda {
namespace {

constexpr ProductShape kShapes[] = {ProductShape::r256_t128, ProductShape::r128_t128, ProductShape::r128_t64,
                                    ProductShape::r64_t64,   ProductShape::r64_t32,   ProductShape::automatic};

TEST_P(CudaProduct, IsTheProductForEveryFormatAndShape) {
  for (const Format& format : kFormats) {
    for (const std::uint32_t rows : {8U, 40U, 64U, 200U, 1024U}) {
      for (const std::uint32_t columns : {64U, 192U, 1024U}) {
        if (columns % std::max(format.group, 1U) != 0) continue;
        std::vector<std::uint32_t> counts{1, 9, 64, 65};
        if (rows * columns <= 200U * 1024U) counts.push_back(300);
        expect_products(format, rows, columns, counts, kShapes, false);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(CudaProduct, ATokenDependsNeitherOnItsNeighboursNorOnTheShape) {
  constexpr std::uint32_t kTokens = 300;
  for (const Format& format : {Format{16, 0}, Format{4, 64}, Format{5, 32}, Format{6, 128}, Format{8, 64}}) {
    const std::uint32_t rows = 328;
    const std::uint32_t columns = 640;
    const DeviceWeights w(rows, columns, format, 3);
    const HostPair x(random_floats(std::size_t{kTokens} * columns, 4), kTokens, columns);
    const DeviceMemory out(std::size_t{kTokens} * rows * sizeof(float));
    products().store(w.matrix, x.pair(), kTokens, out.as<float>(), rows, nullptr);
    const std::vector<float> all = download<float>(out.data(), std::size_t{kTokens} * rows);
    for (const ProductShape shape : kShapes) {
      if (!has(shape)) continue;
      for (const std::uint32_t length : {1U, 7U, 64U, 100U, 300U}) {
        for (std::uint32_t first = 0; first + length <= kTokens; first += 67) {
          check(cudaMemset(out.data(), 0xff, out.bytes()), "clearing");
          products().store(w.matrix, x.pair(first), length, out.as<float>(), rows, nullptr, shape);
          const std::vector<float> part = download<float>(out.data(), std::size_t{length} * rows);
          ASSERT_EQ(std::memcmp(part.data(), &all[std::size_t{first} * rows], part.size() * sizeof(float)), 0)
              << text_of(format, rows, columns, length, shape) << ", first " << first;
        }
      }
    }
  }
}

TEST_P(CudaProduct, TakesLargeAndTinyActivations) {
  constexpr std::uint32_t kTokens = 70;
  const std::uint32_t rows = 72;
  const std::uint32_t columns = 256;
  std::vector<float> values = random_floats(std::size_t{kTokens} * columns, 5);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t token = i / columns;
    if (token % 3 == 0) values[i] = (values[i] < 0 ? -1.0F : 1.0F) * (6.0e4F + values[i] * 100);
    if (token % 3 == 1) values[i] *= 3.0e-6F;
  }
  const HostPair x(values, kTokens, columns);
  for (const Format& format : {Format{16, 0}, Format{4, 64}, Format{8, 32}}) {
    const DeviceWeights w(rows, columns, format, 6, 1.0F, 0.5F);
    const Expected want = expected(w.host, x);
    for (const ProductShape shape : kShapes) {
      if (!has(shape)) continue;
      const DeviceMemory out(std::size_t{kTokens} * rows * sizeof(float));
      products().store(w.matrix, x.pair(), kTokens, out.as<float>(), rows, nullptr, shape);
      const std::vector<float> found = download<float>(out.data(), std::size_t{kTokens} * rows);
      Worst worst;
      for (std::size_t i = 0; i < found.size(); ++i) {
        worst.see(found[i], want.sums[i], kTolerance * want.sizes[i], i / rows, i % rows);
      }
      ASSERT_EQ(worst.verdict(), "") << text_of(format, rows, columns, kTokens, shape);
    }
  }
}

TEST_P(CudaProduct, TheHighHalfAloneIsTakenWithoutALowOne) {
  const DeviceWeights w(80, 192, {4, 64}, 20);
  std::vector<float> values = random_floats(std::size_t{90} * 192, 21);
  for (float& value : values) value = f16_to_float(half_of(value));
  const HostPair x(values, 90, 192);
  const Expected want = expected(w.host, x);
  for (const ProductShape shape : {ProductShape::r256_t128, ProductShape::r64_t32}) {
    const DeviceMemory out(want.sums.size() * sizeof(float));
    HalfPair pair = x.pair();
    pair.lo = nullptr;
    products().store(w.matrix, pair, 90, out.as<float>(), 80, nullptr, shape);
    const std::vector<float> found = download<float>(out.data(), want.sums.size());
    Worst worst;
    for (std::size_t i = 0; i < found.size(); ++i) {
      worst.see(found[i], want.sums[i], kTolerance * want.sizes[i], i / 80, i % 80);
    }
    ASSERT_EQ(worst.verdict(), "") << "shape " << static_cast<int>(shape);
  }
}

TEST_P(CudaProduct, AddsToWhatIsThere) { expect_products({4, 64}, 136, 320, {3, 20, 129}, kShapes, true); }

/// gate_up of `rows` in each shape, against float64.
class CudaProductGates : public CudaProduct {
 protected:
  void expect_gates(std::uint32_t rows, std::uint32_t tokens) {
    const std::uint32_t columns = 192;
    const DeviceWeights w(rows, columns, {16, 0}, 10, 0.2F, 0.5F);
    std::vector<float> values = random_floats(std::size_t{tokens} * columns, 11);
    for (std::uint32_t k = 0; k < columns; ++k) values[k] *= 400;  // gates far out on both sides, h beyond 65504
    const HostPair x(values, tokens, columns);
    const Expected want = expected(w.host, x);
    const std::uint32_t stride = padded(rows / 2);
    const std::vector<std::uint16_t> zeros(std::size_t{tokens} * stride);
    for (const ProductShape shape : kShapes) {
      if (!has(shape)) continue;
      const DeviceMemory hi = upload(zeros);
      const DeviceMemory lo = upload(zeros);
      products().swiglu(w.matrix, x.pair(), tokens, {hi.as<__half>(), lo.as<__half>(), stride}, nullptr, shape);
      const auto found_hi = download<std::uint16_t>(hi.data(), zeros.size());
      const auto found_lo = download<std::uint16_t>(lo.data(), zeros.size());
      Worst worst;
      for (std::size_t t = 0; t < tokens; ++t) {
        for (std::size_t h = 0; h < stride; ++h) {
          const double found = double{f16_to_float(found_hi[t * stride + h])} + f16_to_float(found_lo[t * stride + h]);
          if (h >= rows / 2) {
            worst.see(found, 0, 0x1p-30, t, h);
            continue;
          }
          const std::size_t at = t * rows + h / 4 * 8 + h % 4;
          const double gate = want.sums[at];
          const double up = want.sums[at + 4];
          const double silu = gate / (1 + std::exp(-gate));
          const double value = double{kSwigluFactor} * silu * up;
          // Errors of the two sums (silu's slope is at most 1.1), of exp, of the split.
          const double allowed =
              kSwigluFactor * kTolerance * (1.1 * want.sizes[at] * std::abs(up) + std::abs(silu) * want.sizes[at + 4]) +
              0x1p-18 * std::abs(value) + 0x1p-24;
          worst.see(found, std::clamp(value, -65504.0, 65504.0), allowed, t, h);
        }
      }
      ASSERT_EQ(worst.verdict(), "") << text_of({16, 0}, rows, columns, tokens, shape);
    }
  }
};

TEST_P(CudaProductGates, GatesAndSplitsTheHiddenValues) {
  // 13 tiles: the last block of rows is not full, and the last 16 bytes of a token's hidden values are half a tile's.
  for (const std::uint32_t rows : {2U * 52, 2U * 224, 2U * 512}) {
    for (const std::uint32_t tokens : {1U, 20U, 150U}) {
      expect_gates(rows, tokens);
      if (HasFatalFailure()) return;
    }
  }
}

// What the race checker runs: more stages than there is room for at a time.
TEST_P(CudaProductGates, BriefEveryShape) {
  constexpr ProductShape kSplit[] = {ProductShape::split};
  for (const Format& format : {Format{16, 0}, Format{4, 64}, Format{6, 32}}) {
    expect_products(format, 72, 512, {33}, kShapes, false);
    expect_products(format, 72, 1024, {33}, kSplit, true);
    if (HasFatalFailure()) return;
  }
  expect_gates(104, 33);
}

INSTANTIATE_TEST_SUITE_P(Paths, CudaProductGates, testing::Values(Products::Path::wgmma, Products::Path::mma),
                         path_name);
INSTANTIATE_TEST_SUITE_P(Paths, CudaProduct, testing::Values(Products::Path::wgmma, Products::Path::mma), path_name);

class CudaRows : public GpuTest {};

TEST_F(CudaRows, LooksTokensUpExactly) {
  for (const Format& format : kFormats) {
    for (const std::uint32_t columns : {64U, 256U}) {
      if (columns % std::max(format.group, 1U) != 0) continue;
      const DeviceWeights w(50, columns, format, 12, 0.05F, 4.0F);
      const std::vector<std::int32_t> tokens = {0, 49, 7, 8, 8, 31};
      const DeviceMemory ids = upload(tokens);
      const DeviceMemory x(tokens.size() * columns * sizeof(float));
      embed_rows(w.matrix, ids.as<std::int32_t>(), static_cast<std::uint32_t>(tokens.size()), x.as<float>(), nullptr);
      const std::vector<float> found = download<float>(x.data(), tokens.size() * columns);
      for (std::size_t i = 0; i < found.size(); ++i) {
        const std::size_t row = static_cast<std::size_t>(tokens[i / columns]);
        ASSERT_EQ(found[i], 4.0F * static_cast<float>(w.host.exact[row * columns + i % columns]))
            << format.bits << " bits, groups of " << format.group << ", row " << row << ", column " << i % columns;
      }
    }
  }
}

TEST_F(CudaRows, NormsAreSplitIntoTwoHalves) {
  for (const std::uint32_t columns : {64U, 100U, 1024U, 2048U}) {
    const std::uint32_t count = 11;
    std::vector<float> x = random_floats(std::size_t{count} * columns, 13, 3.0F);
    for (std::uint32_t k = 0; k < columns; ++k) x[2 * columns + k] = 0;  // a row of zeros
    for (std::uint32_t k = 0; k < columns; ++k) x[3 * columns + k] *= 1.0e4F;
    const std::vector<float> weight = random_floats(columns, 14, 2.0F);
    const DeviceMemory in = upload(x);
    const DeviceMemory by = upload(weight);
    const std::uint32_t stride = padded(columns);
    const std::vector<std::uint16_t> before(std::size_t{count} * stride, 0x7e00);  // NaN
    const DeviceMemory hi = upload(before);
    const DeviceMemory lo = upload(before);
    norm_rows(in.as<float>(), by.as<float>(), 1e-6F, columns, count, {hi.as<__half>(), lo.as<__half>(), stride},
              nullptr);
    const auto found_hi = download<std::uint16_t>(hi.data(), before.size());
    const auto found_lo = download<std::uint16_t>(lo.data(), before.size());
    Worst worst;
    for (std::size_t t = 0; t < count; ++t) {
      double squares = 0;
      for (std::size_t k = 0; k < columns; ++k) squares += double{x[t * columns + k]} * x[t * columns + k];
      const double factor = 1 / std::sqrt(squares / columns + double{1e-6F});
      for (std::size_t k = 0; k < stride; ++k) {
        const double found = double{f16_to_float(found_hi[t * stride + k])} + f16_to_float(found_lo[t * stride + k]);
        const double want = k < columns ? x[t * columns + k] * factor * weight[k] : 0;
        worst.see(found, want, 0x1p-20 * std::abs(want) + 0x1p-24, t, k);
      }
    }
    ASSERT_EQ(worst.verdict(), "") << columns << " columns";
  }
}

TEST(CudaHostPack, RoundsToBinary16) {
  for (std::uint32_t half = 0; half < 0x7c00; ++half) {
    const double value = f16_to_float(static_cast<std::uint16_t>(half));
    ASSERT_EQ(half_of(value), half);
    ASSERT_EQ(half_of(-value), half == 0 ? 0U : half | 0x8000U);
    if (half + 1 < 0x7c00) {
      const double middle = (value + f16_to_float(static_cast<std::uint16_t>(half + 1))) / 2;
      ASSERT_EQ(half_of(middle), half % 2 == 0 ? half : half + 1);
    }
  }
  EXPECT_EQ(half_of(65519.9), 0x7bff);
  EXPECT_EQ(half_of(65520), 0x7c00);
}

}  // namespace
}  // namespace qwen35::cuda
