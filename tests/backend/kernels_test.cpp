// Every instruction set this machine has against the scalar twin: odd lengths, misaligned data, extreme values.

#include "backend/cpu/kernels/kernels.h"

#include <gtest/gtest.h>
#include <qwen35/error.h>

#include <cmath>
#include <cstdlib>
#include <limits>

#include "backend/cpu/kernels/dispatch.h"
#include "backend/random.h"
#include "base/half.h"

namespace qwen35::cpu {
namespace {

constexpr std::size_t kLengths[] = {1, 2, 3, 6, 7, 8, 15, 16, 17, 31, 64, 100, 129, 1000};

void expect_close(const std::vector<float>& got, const std::vector<float>& want, float tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], want[i], tolerance * (1.0F + std::fabs(want[i]))) << "at " << i;
  }
}

class KernelsTest : public testing::TestWithParam<const Kernels*> {
 protected:
  const Kernels& fast = *GetParam();
  const Kernels& scalar = *scalar_kernels();
};

TEST_P(KernelsTest, Elementwise) {
  for (const std::size_t n : kLengths) {
    // One float past an aligned start: misaligned for every vector width. One float more at the end must not be
    // touched.
    const auto a = random_floats(n + 2, 1, 3.0F);
    const auto b = random_floats(n + 2, 2, 3.0F);
    const auto check = [&](auto&& run, float tolerance) {
      auto x = a;
      auto y = a;
      run(fast, x.data() + 1);
      run(scalar, y.data() + 1);
      expect_close(x, y, tolerance);
      EXPECT_EQ(x.front(), a.front());
      EXPECT_EQ(x.back(), a.back());
    };
    check([&](const Kernels& k, float* x) { k.add(x, b.data() + 1, n); }, 0);
    check([&](const Kernels& k, float* x) { k.scale(x, 1.7F, n); }, 0);
    check([&](const Kernels& k, float* x) { k.axpby(x, 0.3F, b.data() + 1, -1.2F, n); }, 1e-6F);
    check([&](const Kernels& k, float* x) { k.silu_mul(x, b.data() + 1, n); }, 2e-6F);
    check([&](const Kernels& k, float* x) { k.mul_silu(x, b.data() + 1, n); }, 2e-6F);
    check([&](const Kernels& k, float* x) { k.mul_sigmoid(x, b.data() + 1, n); }, 2e-6F);
    check([&](const Kernels& k, float* x) { k.rms_norm(x, b.data() + 1, n, 1e-6F, x); }, 2e-6F);
    check([&](const Kernels& k, float* x) { k.l2_norm(x, n, 0.125F); }, 2e-6F);
    check([&](const Kernels& k, float* x) { k.decay_scale(x, 0.7F, -20.0F, b.data() + 1, n); }, 2e-6F);
  }
}

TEST_P(KernelsTest, SigmoidFamilyAtTheExtremes) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> extremes{0.0F,   -0.0F,   1e-30F, -1e-30F, 80.0F,   -80.0F,
                                    100.0F, -100.0F, 3e38F,  -3e38F,  infinity};
  std::vector<float> ones(extremes.size(), 1.0F);
  fast.mul_sigmoid(ones.data(), extremes.data(), ones.size());
  for (std::size_t i = 0; i < ones.size(); ++i) {
    EXPECT_NEAR(ones[i], 1.0 / (1.0 + std::exp(-static_cast<double>(extremes[i]))), 1e-6) << extremes[i];
  }
}

TEST_P(KernelsTest, SoftmaxBlock) {
  for (const std::size_t n : kLengths) {
    auto x = random_floats(n, 3, 10.0F);
    if (n > 2) x[n / 2] = -std::numeric_limits<float>::infinity();
    auto y = x;
    float high_x = -std::numeric_limits<float>::infinity();
    float high_y = high_x;
    const float sum_x = fast.softmax_block(x.data(), n, 0.3F, &high_x);
    const float sum_y = scalar.softmax_block(y.data(), n, 0.3F, &high_y);
    EXPECT_EQ(high_x, high_y);
    EXPECT_NEAR(sum_x, sum_y, 1e-5F * sum_y);
    expect_close(x, y, 2e-6F);
    if (n > 2) {
      EXPECT_EQ(x[n / 2], 0.0F);
    }
  }
}

