#include "sampling/logprobs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/error.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>
#include <vector>

namespace qwen35 {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<double> log_softmax(const std::vector<float>& logits) {
  long double sum = 0;
  float best = -kInfinity;
  for (const float logit : logits) best = std::max(best, logit);
  for (const float logit : logits) sum += std::exp(static_cast<long double>(logit) - best);
  std::vector<double> out;
  for (const float logit : logits) {
    out.push_back(static_cast<double>(static_cast<long double>(logit) - best - std::log(sum)));
  }
  return out;
}

std::vector<TokenId> ids(const std::vector<ScoredToken>& list) {
  std::vector<TokenId> out;
  for (const ScoredToken& item : list) out.push_back(item.token);
  return out;
}

TEST(Logprobs, AreTheLogSoftmax) {
  std::mt19937 random(5);
  // Odd lengths, narrow and very wide distributions, and the whole vocabulary.
  for (const std::size_t size : {1U, 2U, 15U, 16U, 17U, 1023U, 1025U, 5000U, 248320U}) {
    for (const float width : {0.001F, 3.0F, 60.0F}) {
      std::normal_distribution<float> normal(width, width);
      std::vector<float> logits(size);
      for (float& logit : logits) logit = normal(random);
      const std::vector<double> expected = log_softmax(logits);
      Logprobs logprobs(20);
      logprobs.note(logits);
      const auto chosen = static_cast<TokenId>(random() % size);
      const StepLogprobs step = logprobs.of(chosen);
      const auto tolerance = [](double value) { return 2e-6 + 2e-7 * std::abs(value); };
      const double of_chosen = expected[static_cast<std::size_t>(chosen)];
      EXPECT_EQ(step.chosen.token, chosen);
      EXPECT_NEAR(step.chosen.logprob, of_chosen, tolerance(of_chosen)) << size << ' ' << width;

      std::vector<TokenId> order(size);
      for (std::size_t i = 0; i < size; ++i) order[i] = static_cast<TokenId>(i);
      std::stable_sort(order.begin(), order.end(), [&](TokenId a, TokenId b) {
        return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
      });
      order.resize(std::min<std::size_t>(size, 20));
      ASSERT_EQ(ids(step.top), order);
      for (const ScoredToken& item : step.top) {
        const double of_item = expected[static_cast<std::size_t>(item.token)];
        EXPECT_NEAR(item.logprob, of_item, tolerance(of_item));
        EXPECT_LE(item.logprob, 2e-6F);
      }
    }
  }
}

TEST(Logprobs, TiesGoToTheLowerId) {
  Logprobs logprobs(3);
  logprobs.note(std::vector<float>(1000, 2.0F));
  const StepLogprobs step = logprobs.of(999);
  EXPECT_THAT(ids(step.top), testing::ElementsAre(0, 1, 2));
  EXPECT_NEAR(step.chosen.logprob, -std::log(1000.0), 1e-6);
}

TEST(Logprobs, WhatIsNotFiniteIsImpossible) {
  std::vector<float> logits(40, -kInfinity);
  logits[3] = 1;
  logits[20] = kNan;
  logits[21] = kInfinity;
  logits[39] = 1;
  Logprobs logprobs(5);
  logprobs.note(logits);
  EXPECT_NEAR(logprobs.of(3).chosen.logprob, std::log(0.5), 1e-6);
  EXPECT_EQ(logprobs.of(20).chosen.logprob, -kInfinity);
  EXPECT_EQ(logprobs.of(21).chosen.logprob, -kInfinity);
  EXPECT_THAT(ids(logprobs.of(0).top), testing::ElementsAre(3, 39));

  logprobs.note(std::vector<float>{3e38F, -3e38F});
  EXPECT_EQ(logprobs.of(0).chosen.logprob, 0);
  EXPECT_TRUE(std::isinf(logprobs.of(1).chosen.logprob));
  logprobs.note(std::vector<float>(3, kNan));
  EXPECT_EQ(logprobs.of(1).chosen.logprob, -kInfinity);
  EXPECT_TRUE(logprobs.of(1).top.empty());
}

TEST(Logprobs, NoteCopiesSoThatTheSamplerMayChangeTheLogits) {
  std::vector<float> logits = {1, 2, 3};
  Logprobs logprobs(1);
  logprobs.note(logits);
  logits.assign(3, -kInfinity);
  EXPECT_EQ(logprobs.of(0).top[0].token, 2);
}

TEST(Logprobs, RefusesCountsAndTokensOutOfRange) {
  EXPECT_THROW(Logprobs{-1}, Error);
  EXPECT_THROW(Logprobs{21}, Error);
  Logprobs logprobs(0);
  EXPECT_THROW(static_cast<void>(logprobs.of(0)), Error);
  logprobs.note(std::vector<float>{1, 2});
  EXPECT_TRUE(logprobs.of(1).top.empty());
  EXPECT_THROW(static_cast<void>(logprobs.of(2)), Error);
  EXPECT_THROW(static_cast<void>(logprobs.of(-1)), Error);
}

TEST(Logprobs, LargeVocabularyIsQuick) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 4);
  std::vector<float> logits(248320);
  for (float& logit : logits) logit = normal(random);
  Logprobs logprobs(20);
  double best_ms = 1e9;
  for (int i = 0; i < 20; ++i) {
    const auto start = std::chrono::steady_clock::now();
    logprobs.note(logits);
    const StepLogprobs step = logprobs.of(17);
    best_ms =
        std::min(best_ms, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    EXPECT_EQ(step.top.size(), 20U);
  }
  std::printf("log-probabilities with the best 20 of 248,320: %.3f ms\n", best_ms);
}

}  // namespace
}  // namespace qwen35
