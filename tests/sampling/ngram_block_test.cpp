#include "sampling/ngram_block.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/error.h>

#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <vector>

namespace qwen35 {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<TokenId> banned(NgramBlock& block) {
  const auto ids = block.banned();
  return {ids.begin(), ids.end()};
}

/// By definition: every x so that the last n - 1 tokens and x stand in `tokens` already.
std::vector<TokenId> banned_by_definition(const std::vector<TokenId>& tokens, std::size_t n) {
  std::set<TokenId> found;
  if (tokens.size() + 1 < n) return {};
  const std::vector<TokenId> tail(tokens.end() - static_cast<std::ptrdiff_t>(n - 1), tokens.end());
  for (std::size_t i = 0; i + n <= tokens.size(); ++i) {
    if (std::equal(tail.begin(), tail.end(), tokens.begin() + static_cast<std::ptrdiff_t>(i))) {
      found.insert(tokens[i + n - 1]);
    }
  }
  return {found.begin(), found.end()};
}

TEST(NgramBlock, BansWhatCameAfterTheSameTokens) {
  NgramBlock block(3);
  for (const TokenId id : {1, 2, 3, 1, 2}) block.push(id);
  EXPECT_THAT(banned(block), ElementsAre(3));
  block.push(4);
  EXPECT_THAT(banned(block), IsEmpty());
  block.push(1);
  block.push(2);
  EXPECT_THAT(banned(block), ElementsAre(3, 4));
}

TEST(NgramBlock, ZeroIsOffAndOtherLengthsAreRefused) {
  NgramBlock off(0);
  for (int i = 0; i < 10; ++i) off.push(7);
  EXPECT_THAT(banned(off), IsEmpty());
  off.pop(3);
  EXPECT_EQ(off.size(), 7U);
  for (const int n : {1, -1, 257, std::numeric_limits<int>::min(), std::numeric_limits<int>::max()}) {
    EXPECT_THROW(NgramBlock{n}, Error) << n;
  }
}

TEST(NgramBlock, BanSetsLogitsAndPassesOverForeignIds) {
  NgramBlock block(2);
  for (const TokenId id : {1, 2, 1, 99, 1, -5, 1}) block.push(id);
  std::vector<float> logits(4, 1.0F);
  EXPECT_EQ(block.ban(logits), 1U);
  EXPECT_TRUE(std::isinf(logits[2]) && logits[2] < 0);
  EXPECT_EQ(logits[0] + logits[1] + logits[3], 3.0F);
}

/// Random pushes and pops against the definition, with few tokens so that n-grams do come back.
TEST(NgramBlock, AgreesWithTheDefinitionThroughRollbacksAndCopies) {
  std::mt19937 random(3);
  for (const int n : {2, 3, 5, 9}) {
    NgramBlock block(n);
    std::vector<TokenId> tokens;
    for (int step = 0; step < 3000; ++step) {
      if (random() % 10 == 0) {
        const std::size_t count = random() % 40;
        block.pop(count);
        tokens.resize(tokens.size() - std::min(count, tokens.size()));
      } else {
        tokens.push_back(static_cast<TokenId>(random() % 3));
        block.push(tokens.back());
      }
      if (random() % 50 == 0) block = NgramBlock(block);
      ASSERT_EQ(block.size(), tokens.size());
      ASSERT_EQ(banned(block), banned_by_definition(tokens, static_cast<std::size_t>(n))) << n << " at " << step;
    }
  }
}

/// A model that wants the same twenty words over and over, held to the ban: no n-gram comes twice.
TEST(NgramBlock, NoNgramComesTwice) {
  NgramBlock block(4);
  std::vector<TokenId> tokens;
  for (int step = 0; step < 300; ++step) {
    std::vector<float> logits(20);
    for (std::size_t id = 0; id < 20; ++id) logits[id] = static_cast<float>((id + tokens.size()) % 20);
    block.ban(logits);
    const auto best = std::max_element(logits.begin(), logits.end());
    if (std::isinf(*best)) break;
    tokens.push_back(static_cast<TokenId>(best - logits.begin()));
    block.push(tokens.back());
  }
  ASSERT_GT(tokens.size(), 200U);
  std::set<std::vector<TokenId>> seen;
  for (auto at = tokens.begin(); at + 4 <= tokens.end(); ++at) EXPECT_TRUE(seen.emplace(at, at + 4).second);
}

}  // namespace
}  // namespace qwen35