TEST_P(KernelsTest, ConvolutionOfAnyTaps) {
  for (const std::size_t taps : {1U, 2U, 4U, 5U}) {
    for (const std::size_t n : kLengths) {
      const auto input = random_floats(taps * (n + 3), 4);
      const auto weights = random_floats(taps * (n + 5), 5);
      std::vector<const float*> rows(taps);
      for (std::size_t tap = 0; tap < taps; ++tap) rows[tap] = input.data() + tap * (n + 3) + tap % 3;
      std::vector<float> x(n);
      std::vector<float> y(n);
      fast.conv_silu(rows.data(), weights.data(), n + 5, taps, n, x.data());
      scalar.conv_silu(rows.data(), weights.data(), n + 5, taps, n, y.data());
      expect_close(x, y, 2e-6F);
    }
  }
}

TEST_P(KernelsTest, HalfPrecisionIsExact) {
  auto values = random_floats(1000, 6, 100.0F);
  values[1] = 1e-7F;
  values[2] = 70000.0F;
  values[3] = -65519.9F;
  values[4] = 5.9e-8F;
  for (const std::size_t n : kLengths) {
    std::vector<std::uint16_t> x(n);
    std::vector<std::uint16_t> y(n);
    fast.to_f16(values.data(), x.data(), n);
    scalar.to_f16(values.data(), y.data(), n);
    EXPECT_EQ(x, y);
    std::vector<float> back_x(n);
    std::vector<float> back_y(n);
    fast.from_f16(x.data(), back_x.data(), n);
    scalar.from_f16(x.data(), back_y.data(), n);
    EXPECT_EQ(back_x, back_y);
  }
}

TEST_P(KernelsTest, SplitIntoTwoBfloats) {
  auto values = random_floats(1000, 23, 100.0F);
  values[1] = 1e38F;
  values[2] = std::numeric_limits<float>::infinity();
  values[3] = 1.00390625F;  // halfway: to even
  values[4] = 1.01171875F;
  for (const std::size_t n : kLengths) {
    for (const std::size_t width : {1U, 4U}) {
      const std::size_t steps = (n + kSplitColumns - 1) / kSplitColumns;
      std::vector<std::uint16_t> x(steps * 2 * kSplitColumns * width, 7);
      auto y = x;
      const std::size_t last = (width - 1) * 2 * kSplitColumns;
      fast.split_row(values.data(), n, width, x.data() + last);
      scalar.split_row(values.data(), n, width, y.data() + last);
      EXPECT_EQ(x, y);
      for (std::size_t i = 0; i < n; ++i) {
        const std::uint16_t* at = x.data() + last + i / kSplitColumns * 2 * kSplitColumns * width + i % kSplitColumns;
        if (!std::isfinite(values[i])) continue;
        EXPECT_NEAR(bf16_to_float(at[0]) + bf16_to_float(at[kSplitColumns]), values[i],
                    std::fabs(values[i]) * 0x1p-16F);
      }
    }
  }
}

