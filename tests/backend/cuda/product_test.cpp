// Products of many tokens with packed weights, and what goes on around them, against float64 on the host.

#include "backend/cuda/product.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "backend/cuda/rows.h"
#include "product_helpers.h"

namespace qwen35::cuda {
namespace {

constexpr ProductShape kShapes[] = {ProductShape::r256_t128, ProductShape::r128_t128, ProductShape::r128_t64,
                                    ProductShape::r64_t64,   ProductShape::r64_t32,   ProductShape::automatic};

constexpr float kUntouched = 12345.0F;

TEST_P(CudaProduct, IsTheProductForEveryFormatAndShape) {
  for (const Format& format : kFormats) {
    for (const std::uint32_t rows : {8U, 40U, 64U, 200U, 1024U}) {
      for (const std::uint32_t columns : {64U, 192U, 1024U}) {
        if (columns % std::max(format.group, 1U) != 0) continue;
        const std::uint32_t most = rows * columns <= 200U * 1024U ? 300 : 65;
        const HostMatrix w = random_matrix(rows, columns, format.bits, format.group, rows + columns, 0.05F, 0.25F);
        const HostPair x(normal_values(std::size_t{most} * columns, columns), most, columns);
        const Expected want = expected(w, x);
        const DeviceMemory weights = upload(w.bytes);
        Matrix matrix = w.matrix;
        matrix.data = weights.as<std::uint8_t>();
        const std::uint32_t stride = rows + 3;
        const std::vector<float> before(std::size_t{most + 1} * stride, kUntouched);
        for (const std::uint32_t tokens : {1U, 9U, 64U, 65U, 300U}) {
          if (tokens > most) continue;
          for (const ProductShape shape : kShapes) {
            if (!has(shape)) continue;
            const DeviceMemory out = upload(before);
            products().store(matrix, x.pair(), tokens, out.as<float>(), stride, nullptr, shape);
            const std::vector<float> found = download<float>(out.data(), before.size());
            Worst worst;
            std::size_t touched = 0;
            for (std::size_t t = 0; t <= most; ++t) {
              for (std::size_t r = 0; r < stride; ++r) {
                const float value = found[t * stride + r];
                if (t < tokens && r < rows) {
                  worst.see(value, want.sums[t * rows + r], kTolerance * want.sizes[t * rows + r], t, r);
                } else if (value != kUntouched) {
                  ++touched;
                }
              }
            }
            ASSERT_EQ(worst.verdict(), "") << text_of(format, rows, columns, tokens, shape);
            ASSERT_EQ(touched, 0U) << text_of(format, rows, columns, tokens, shape);
          }
        }
      }
    }
  }
}

TEST_P(CudaProduct, ATokenDependsNeitherOnItsNeighboursNorOnTheShape) {
  constexpr std::uint32_t kTokens = 300;
  for (const Format& format : {Format{16, 0}, Format{4, 64}, Format{5, 32}, Format{6, 128}, Format{8, 64}}) {
    const std::uint32_t rows = 328;
    const std::uint32_t columns = 640;
    const HostMatrix w = random_matrix(rows, columns, format.bits, format.group, 3);
    const HostPair x(normal_values(std::size_t{kTokens} * columns, 4), kTokens, columns);
    const DeviceMemory weights = upload(w.bytes);
    Matrix matrix = w.matrix;
    matrix.data = weights.as<std::uint8_t>();
    const DeviceMemory out(std::size_t{kTokens} * rows * sizeof(float));
    products().store(matrix, x.pair(), kTokens, out.as<float>(), rows, nullptr);
    const std::vector<float> all = download<float>(out.data(), std::size_t{kTokens} * rows);
    for (const ProductShape shape : kShapes) {
      if (!has(shape)) continue;
      for (const std::uint32_t length : {1U, 7U, 64U, 100U, 300U}) {
        for (std::uint32_t first = 0; first + length <= kTokens; first += 67) {
          check(cudaMemset(out.data(), 0xff, out.bytes()), "clearing");
          products().store(matrix, x.pair(first), length, out.as<float>(), rows, nullptr, shape);
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
  std::vector<float> values = normal_values(std::size_t{kTokens} * columns, 5);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t token = i / columns;
    if (token % 3 == 0) values[i] = (values[i] < 0 ? -1.0F : 1.0F) * (6.0e4F + values[i] * 100);
    if (token % 3 == 1) values[i] *= 3.0e-6F;
  }
  const HostPair x(values, kTokens, columns);
  for (const Format& format : {Format{16, 0}, Format{4, 64}, Format{8, 32}}) {
    const HostMatrix w = random_matrix(rows, columns, format.bits, format.group, 6, 1.0F, 0.5F);
    const Expected want = expected(w, x);
    const DeviceMemory weights = upload(w.bytes);
    Matrix matrix = w.matrix;
    matrix.data = weights.as<std::uint8_t>();
    for (const ProductShape shape : kShapes) {
      if (!has(shape)) continue;
      const DeviceMemory out(std::size_t{kTokens} * rows * sizeof(float));
      products().store(matrix, x.pair(), kTokens, out.as<float>(), rows, nullptr, shape);
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
  const HostMatrix w = random_matrix(80, 192, 4, 64, 20);
  std::vector<float> values = normal_values(std::size_t{90} * 192, 21);
  for (float& value : values) value = half_to_float(half_of(value));
  const HostPair x(values, 90, 192);
  const Expected want = expected(w, x);
  const DeviceMemory weights = upload(w.bytes);
  Matrix matrix = w.matrix;
  matrix.data = weights.as<std::uint8_t>();
  for (const ProductShape shape : {ProductShape::r256_t128, ProductShape::r64_t32}) {
    const DeviceMemory out(want.sums.size() * sizeof(float));
    HalfPair pair = x.pair();
    pair.lo = nullptr;
    products().store(matrix, pair, 90, out.as<float>(), 80, nullptr, shape);
    const std::vector<float> found = download<float>(out.data(), want.sums.size());
    Worst worst;
    for (std::size_t i = 0; i < found.size(); ++i) {
      worst.see(found[i], want.sums[i], kTolerance * want.sizes[i], i / 80, i % 80);
    }
    ASSERT_EQ(worst.verdict(), "") << "shape " << static_cast<int>(shape);
  }
}

TEST_P(CudaProduct, AddsToWhatIsThere) {
  for (const std::uint32_t tokens : {3U, 20U, 129U}) {
    const std::uint32_t rows = 136;
    const std::uint32_t columns = 320;
    const HostMatrix w = random_matrix(rows, columns, 4, 64, 7, 0.05F, 2.0F);
    const HostPair x(normal_values(std::size_t{tokens} * columns, 8), tokens, columns);
    const Expected want = expected(w, x);
    const DeviceMemory weights = upload(w.bytes);
    Matrix matrix = w.matrix;
    matrix.data = weights.as<std::uint8_t>();
    const std::vector<float> before = normal_values(std::size_t{tokens} * rows, 9);
    for (const ProductShape shape : kShapes) {
      if (!has(shape)) continue;
      const DeviceMemory out = upload(before);
      products().add(matrix, x.pair(), tokens, 16.0F, out.as<float>(), rows, nullptr, shape);
      const std::vector<float> found = download<float>(out.data(), before.size());
      Worst worst;
      for (std::size_t i = 0; i < found.size(); ++i) {
        const double sum = before[i] + 16.0 * want.sums[i];
        worst.see(found[i], sum, 16 * kTolerance * want.sizes[i] + 0x1p-23 * std::abs(sum), i / rows, i % rows);
      }
      ASSERT_EQ(worst.verdict(), "") << text_of({4, 64}, rows, columns, tokens, shape);
    }
  }
}

TEST_P(CudaProduct, GatesAndSplitsTheHiddenValues) {
  // 13 tiles: the last block of rows is not full, and the last 16 bytes of a token's hidden values are half a tile's.
  for (const std::uint32_t rows : {2U * 52, 2U * 224, 2U * 512}) {
    for (const std::uint32_t tokens : {1U, 20U, 150U}) {
      const std::uint32_t columns = 192;
      const HostMatrix w = random_matrix(rows, columns, 16, 0, 10, 0.2F, 0.5F);
      std::vector<float> values = normal_values(std::size_t{tokens} * columns, 11);
      for (std::uint32_t k = 0; k < columns; ++k) values[k] *= 400;  // gates far out on both sides, h beyond 65504
      const HostPair x(values, tokens, columns);
      const Expected want = expected(w, x);
      const DeviceMemory weights = upload(w.bytes);
      Matrix matrix = w.matrix;
      matrix.data = weights.as<std::uint8_t>();
      const std::uint32_t stride = padded(rows / 2);
      const std::vector<std::uint16_t> zeros(std::size_t{tokens} * stride);
      for (const ProductShape shape : kShapes) {
        if (!has(shape)) continue;
        const DeviceMemory hi = upload(zeros);
        const DeviceMemory lo = upload(zeros);
        products().swiglu(matrix, x.pair(), tokens, {hi.as<__half>(), lo.as<__half>(), stride}, nullptr, shape);
        const auto found_hi = download<std::uint16_t>(hi.data(), zeros.size());
        const auto found_lo = download<std::uint16_t>(lo.data(), zeros.size());
        Worst worst;
        for (std::size_t t = 0; t < tokens; ++t) {
          for (std::size_t h = 0; h < stride; ++h) {
            const double found =
                double{half_to_float(found_hi[t * stride + h])} + half_to_float(found_lo[t * stride + h]);
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
            const double allowed = kSwigluFactor * kTolerance *
                                       (1.1 * want.sizes[at] * std::abs(up) + std::abs(silu) * want.sizes[at + 4]) +
                                   0x1p-18 * std::abs(value) + 0x1p-24;
            worst.see(found, std::clamp(value, -65504.0, 65504.0), allowed, t, h);
          }
        }
        ASSERT_EQ(worst.verdict(), "") << text_of({16, 0}, rows, columns, tokens, shape);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Paths, CudaProduct, testing::Values(Products::Path::wgmma, Products::Path::mma), path_name);

TEST(CudaRows, LooksTokensUpExactly) {
  if (const std::string why = why_unusable(); !why.empty()) GTEST_SKIP() << why;
  for (const Format& format : kFormats) {
    for (const std::uint32_t columns : {64U, 256U}) {
      if (columns % std::max(format.group, 1U) != 0) continue;
      const HostMatrix w = random_matrix(50, columns, format.bits, format.group, 12, 0.05F, 4.0F);
      const DeviceMemory weights = upload(w.bytes);
      Matrix matrix = w.matrix;
      matrix.data = weights.as<std::uint8_t>();
      const std::vector<std::int32_t> tokens = {0, 49, 7, 8, 8, 31};
      const DeviceMemory ids = upload(tokens);
      const DeviceMemory x(tokens.size() * columns * sizeof(float));
      embed_rows(matrix, ids.as<std::int32_t>(), static_cast<std::uint32_t>(tokens.size()), x.as<float>(), nullptr);
      const std::vector<float> found = download<float>(x.data(), tokens.size() * columns);
      for (std::size_t i = 0; i < found.size(); ++i) {
        const std::size_t row = static_cast<std::size_t>(tokens[i / columns]);
        ASSERT_EQ(found[i], 4.0F * static_cast<float>(w.exact[row * columns + i % columns]))
            << format.bits << " bits, groups of " << format.group << ", row " << row << ", column " << i % columns;
      }
    }
  }
}

TEST(CudaRows, NormsAreSplitIntoTwoHalves) {
  if (const std::string why = why_unusable(); !why.empty()) GTEST_SKIP() << why;
  for (const std::uint32_t columns : {64U, 100U, 1024U, 2048U}) {
    const std::uint32_t count = 11;
    std::vector<float> x = normal_values(std::size_t{count} * columns, 13, 3.0F);
    for (std::uint32_t k = 0; k < columns; ++k) x[2 * columns + k] = 0;  // a row of zeros
    for (std::uint32_t k = 0; k < columns; ++k) x[3 * columns + k] *= 1.0e4F;
    const std::vector<float> weight = normal_values(columns, 14, 2.0F);
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
        const double found = double{half_to_float(found_hi[t * stride + k])} + half_to_float(found_lo[t * stride + k]);
        const double want = k < columns ? x[t * columns + k] * factor * weight[k] : 0;
        worst.see(found, want, 0x1p-20 * std::abs(want) + 0x1p-24, t, k);
      }
    }
    ASSERT_EQ(worst.verdict(), "") << columns << " columns";
  }
}

// The packer that the tests above believe: every value at the place that layout.h names.
TEST(CudaHostPack, PutsValuesWhereTheLayoutSaysTheyAre) {
  for (const Format& format : kFormats) {
    const HostMatrix w = random_matrix(19, 256, format.bits, format.group, 15);
    ASSERT_EQ(w.bytes.size(), std::size_t{3} * 2 * (value_bytes(format.bits) + scale_bytes(format.bits, format.group)));
    for (std::uint32_t row = 0; row < 19; ++row) {
      for (std::uint32_t column = 0; column < 256; ++column) {
        const std::uint8_t* unit = &w.bytes[(row / 8 * 2 + column / 128) * std::size_t{w.matrix.unit_bytes}];
        // Found from the lane's side: the (step, j) whose column it is.
        std::uint32_t lane = 4 * (row % 8);
        std::uint32_t step = 0;
        std::uint32_t j = 0;
        while (column_of(lane, step, j) != column % 128) {
          if (++j == 4) {
            j = 0;
            if (++step == 8) step = 0, ++lane;
          }
          ASSERT_LT(lane, 4 * (row % 8) + 4);
        }
        const std::uint32_t pair = 2 * step + j / 2;
        const std::uint32_t second = j % 2;
        const auto word = [&](std::size_t at) {
          std::uint32_t value = 0;
          std::memcpy(&value, unit + at, sizeof(value));
          return value;
        };
        float value = 0;
        if (format.bits == 16) {
          const std::uint32_t both = word(pair / 4 * 512 + lane * 16 + pair % 4 * 4);
          value = half_to_float(static_cast<std::uint16_t>(second != 0 ? both >> 16U : both & 0xffffU));
        } else {
          std::uint32_t q = 0;
          if (format.bits == 8) {
            q = word(step / 4 * 512 + lane * 16 + step % 4 * 4) >> (8 * j) & 255U;
          } else {
            q = word(lane * 16 + pair / 4 * 4) >> (4 * (pair % 4) + 16 * second) & 15U;
            if (format.bits == 5) q |= (word(512 + lane * 4) >> (pair + 16 * second) & 1U) << 4U;
            if (format.bits == 6) {
              q |= (word(512 + lane * 8 + pair / 8 * 4) >> (2 * (pair % 8) + 16 * second) & 3U) << 4U;
            }
          }
          const std::uint32_t scales =
              word(value_bytes(format.bits) + (row % 8 * (128 / format.group) + column % 128 / format.group) * 4);
          value = half_to_float(half_of(double{half_to_float(static_cast<std::uint16_t>(scales & 0xffffU))} * q +
                                        half_to_float(static_cast<std::uint16_t>(scales >> 16U))));
        }
        ASSERT_EQ(value, w.values[row * 256 + column]) << format.bits << " bits, row " << row << ", column " << column;
      }
    }
  }
}

TEST(CudaHostPack, RoundsToBinary16) {
  for (std::uint32_t half = 0; half < 0x7c00; ++half) {
    const double value = half_to_float(static_cast<std::uint16_t>(half));
    ASSERT_EQ(half_of(value), half);
    ASSERT_EQ(half_of(-value), half == 0 ? 0U : half | 0x8000U);
    if (half + 1 < 0x7c00) {
      const double middle = (value + half_to_float(static_cast<std::uint16_t>(half + 1))) / 2;
      ASSERT_EQ(half_of(middle), half % 2 == 0 ? half : half + 1);
    }
  }
  EXPECT_EQ(half_of(65519.9), 0x7bff);
  EXPECT_EQ(half_of(65520), 0x7c00);
}

}  // namespace
}  // namespace qwen35::cuda
