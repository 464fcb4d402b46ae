// Where values lie in a GPU's memory: every place once.

#include "backend/cuda/device/layout.h"

#include <gtest/gtest.h>

#include <set>

namespace qwen35::cuda {
namespace {

TEST(CudaLayout, APieceHoldsEveryValueOnce) {
  std::set<std::uint32_t> seen;
  for (std::uint32_t row = 0; row < 8; ++row) {
    for (std::uint32_t column = 0; column < 32; ++column) {
      const std::uint32_t index = piece_index(row, column);
      ASSERT_LT(index, 256U);
      seen.insert(index);
      // The same order as a lane's values in a unit of weights.
      const std::uint32_t lane = index / 8;
      EXPECT_EQ(lane / 4, row);
      EXPECT_EQ(column_of(lane, index % 8 / 4, index % 4), column);
    }
  }
  EXPECT_EQ(seen.size(), 256U);
}

TEST(CudaLayout, StripsHoldEveryKeyAndValueOnce) {
  for (const std::uint32_t head_dim : {32U, 64U, 256U}) {
    std::set<std::uint32_t> keys;
    std::set<std::uint32_t> values;
    for (std::uint32_t t = 0; t < kPageTokens; ++t) {
      for (std::uint32_t d = 0; d < head_dim; ++d) {
        keys.insert(key_index(t, d, head_dim));
        values.insert(value_index(t, d, head_dim));
      }
    }
    EXPECT_EQ(keys.size(), strip_halves(head_dim));
    EXPECT_EQ(*keys.rbegin(), strip_halves(head_dim) - 1);
    EXPECT_EQ(values.size(), strip_halves(head_dim));
    EXPECT_EQ(*values.rbegin(), strip_halves(head_dim) - 1);
  }
}

}  // namespace
}  // namespace qwen35::cuda
