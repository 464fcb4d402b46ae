// Products whose sums are cut into parts (ProductShape::split), and which shape a product takes by itself.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "backend/cuda/prefill/product.h"
#include "product_helpers.h"

namespace qwen35::cuda {
namespace {

class CudaProductSplit : public CudaProduct {};

// 2 parts; 8 of one unit; 6 of two units, the last of one.
constexpr std::uint32_t kSplitColumns[] = {192, 1024, 1408};
constexpr Format kSplitFormats[] = {{16, 0}, {4, 64}, {5, 32}, {6, 64}, {8, 32}};

TEST_P(CudaProductSplit, IsTheProductWhenTheSumsAreSplit) {
  constexpr ProductShape kSplit[] = {ProductShape::split};
  for (const Format& format : kSplitFormats) {
    for (const std::uint32_t rows : {40U, 328U}) {
      for (const std::uint32_t columns : kSplitColumns) {
        for (const bool add : {false, true}) {
          expect_products(format, rows, columns, {1, 20, 33, 63}, kSplit, add);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(CudaProductSplit, ATokenDoesNotDependOnItsNeighboursWhenTheSumsAreSplit) {
  constexpr std::uint32_t kTokens = 63;
  for (const Format& format : {Format{16, 0}, Format{4, 64}}) {
    for (const std::uint32_t columns : kSplitColumns) {
      const std::uint32_t rows = 328;
      const DeviceWeights w(rows, columns, format, 23);
      ASSERT_GT(split_of(w.matrix).parts, 1U);
      const HostPair x(random_floats(std::size_t{kTokens} * columns, 24), kTokens, columns);
      const DeviceMemory out(std::size_t{kTokens} * rows * sizeof(float));
      products().store(w.matrix, x.pair(), kTokens, out.as<float>(), rows, nullptr, ProductShape::split);
      const std::vector<float> all = download<float>(out.data(), std::size_t{kTokens} * rows);
      for (const std::uint32_t length : {1U, 9U, 32U, 40U}) {
        for (std::uint32_t first = 0; first + length <= kTokens; first += 11) {
          check(cudaMemset(out.data(), 0xff, out.bytes()), "clearing");
          products().store(w.matrix, x.pair(first), length, out.as<float>(), rows, nullptr, ProductShape::split);
          const std::vector<float> part = download<float>(out.data(), std::size_t{length} * rows);
          ASSERT_EQ(std::memcmp(part.data(), &all[std::size_t{first} * rows], part.size() * sizeof(float)), 0)
              << text_of(format, rows, columns, length, ProductShape::split) << ", first " << first;
        }
      }
    }
  }
}

TEST(CudaProductParts, CutsSumsOfFewRowsIntoWholeUnitsAndLeavesOthersWhole) {
  const auto split = [](std::uint32_t rows, std::uint32_t columns) {
    Matrix w;
    w.rows = rows;
    w.units = padded(columns) / kUnitColumns;
    return split_of(w);
  };
  EXPECT_EQ(split(1024, 2048).parts, 8U);
  EXPECT_EQ(split(1024, 2048).units, 2U);
  EXPECT_EQ(split(1024, 3584).parts, 7U);
  EXPECT_EQ(split(1024, 3584).units, 4U);
  EXPECT_EQ(split(5120, 1024).parts, 1U);
  EXPECT_EQ(split(8224, 1024).parts, 1U);
  EXPECT_EQ(split(64, 64).parts, 1U);
  for (const std::uint32_t rows : {8U, 64U, 1000U, 2048U, 4096U, 4097U, 100000U}) {
    for (std::uint32_t columns = 64; columns <= 8192; columns += 64) {
      const ProductSplit cut = split(rows, columns);
      const std::uint32_t units = padded(columns) / kUnitColumns;
      ASSERT_GE(cut.parts, 1U);
      ASSERT_LE(cut.parts, kMostParts);
      ASSERT_GE(cut.parts * cut.units, units) << rows << " x " << columns;
      ASSERT_LT((cut.parts - 1) * cut.units, units) << rows << " x " << columns;  // none is empty
    }
  }
}

// The shapes that were fastest on an H100 (bench/cuda_products.cpp), for the matrices of 0.8B.
TEST(CudaProductChoice, IsTheFastestMeasured) {
  DeviceInfo device;
  device.major = 9;
  device.multiprocessors = 132;
  const Products products(device, Products::Path::wgmma);
  for (const std::uint32_t bits : {16U, 4U}) {
    for (const auto& [rows, columns] :
         {std::pair{8224U, 1024U}, {5120U, 1024U}, {1024U, 2048U}, {7168U, 1024U}, {1024U, 3584U}}) {
      Matrix w;
      w.rows = rows;
      w.units = columns / kUnitColumns;
      w.bits = bits;
      const std::string which =
          std::to_string(bits) + " bits, " + std::to_string(rows) + " x " + std::to_string(columns);
      EXPECT_EQ(products.choose(w, 20), ProductShape::r64_t32) << which;
      const ProductShape at_512 = rows == 1024                ? ProductShape::r64_t32
                                  : rows == 5120 && bits == 4 ? ProductShape::r64_t64
                                                              : ProductShape::r128_t128;
      EXPECT_EQ(products.choose(w, 512), at_512) << which;
      EXPECT_EQ(products.choose(w, 4096), ProductShape::r128_t128) << which;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Paths, CudaProductSplit, testing::Values(Products::Path::wgmma, Products::Path::mma),
                         path_name);

}  // namespace
}  // namespace qwen35::cuda
