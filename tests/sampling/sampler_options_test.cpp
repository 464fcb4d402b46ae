// min-p, presence and frequency penalties, logit bias.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/error.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "sampling/sampler.h"

namespace qwen35 {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

SamplerOptions plain(float temperature) {
  return {.temperature = temperature, .top_k = 0, .top_p = 1, .repetition_penalty = 1, .seed = 7};
}

TokenId draw(Sampler& sampler, std::vector<float> logits, const std::vector<TokenId>& generated = {}) {
  return sampler.sample(logits, {}, generated);
}

/// The logits as the sampler left them at temperature 0.
std::vector<float> changed(const SamplerOptions& options, std::vector<float> logits,
                           const std::vector<TokenId>& generated) {
  Sampler sampler(options);
  sampler.sample(logits, {}, generated);
  return logits;
}

std::set<TokenId> drawn(const SamplerOptions& options, const std::vector<float>& logits) {
  Sampler sampler(options);
  std::set<TokenId> ids;
  for (int i = 0; i < 4000; ++i) ids.insert(draw(sampler, logits));
  return ids;
}

TEST(MinP, ComparesWithTheBestAfterTemperature) {
  // Shares 0.5, 0.3, 0.15, 0.05: of the best 1, 0.6, 0.3, 0.1.
  const std::vector<float> logits = {std::log(0.15F), std::log(0.5F), std::log(0.05F), std::log(0.3F)};
  for (const int top_k : {0, 4, 100}) {
    SamplerOptions options = plain(1);
    options.top_k = top_k;
    const auto ids = [&](float min_p, float temperature = 1) {
      options.min_p = min_p;
      options.temperature = temperature;
      return drawn(options, logits);
    };
    EXPECT_EQ(ids(0), (std::set<TokenId>{0, 1, 2, 3}));
    EXPECT_EQ(ids(0.09F), (std::set<TokenId>{0, 1, 2, 3}));
    EXPECT_EQ(ids(0.11F), (std::set<TokenId>{0, 1, 3}));
    EXPECT_EQ(ids(0.31F), (std::set<TokenId>{1, 3}));
    EXPECT_EQ(ids(0.61F), (std::set<TokenId>{1}));
    EXPECT_EQ(ids(0.999F), (std::set<TokenId>{1}));
    EXPECT_EQ(ids(0.31F, 2), (std::set<TokenId>{0, 1, 2, 3}));  // 0.1^(1/2) = 0.316
    EXPECT_EQ(ids(0.11F, 0.5F), (std::set<TokenId>{1, 3}));     // 0.3^2 = 0.09
  }
}

TEST(MinP, CutsWhatTopPLeft) {
  const std::vector<float> logits = {std::log(0.15F), std::log(0.5F), std::log(0.05F), std::log(0.3F)};
  SamplerOptions options = plain(1);
  options.top_p = 0.9F;
  options.min_p = 0.05F;
  EXPECT_EQ(drawn(options, logits), (std::set<TokenId>{0, 1, 3}));
  options.min_p = 0.5F;
  EXPECT_EQ(drawn(options, logits), (std::set<TokenId>{1, 3}));
}

TEST(MinP, EqualBestOnesAllStay) {
  SamplerOptions options = plain(0.7F);
  options.min_p = 0.99F;
  EXPECT_EQ(drawn(options, {2, 2, 1.9F, 2}), (std::set<TokenId>{0, 1, 3}));
}

TEST(CountPenalties, FollowTheFormula) {
  SamplerOptions options = plain(0);
  options.presence_penalty = 0.5F;
  options.frequency_penalty = 0.25F;
  EXPECT_THAT(changed(options, {1, 1, 1, -1}, {1, 3, 3, 3, 1}), testing::ElementsAre(1, 0, 1, -2.25F));
  options.presence_penalty = -2;
  options.frequency_penalty = 0;
  EXPECT_THAT(changed(options, {1, 1}, {1, 1}), testing::ElementsAre(1, 3));
  EXPECT_THAT(changed(options, {1, 1}, {}), testing::ElementsAre(1, 1));
}

TEST(CountPenalties, CountOnlyTheReplyAndPassOverForeignIds) {
  SamplerOptions options = plain(0);
  options.frequency_penalty = 1;
  std::vector<float> logits = {1, 1};
  Sampler sampler(options);
  sampler.sample(logits, std::vector<TokenId>{0, 0, 0}, std::vector<TokenId>{1, -1, 2, 1 << 30});
  EXPECT_THAT(logits, testing::ElementsAre(1, 0));
}

TEST(CountPenalties, KeepNothingFromCallToCall) {
  SamplerOptions options = plain(0);
  options.frequency_penalty = 2;
  Sampler sampler(options);
  EXPECT_EQ(draw(sampler, {5, 4}, {0, 0, 0}), 1);
  EXPECT_EQ(draw(sampler, {5, 4}, {}), 0);            // cut back
  EXPECT_EQ(draw(sampler, {5, 4, 6}, {2, 2, 2}), 0);  // another vocabulary
  EXPECT_EQ(draw(sampler, {5, 4}, {0}), 1);
}

TEST(CountPenalties, KeepWhatIsBannedBannedAndWhatIsFiniteFinite) {
  SamplerOptions options = plain(0);
  options.presence_penalty = 2;
  const auto logits = changed(options, {kNan, -kInfinity, -3.4e38F, 1}, {0, 1, 2});
  EXPECT_TRUE(std::isnan(logits[0]));
  EXPECT_EQ(logits[1], -kInfinity);
  EXPECT_TRUE(std::isfinite(logits[2]));
}

TEST(LogitBias, AddsBansAndComesFirst) {
  SamplerOptions options = plain(0);
  options.logit_bias = {{0, -100}, {2, 1.5F}, {2, 1}, {7, 50}};
  EXPECT_THAT(changed(options, {9, 1, 1}, {}), testing::ElementsAre(-kInfinity, 1, 3.5F));
  // Before the penalties: -1 + 3 = 2, and a positive logit is divided.
  options = plain(0);
  options.repetition_penalty = 2;
  options.logit_bias = {{0, 3}};
  std::vector<float> logits = {-1, 0};
  Sampler(options).sample(logits, std::vector<TokenId>{0});
  EXPECT_EQ(logits[0], 1);
}

TEST(LogitBias, DoesNotReviveWhatAMaskBanned) {
  SamplerOptions options = plain(0);
  options.logit_bias = {{0, 100}};
  EXPECT_EQ(changed(options, {-kInfinity, 1}, {})[0], -kInfinity);
}

TEST(LogitBias, BanningEverythingIsAnError) {
  for (const float temperature : {0.0F, 1.0F}) {
    SamplerOptions options = plain(temperature);
    options.logit_bias = {{0, -100}, {1, -100}};
    Sampler sampler(options);
    try {
      draw(sampler, {1, 2});
      FAIL() << "no error";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("banned"));
    }
  }
}