TEST_P(KernelsTest, BfloatProducts) {
  if (fast.bf16_matmul == nullptr) GTEST_SKIP() << fast.name << " has none";
  for (const std::size_t rows : {1U, 4U, 17U, 48U, 70U}) {
    for (const std::size_t cols : {1U, 31U, 32U, 100U, 256U}) {
      const auto floats = random_floats(rows * cols, 24);
      std::vector<std::uint16_t> w(floats.size());
      for (std::size_t i = 0; i < w.size(); ++i) w[i] = float_to_bf16(floats[i]);
      const std::size_t tokens = 15;
      const auto inputs = random_floats(tokens * cols, 25);
      const std::size_t row_values = (cols + kSplitColumns - 1) / kSplitColumns * 2 * kSplitColumns;
      const std::size_t width = fast.tile;
      std::vector<std::uint16_t> x(tokens * row_values);
      for (std::size_t t = 0; t < tokens; ++t) {
        const std::size_t first = t / width * width;
        scalar.split_row(inputs.data() + t * cols, cols, std::min(width, tokens - first),
                         x.data() + first * row_values + (t - first) * 2 * kSplitColumns);
      }
      const SplitRows all{x.data(), tokens, width};
      std::vector<float> want(tokens * rows);
      scalar.bf16_matmul(w.data(), cols, 0, rows, all, {want.data(), rows, rows, 0});
      std::vector<float> got(tokens * rows, -9.0F);
      const std::size_t half = rows > 32 ? 32 : 0;
      fast.bf16_matmul(w.data(), cols, 0, half, all, {got.data(), rows, rows, 0});
      fast.bf16_matmul(w.data(), cols, half, rows, all, {got.data(), rows, rows, 0});
      expect_close(got, want, 2e-5F);
      // A token alone gives the same bits.
      std::vector<std::uint16_t> row(row_values);
      scalar.split_row(inputs.data() + 14 * cols, cols, 1, row.data());
      std::vector<float> alone(rows);
      fast.bf16_matmul(w.data(), cols, 0, rows, {row.data(), 1, 1}, {alone.data(), rows, rows, 0});
      EXPECT_TRUE(std::equal(alone.begin(), alone.end(), got.begin() + static_cast<std::ptrdiff_t>(14 * rows)));
    }
  }
}

TEST_P(KernelsTest, MatrixProducts) {
  const std::size_t shapes[][3] = {{1, 1, 1},    {1, 5, 16},    {4, 4, 64}, {5, 7, 33},
                                   {3, 70, 100}, {64, 64, 128}, {9, 17, 31}};
  for (const auto& [m, n, k] : shapes) {
    const auto a = random_floats(m * (k + 1), 7);
    const auto b = random_floats(n * (k + 3), 8);
    std::vector<std::uint16_t> bf16(b.size());
    std::vector<std::uint16_t> f16(b.size());
    for (std::size_t i = 0; i < b.size(); ++i) {
      bf16[i] = float_to_bf16(b[i]);
      f16[i] = float_to_f16(b[i]);
    }
    const std::pair<Element, const void*> forms[] = {
        {Element::f32, b.data()}, {Element::bf16, bf16.data()}, {Element::f16, f16.data()}};
    for (const auto& [element, data] : forms) {
      std::vector<float> x(m * (n + 2), 9.0F);
      auto y = x;
      fast.gemm_nt(m, n, k, a.data(), k + 1, element, data, k + 3, x.data(), n + 2);
      scalar.gemm_nt(m, n, k, a.data(), k + 1, element, data, k + 3, y.data(), n + 2);
      expect_close(x, y, 2e-5F);
    }
    const auto c = random_floats(k * (n + 1), 10);
    std::vector<std::uint16_t> c_f16(c.size());
    for (std::size_t i = 0; i < c.size(); ++i) c_f16[i] = float_to_f16(c[i]);
    const std::pair<Element, const void*> columns[] = {{Element::f32, c.data()}, {Element::f16, c_f16.data()}};
    for (const auto& [element, data] : columns) {
      for (const bool accumulate : {false, true}) {
        std::vector<float> x(m * (n + 2), 0.5F);
        auto y = x;
        fast.gemm_nn(m, n, k, a.data(), k + 1, element, data, n + 1, x.data(), n + 2, accumulate);
        scalar.gemm_nn(m, n, k, a.data(), k + 1, element, data, n + 1, y.data(), n + 2, accumulate);
        expect_close(x, y, 2e-5F);
      }
    }
  }
}

