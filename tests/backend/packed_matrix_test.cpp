#include "backend/cpu/packed_matrix.h"

#include <gtest/gtest.h>

#include <cmath>

#include "backend/cpu/activations.h"
#include "backend/cpu/kernels/dispatch.h"
#include "backend/random.h"
#include "base/half.h"

namespace qwen35::cpu {
namespace {

const ModelWeights kNoMap;  // the test's matrices are not in a file

/// A random affine matrix in MLX's layout, with the storage it points into.
struct TestMatrix {
  std::vector<std::uint32_t> packed;
  std::vector<std::uint16_t> scales;
  std::vector<std::uint16_t> biases;
  WeightMatrix matrix;

  TestMatrix(std::size_t rows, std::size_t cols, int bits, int group, bool f16, unsigned seed) {
    std::mt19937 engine(seed);
    packed.resize(rows * cols * static_cast<std::size_t>(bits) / 32);
    for (auto& word : packed) word = static_cast<std::uint32_t>(engine());
    const auto values = random_floats(2 * rows * cols / static_cast<std::size_t>(group), seed + 1, 0.05F);
    for (std::size_t i = 0; i < values.size(); i += 2) {
      scales.push_back(f16 ? float_to_f16(values[i]) : float_to_bf16(values[i]));
      biases.push_back(f16 ? float_to_f16(values[i + 1]) : float_to_bf16(values[i + 1]));
    }
    matrix = {
        "test", rows, cols,
        AffineMatrix{bits, group, packed.data(), f16 ? FloatType::f16 : FloatType::bf16, scales.data(), biases.data()}};
  }
};

class PackedMatrixTest : public testing::TestWithParam<int> {};

TEST_P(PackedMatrixTest, HoldsTheSameValues) {
  ThreadPool pool(2);
  for (const int group : {32, 64, 128}) {
    for (const std::size_t rows : {1U, 16U, 37U}) {
      const TestMatrix test(rows, 256, GetParam(), group, group == 64, 1);
      Arena arena(PackedMatrix::packed_bytes(test.matrix) + 64);
      const PackedMatrix packed(test.matrix, {kNoMap, true, *scalar_kernels(), pool, arena});
      std::vector<float> want(256);
      std::vector<float> got(256);
      for (std::size_t row = 0; row < rows; ++row) {
        test.matrix.row(row, want.data());
        packed.row(row, got.data());
        ASSERT_EQ(got, want) << "row " << row << " group " << group;
      }
    }
  }
}

/// Every instruction set against the scalar kernel, for any number of tokens and threads; and the scalar one against
/// float32 on the dequantised weights.
TEST_P(PackedMatrixTest, ProductsAgree) {
  constexpr std::size_t kCols = 384;
  for (const int group : {32, 64, 128}) {
    for (const std::size_t rows : {5U, 16U, 50U}) {
      for (const std::size_t tokens : {1U, 3U, 4U, 13U}) {
        const TestMatrix test(rows, kCols, GetParam(), group, group == 32, 2);
        const auto x = random_floats(tokens * kCols, 3);
        std::vector<float> want;
        for (const Kernels* kernels : supported_kernels()) {
          for (const int threads : {1, 3}) {
            ThreadPool pool(threads);
            Arena arena(PackedMatrix::packed_bytes(test.matrix) + 64);
            const PackedMatrix packed(test.matrix, {kNoMap, true, *scalar_kernels(), pool, arena});
            const PackedMatrix plain(test.matrix, {kNoMap, false, *scalar_kernels(), pool, arena});
            const PackedMatrix* matrices[] = {&packed, &plain};
            Activations activations;
            activations.prepare(tokens, kCols, matrices, *kernels);
            activations.write_all(x.data(), pool);
            std::vector<float> y(tokens * (rows + 3), -7.0F);
            const Product product[] = {{&packed, {y.data(), rows + 3, rows, 0}}};
            multiply(product, activations, *kernels, pool);
            if (want.empty()) {
              want = y;
              std::vector<float> exact(tokens * (rows + 3), -7.0F);
              const Product exact_product[] = {{&plain, {exact.data(), rows + 3, rows, 0}}};
              multiply(exact_product, activations, *kernels, pool);
              double error = 0;
              double norm = 0;
              for (std::size_t i = 0; i < y.size(); ++i) {
                error += std::pow(static_cast<double>(y[i] - exact[i]), 2);
                norm += std::pow(static_cast<double>(exact[i]), 2);
              }
              EXPECT_LT(std::sqrt(error / norm), 1e-4);
            }
            for (std::size_t i = 0; i < y.size(); ++i)
              ASSERT_NEAR(y[i], want[i], 1e-3F) << kernels->name << " at " << i;
          }
        }
      }
    }
  }
}

/// The integer sums at their largest, compared with float64: every quant the highest, the activations all of one sign
/// and as large as they go, or with the low bytes at their ends (32383 = 256 · 126 + 127, 32384 = 256 · 127 − 128).
TEST_P(PackedMatrixTest, TheLargestSumsStayExact) {
  constexpr std::size_t kCols = 256;
  TestMatrix test(20, kCols, GetParam(), 128, false, 8);
  for (auto& word : test.packed) word = 0xFFFFFFFFU;
  std::vector<float> x;
  for (const float level : {32512.0F, -32512.0F, 32383.0F, -32383.0F, 32384.0F, -32384.0F}) {
    for (std::size_t i = 0; i < kCols; ++i) x.push_back(i % 128 == 0 ? 32512.0F : level);
  }
  const std::size_t tokens = x.size() / kCols;
  std::vector<float> want;
  for (const Kernels* kernels : supported_kernels()) {
    ThreadPool pool(1);
    Arena arena(PackedMatrix::packed_bytes(test.matrix) + 64);
    const PackedMatrix packed(test.matrix, {kNoMap, true, *scalar_kernels(), pool, arena});
    const PackedMatrix* matrices[] = {&packed};
    Activations activations;
    activations.prepare(tokens, kCols, matrices, *kernels);
    activations.write_all(x.data(), pool);
    std::vector<float> y(tokens * 20);
    const Product products[] = {{&packed, row_major(y.data(), packed)}};
    multiply(products, activations, *kernels, pool);
    if (want.empty()) {
      // Scales of 1 make the activations the integers themselves; float64 holds every sum.
      for (std::size_t t = 0; t < tokens; ++t) {
        for (std::size_t row = 0; row < 20; ++row) {
          double sum = 0;
          for (std::size_t i = 0; i < kCols; ++i) {
            const AffineGroup g = packed_group(packed.packed(), row, i / 128);
            sum += (static_cast<double>(g.scale) * ((1 << GetParam()) - 1) + static_cast<double>(g.bias)) *
                   static_cast<double>(x[t * kCols + i]);
          }
          want.push_back(static_cast<float>(sum));
        }
      }
    }
    // What rounding the two groups' terms may leave; a lost carry leaves 256 times a scale of about 0.05 and more.
    const float largest = 0.2F * static_cast<float>((1 << GetParam()) - 1) * kCols * 32512.0F;
    for (std::size_t i = 0; i < y.size(); ++i)
      ASSERT_NEAR(y[i], want[i], 3e-7F * largest) << kernels->name << " at " << i;
  }
}

TEST_P(PackedMatrixTest, ATokenDoesNotDependOnItsNeighbours) {
  const TestMatrix test(40, 256, GetParam(), 64, false, 4);
  const auto x = random_floats(11 * 256, 5);
  for (const Kernels* kernels : supported_kernels()) {
    ThreadPool pool(2);
    Arena arena(PackedMatrix::packed_bytes(test.matrix) + 64);
    const PackedMatrix packed(test.matrix, {kNoMap, true, *scalar_kernels(), pool, arena});
    const PackedMatrix* matrices[] = {&packed};
    const auto product = [&](const float* rows, std::size_t tokens) {
      Activations activations;
      activations.prepare(tokens, 256, matrices, *kernels);
      activations.write_all(rows, pool);
      std::vector<float> y(tokens * 40);
      const Product products[] = {{&packed, row_major(y.data(), packed)}};
      multiply(products, activations, *kernels, pool);
      return y;
    };
    const auto together = product(x.data(), 11);
    for (std::size_t t = 0; t < 11; ++t) {
      const auto alone = product(x.data() + t * 256, 1);
      EXPECT_TRUE(std::equal(alone.begin(), alone.end(), together.begin() + static_cast<std::ptrdiff_t>(t * 40)))
          << kernels->name;
    }
  }
}

TEST_P(PackedMatrixTest, PanelsHoldTheSameResults) {
  const TestMatrix test(96, 256, GetParam(), 64, false, 6);
  const auto x = random_floats(100 * 256, 7);
  for (const Kernels* kernels : supported_kernels()) {
    ThreadPool pool(2);
    Arena arena(PackedMatrix::packed_bytes(test.matrix) + 64);
    const PackedMatrix packed(test.matrix, {kNoMap, true, *kernels, pool, arena});
    const PackedMatrix* matrices[] = {&packed};
    Activations activations;
    activations.prepare(100, 256, matrices, *kernels);
    activations.write_all(x.data(), pool);
    std::vector<float> rows(100 * 96);
    std::vector<float> panels(100 * 96);
    const Product products[] = {{&packed, row_major(rows.data(), packed)},
                                {&packed, {panels.data(), 32, 32, 100 * 32}}};
    multiply(products, activations, *kernels, pool);
    for (std::size_t t = 0; t < 100; ++t) {
      for (std::size_t row = 0; row < 96; ++row)
        ASSERT_EQ(panels[row / 32 * 3200 + t * 32 + row % 32], rows[t * 96 + row]) << kernels->name;
    }
  }
}

TEST(Arena, RefusesMoreThanItReserved) {
  Arena arena(3 * 64);
  std::uint8_t* first = arena.take(100);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first) % 64, 0U);
  EXPECT_EQ(arena.take(64), first + 128);
  EXPECT_THROW(arena.take(1), std::bad_alloc);
  EXPECT_THROW(Arena(std::size_t{0} - 1), std::bad_alloc);
  Arena empty(0);
  EXPECT_THROW(empty.take(1), std::bad_alloc);
}

INSTANTIATE_TEST_SUITE_P(Bits, PackedMatrixTest, testing::Values(2, 3, 4, 5, 6, 8));

}  // namespace
}  // namespace qwen35::cpu