/// Users keep seeds: with the new options switched off, the draws are those of before (the numbers are in
/// sampler_test.cpp), and with them on a seed repeats.
TEST(SamplerOptions, SeedsRepeatWithEverythingOn) {
  SamplerOptions options;
  options.seed = 9;
  options.min_p = 0.02F;
  options.presence_penalty = 0.3F;
  options.frequency_penalty = 0.2F;
  options.logit_bias = {{5, 2}, {6, -100}};
  const auto run = [&] {
    Sampler sampler(options);
    std::vector<TokenId> ids;
    for (int i = 0; i < 200; ++i) {
      std::vector<float> logits(50);
      for (std::size_t k = 0; k < logits.size(); ++k) logits[k] = static_cast<float>((k * 7 + ids.size()) % 11) * 0.3F;
      ids.push_back(sampler.sample(logits, ids, ids));
    }
    return ids;
  };
  const auto ids = run();
  EXPECT_EQ(ids, run());
  EXPECT_THAT(ids, testing::Not(testing::Contains(6)));
  EXPECT_THAT(ids, testing::Contains(5));
}

TEST(SamplerOptions, RefusesValuesOutOfRange) {
  const auto message = [](const std::function<void(SamplerOptions&)>& change) -> std::string {
    SamplerOptions options;
    change(options);
    try {
      Sampler sampler(options);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      return error.what();
    }
    return "no error";
  };
  using testing::StartsWith;
  for (const float bad : {kNan, kInfinity, -0.01F, 1.0F}) {
    EXPECT_THAT(message([&](SamplerOptions& o) { o.min_p = bad; }), StartsWith("min_p is "));
  }
  for (const float bad : {kNan, kInfinity, -2.01F, 2.01F}) {
    EXPECT_THAT(message([&](SamplerOptions& o) { o.presence_penalty = bad; }), StartsWith("presence_penalty is "));
    EXPECT_THAT(message([&](SamplerOptions& o) { o.frequency_penalty = bad; }), StartsWith("frequency_penalty is "));
  }
  for (const float bad : {kNan, kInfinity, -100.5F, 101.0F}) {
    EXPECT_THAT(message([&](SamplerOptions& o) { o.logit_bias = {{1, bad}}; }), StartsWith("logit_bias is "));
  }
  EXPECT_THAT(message([](SamplerOptions& o) { o.logit_bias = {{-1, 1}}; }), StartsWith("logit_bias is for token -1"));
  EXPECT_THAT(message([](SamplerOptions& o) { o.logit_bias.resize(1025); }), StartsWith("logit_bias is a list"));
}

TEST(SamplerOptions, PenaltiesOverALongReplyAreQuick) {
  std::vector<float> logits(248320);
  std::uint32_t x = 1;
  for (float& logit : logits) {
    x = x * 1664525U + 1013904223U;
    logit = static_cast<float>(x >> 8) * 0x1p-20F;
  }
  std::vector<TokenId> generated(4000);
  for (TokenId& id : generated) {
    x = x * 1664525U + 1013904223U;
    id = static_cast<TokenId>(x % 248320U);
  }
  const auto measure = [&](const SamplerOptions& options) {
    Sampler sampler(options);
    std::vector<float> scratch;
    double best_ms = 1e9;
    for (int i = 0; i < 20; ++i) {
      scratch = logits;
      const auto start = std::chrono::steady_clock::now();
      EXPECT_GE(sampler.sample(scratch, generated, generated), 0);
      const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
      best_ms = std::min(best_ms, took.count());
    }
    return best_ms;
  };
  SamplerOptions options;
  options.seed = 3;
  const double without = measure(options);
  options.presence_penalty = 0.5F;
  options.frequency_penalty = 0.5F;
  options.min_p = 0.05F;
  const double with = measure(options);
  options = plain(0);
  std::printf("248,320 logits, 4,000 tokens: default %.3f ms, with penalties and min-p %.3f ms, greedy %.3f ms\n",
              without, with, measure(options));
}

}  // namespace
}  // namespace qwen35