TEST_P(KernelsTest, DeltaStepAndTriangularSolve) {
  for (const auto& [dk, dv] : {std::pair<std::size_t, std::size_t>{32, 32}, {64, 128}, {128, 128}, {5, 19}, {16, 65}}) {
    const auto s = random_floats(dk * dv, 11);
    auto q = random_floats(dk, 12);
    auto k = random_floats(dk, 13);
    scalar.l2_norm(q.data(), dk, 1.0F);
    scalar.l2_norm(k.data(), dk, 1.0F);
    const auto v = random_floats(dv, 14);
    auto s_x = s;
    auto s_y = s;
    std::vector<float> x(dv);
    std::vector<float> y(dv);
    fast.delta_step(s_x.data(), dk, dv, q.data(), k.data(), v.data(), 0.9F, 0.4F, x.data());
    scalar.delta_step(s_y.data(), dk, dv, q.data(), k.data(), v.data(), 0.9F, 0.4F, y.data());
    expect_close(x, y, 1e-5F);
    expect_close(s_x, s_y, 1e-5F);

    const auto a = random_floats(dk * (dk + 1), 15, 0.1F);
    auto u_x = random_floats(dk * (dv + 1), 16);
    auto u_y = u_x;
    fast.solve_lower(dk, dv, a.data(), dk + 1, u_x.data(), dv + 1);
    scalar.solve_lower(dk, dv, a.data(), dk + 1, u_y.data(), dv + 1);
    expect_close(u_x, u_y, 1e-4F);
  }
}

TEST_P(KernelsTest, QuantizesRowsAlike) {
  for (const std::size_t group : {32U, 64U, 128U}) {
    auto x = random_floats(4 * group + 1, 17);
    x[2] = std::numeric_limits<float>::quiet_NaN();
    x[3] = std::numeric_limits<float>::infinity();
    x[4] = -3e38F;
    for (std::size_t i = 1 + group; i < 1 + 2 * group; ++i) x[i] = 0;
    for (std::size_t i = 1 + 2 * group; i < 1 + 3 * group; ++i) x[i] *= 1e-42F;  // subnormal
    for (const std::size_t width : {1U, 3U, 6U}) {
      // The last token of a tile: its neighbours' places must not be touched.
      std::vector<std::int8_t> values_x(8 * group * width, 99);
      auto values_y = values_x;
      std::vector<float> scales_x(4 * width, -1.0F);
      auto scales_y = scales_x;
      auto sums_x = scales_x;
      auto sums_y = scales_x;
      const std::size_t last = width - 1;
      fast.quantize_row(x.data() + 1, 4 * group, group, width, values_x.data() + 8 * last, scales_x.data() + last,
                        sums_x.data() + last);
      scalar.quantize_row(x.data() + 1, 4 * group, group, width, values_y.data() + 8 * last, scales_y.data() + last,
                          sums_y.data() + last);
      EXPECT_EQ(values_x, values_y);
      EXPECT_EQ(scales_x, scales_y);
      EXPECT_EQ(sums_x, sums_y);
    }
  }
}

std::vector<const Kernels*> vector_tables() {
  auto tables = supported_kernels();
  tables.erase(tables.begin());
  return tables;
}

INSTANTIATE_TEST_SUITE_P(All, KernelsTest, testing::ValuesIn(vector_tables()),
                         [](const auto& table) { return std::string(table.param->name); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(KernelsTest);

TEST(Dispatch, ObeysTheEnvironment) {
  for (const Kernels* table : supported_kernels()) {
    setenv("QWEN35_ISA", table->name, 1);
    EXPECT_EQ(&select_kernels(), table);
  }
  setenv("QWEN35_ISA", "quantum", 1);
  EXPECT_THROW(select_kernels(), Error);
  unsetenv("QWEN35_ISA");
  EXPECT_EQ(&select_kernels(), supported_kernels().back());
}

}  // namespace
}  // namespace qwen35::cpu
