// Tokens chosen on the GPU against Sampler::answer(): to the bit, the generator included.
#include "backend/cuda/sampling/sampling.h"

#include <gtest/gtest.h>
#include <qwen35/error.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backend/cuda/pieces/exact_division.h"
#include "backend/cuda/sampling/sampling_plan.h"
#include "device_helpers.h"
#include "sampling/sampler.h"

namespace qwen35::cuda {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();

/// A row of logits and how it is sampled, with all that the request points to.
struct Case {
  SamplerOptions options;
  std::vector<float> logits;
  std::vector<TokenId> barred, history, generated;
  RandomState random{};
  std::size_t shift = 0;  ///< floats by which the row misses 16 bytes
  bool follows = false;   ///< draws where the row before left the generator

  [[nodiscard]] SampleRequest request() const {
    return {.options = &options,
            .vocabulary = logits.size(),
            .barred = barred,
            .history = history,
            .generated = generated,
            .random = random};
  }
};

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : engine_(seed) {}
  std::size_t below(std::size_t bound) { return engine_() % bound; }
  bool one_in(std::size_t n) { return below(n) == 0; }
  float real(float low, float high) { return std::uniform_real_distribution<float>(low, high)(engine_); }
  float normal(float spread) { return std::normal_distribution<float>(0, spread)(engine_); }
  std::uint64_t word() { return engine_(); }

  std::vector<float> logits(std::size_t vocabulary) {
    std::vector<float> row(vocabulary);
    const std::size_t kind = below(9);
    for (float& x : row) {
      switch (kind) {
        case 0:
          x = normal(3);
          break;
        case 1:  // many ties
          x = static_cast<float>(below(4));
          break;
        case 2:  // all equal
          x = -1.5F;
          break;
        case 3:  // every float there is, NaN and infinities too
          x = std::bit_cast<float>(static_cast<std::uint32_t>(word()));
          break;
        case 4:  // next to nothing is left
          x = one_in(200) ? normal(2) : one_in(2) ? -kInfinity : std::nanf("");
          break;
        case 5:  // around zero, both of them
          x = one_in(3) ? 0.0F : one_in(2) ? -0.0F : std::bit_cast<float>(static_cast<std::uint32_t>(below(5)));
          break;
        case 6:  // neighbours
          x = std::bit_cast<float>(0x41700000U + static_cast<std::uint32_t>(below(7)));
          break;
        case 7:  // a long tail
          x = -std::exp(normal(3));
          break;
        default:
          x = one_in(20) ? (one_in(2) ? kLargest : kInfinity) : -kLargest;
      }
    }
    if (one_in(4)) std::sort(row.begin(), row.end());
    if (one_in(4)) std::sort(row.begin(), row.end(), [](float a, float b) { return a > b; });
    return row;
  }

  std::vector<TokenId> tokens(std::size_t count, std::size_t vocabulary) {
    std::vector<TokenId> ids(count);
    for (TokenId& id : ids) id = static_cast<TokenId>(below(vocabulary + 3)) - 1;  // some are outside
    return ids;
  }

  Case any(std::size_t vocabulary) {
    Case drawn;
    SamplerOptions& options = drawn.options;
    options.temperature = one_in(4) ? 0.0F : one_in(3) ? real(0.01F, 0.3F) : one_in(3) ? real(2, 100) : real(0.3F, 2);
    options.top_k = one_in(4) ? 256 : one_in(4) ? 1 : static_cast<int>(1 + below(one_in(2) ? 256 : 60));
    options.top_p = one_in(3) ? 1.0F : one_in(8) ? 1e-6F : real(0.05F, 1);
    options.min_p = one_in(2) ? 0.0F : real(0, 0.99F);
    options.repetition_penalty = one_in(3) ? 1.0F : one_in(8) ? real(1e-3F, 100) : real(0.5F, 2);
    options.repetition_window = one_in(5) ? 0 : static_cast<int>(below(400));
    options.presence_penalty = one_in(2) ? 0.0F : real(-2, 2);
    options.frequency_penalty = one_in(2) ? 0.0F : real(-2, 2);
    if (one_in(3)) {
      options.logit_bias.resize(below(one_in(3) ? 1025 : 20));
      for (LogitBias& item : options.logit_bias) {
        item.token = static_cast<TokenId>(below(std::min<std::size_t>(vocabulary + 2, one_in(2) ? 8 : 300000)));
        item.bias = one_in(5) ? -100.0F : real(-100, 100);
      }
    }
    drawn.logits = logits(vocabulary);
    if (one_in(2)) drawn.barred = tokens(below(6), vocabulary);
    drawn.history = tokens(below(600), std::min<std::size_t>(vocabulary, one_in(2) ? 30 : 300000));
    drawn.generated = tokens(below(600), std::min<std::size_t>(vocabulary, one_in(2) ? 30 : 300000));
    for (std::uint64_t& word : drawn.random) word = this->word();
    drawn.shift = below(4);
    return drawn;
  }

 private:
  std::mt19937_64 engine_;
};

std::string describe(const Case& one) {
  const SamplerOptions& o = one.options;
  return "vocabulary " + std::to_string(one.logits.size()) + ", shift " + std::to_string(one.shift) + ", temperature " +
         std::to_string(o.temperature) + ", top_k " + std::to_string(o.top_k) + ", top_p " + std::to_string(o.top_p) +
         ", min_p " + std::to_string(o.min_p) + ", repetition " + std::to_string(o.repetition_penalty) + " over " +
         std::to_string(o.repetition_window) + ", presence " + std::to_string(o.presence_penalty) + ", frequency " +
         std::to_string(o.frequency_penalty) + ", biases " + std::to_string(o.logit_bias.size()) + ", barred " +
         std::to_string(one.barred.size());
}

/// Floats from one row to the next: each row has an alignment of its own, and what lies between them is no logit.
std::size_t stride_of(const std::vector<Case>& cases) {
  std::size_t most = 0;
  for (const Case& one : cases) most = std::max(most, one.logits.size());
  return (most + 8) / 4 * 4;
}

class SamplingTest : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    sampler_ = std::make_unique<DeviceSampler>();
  }

  /// Samples all rows in one go and compares; the rows themselves must stay as they were.
  void check_rows(const std::vector<Case>& cases) {
    const std::size_t stride = stride_of(cases);
    std::vector<float> host(cases.size() * stride, 1e30F);
    for (std::size_t i = 0; i < cases.size(); ++i) {
      std::copy(cases[i].logits.begin(), cases[i].logits.end(),
                host.begin() + static_cast<std::ptrdiff_t>(i * stride + cases[i].shift));
    }
    const std::size_t bytes = host.size() * sizeof(float);
    memory_.reserve(bytes);
    check(cudaMemcpy(memory_.data(), host.data(), bytes, cudaMemcpyHostToDevice), "copying logits");
    std::vector<SampleRequest> requests;
    for (const Case& one : cases) requests.push_back(one.request());
    std::vector<DeviceSampler::Row> rows;
    for (std::size_t i = 0; i < cases.size(); ++i) {
      ASSERT_TRUE(DeviceSampler::supports(requests[i]));
      rows.push_back({memory_.as<float>() + i * stride + cases[i].shift, &requests[i], cases[i].follows});
    }
    sampler_->enqueue(rows, nullptr);
    sampler_->wait();
    SampleRequest want;
    for (std::size_t i = 0; i < cases.size(); ++i) {
      std::vector<float> scratch = cases[i].logits;
      const RandomState before = want.random;
      want = cases[i].request();
      if (cases[i].follows) want.random = before;
      Sampler::answer(want, scratch);
      ++compared_;
      none_ += want.token < 0 ? 1 : 0;
      if (requests[i].token != want.token || requests[i].random != want.random) {
        const auto logit = [&](TokenId id) {
          const bool known = id >= 0 && static_cast<std::size_t>(id) < scratch.size();
          return known ? std::to_string(scratch[static_cast<std::size_t>(id)]) : std::string("nothing");
        };
        ADD_FAILURE() << "row " << i << " of " << cases.size() << ": token " << requests[i].token << " (logit "
                      << logit(requests[i].token) << "), expected " << want.token << " (" << logit(want.token)
                      << "), generator " << (requests[i].random == want.random ? "right" : "wrong") << "; "
                      << describe(cases[i]);
      }
    }
    std::vector<float> after(host.size());
    check(cudaMemcpy(after.data(), memory_.data(), bytes, cudaMemcpyDeviceToHost), "copying logits");
    const auto same = [](float a, float b) {
      return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
    };
    EXPECT_TRUE(std::equal(after.begin(), after.end(), host.begin(), same)) << "the logits were written to";
  }

  std::unique_ptr<DeviceSampler> sampler_;
  DeviceMemory memory_;
  std::size_t compared_ = 0;
  std::size_t none_ = 0;
};

TEST_F(SamplingTest, GivesTheSamplersTokensAtEverySizeOfVocabulary) {
  Draw draw(1);
  for (const std::size_t vocabulary : {1UL, 2UL, 3UL, 5UL, 31UL, 64UL, 255UL, 257UL, 384UL, 512UL, 4093UL, 4095UL,
                                       4096UL, 4097UL, 8191UL, 12289UL, 151936UL, 248319UL, 248320UL}) {
    for (int i = 0; i < (vocabulary < 20000 ? 60 : 12); ++i) check_rows({draw.any(vocabulary)});
    if (HasFailure()) return;
  }
  EXPECT_GT(compared_, 900U);
  EXPECT_GT(none_, 0U);  // rows without a finite logit were among them
}

TEST_F(SamplingTest, RowsWithOptionsOfTheirOwnGoTogether) {
  Draw draw(2);
  for (const std::size_t count : {2UL, 3UL, 7UL, 8UL, 30UL, 64UL, 1UL, 64UL}) {
    std::vector<Case> cases;
    for (std::size_t i = 0; i < count; ++i) cases.push_back(draw.any(1 + draw.below(i % 8 == 0 ? 60000 : 3000)));
    check_rows(cases);
    if (HasFailure()) return;
  }
}

// What a verification pass asks for: rows of one reply, each drawing where the one before stopped. Greedy rows and rows
// without a finite logit draw nothing and leave the generator alone.
TEST_F(SamplingTest, RowsThatFollowOneAnotherDrawInTheirOrder) {
  Draw draw(7);
  for (const std::size_t length : {2UL, 3UL, 5UL, 8UL, 33UL, 64UL}) {
    for (int round = 0; round < (length < 10 ? 12 : 2); ++round) {
      const std::size_t vocabulary = round % 3 == 0 ? 1 + draw.below(100) : 1 + draw.below(length < 10 ? 30000 : 6000);
      const Case first = draw.any(vocabulary);
      std::vector<Case> cases;
      for (std::size_t i = 0; i < length; ++i) {
        Case& one = cases.emplace_back(draw.any(vocabulary));
        if (round % 4 != 0) one.options = first.options;
        one.follows = i > 0;
      }
      check_rows(cases);
      if (HasFailure()) return;
    }
  }
  // Several chains and rows alone in one launch, of vocabularies of their own.
  for (int round = 0; round < 6; ++round) {
    std::vector<Case> cases;
    while (cases.size() < 60) {
      const std::size_t length = draw.one_in(3) ? 1 : 1 + draw.below(5);
      const std::size_t vocabulary = 1 + draw.below(9000);
      for (std::size_t i = 0; i < length; ++i) {
        cases.push_back(draw.any(vocabulary));
        if (draw.one_in(2)) cases.back().options.temperature = 0.8F;
        cases.back().follows = i > 0;
      }
    }
    cases.resize(60);
    check_rows(cases);
    if (HasFailure()) return;
  }
}

TEST_F(SamplingTest, ThousandsOfDrawsFollowTheGenerator) {
  Draw draw(3);
  Case one;
  one.options = {.temperature = 1.1F, .top_k = 50, .top_p = 0.95F, .repetition_penalty = 1};
  one.logits.resize(1000);
  for (float& x : one.logits) x = draw.normal(1.5F);
  for (std::uint64_t& word : one.random) word = draw.word();
  DeviceMemory row(one.logits.size() * sizeof(float));
  check(cudaMemcpy(row.data(), one.logits.data(), row.bytes(), cudaMemcpyHostToDevice), "copying logits");
  SampleRequest device = one.request();
  SampleRequest host = one.request();
  std::vector<int> seen(one.logits.size());
  for (int i = 0; i < 4000; ++i) {
    const DeviceSampler::Row rows[] = {{row.as<float>(), &device}};
    sampler_->enqueue(rows, nullptr);
    sampler_->wait();
    std::vector<float> scratch = one.logits;
    Sampler::answer(host, scratch);
    ASSERT_EQ(device.token, host.token) << "draw " << i;
    ASSERT_EQ(device.random, host.random) << "draw " << i;
    ++seen[static_cast<std::size_t>(device.token)];
  }
  EXPECT_GT(std::count_if(seen.begin(), seen.end(), [](int n) { return n > 0; }), 20);
}

TEST_F(SamplingTest, ListsTooLongForTheKernelsParametersAreSent) {
  Draw draw(4);
  Case one = draw.any(50000);
  one.options.repetition_penalty = 1.3F;
  one.options.repetition_window = 30000;
  one.options.frequency_penalty = 0.5F;
  one.logits = std::vector<float>(50000);
  for (float& x : one.logits) x = draw.normal(3);
  one.history = draw.tokens(20000, 50000);
  one.generated = draw.tokens(40000, 50000);
  check_rows({one});
  one.history.resize(5);
  one.generated.resize(5);
  check_rows({one, one});
}

// What the race checker runs: rows of one slice and of three, all ways to choose.
TEST_F(SamplingTest, BriefAllWaysToChoose) {
  Draw draw(9);
  std::vector<Case> cases;
  for (int i = 0; i < 6; ++i) cases.push_back(draw.any(i % 2 == 0 ? 1000 : 9000));
  cases[0].options.temperature = 0;
  cases[1].options.temperature = 0.8F;
  cases[1].options.top_k = 256;
  cases[1].options.top_p = 0.9F;
  cases[1].options.min_p = 0.01F;
  check_rows(cases);
}

TEST_F(SamplingTest, RefusesWhatItCannotDo) {
  std::vector<SampleRequest> requests(65);
  const SamplerOptions greedy{.temperature = 0};
  std::vector<DeviceSampler::Row> rows;
  for (SampleRequest& request : requests) {
    request.options = &greedy;
    request.vocabulary = 1;
    rows.push_back({nullptr, &request});
  }
  EXPECT_THROW(sampler_->enqueue(rows, nullptr), Error);
  EXPECT_THROW(sampler_->enqueue({}, nullptr), Error);
  rows[0].follows = true;
  EXPECT_THROW(sampler_->enqueue(std::span(rows).first(2), nullptr), Error);
  rows[0].follows = false;
  const SamplerOptions all{.top_k = 0};
  requests[0].options = &all;
  EXPECT_THROW(sampler_->enqueue(std::span(rows).first(1), nullptr), Error);
}

TEST(SamplingPlanTest, DivisionByACorrectedReciprocalIsExact) {
  std::mt19937_64 engine(6);
  std::size_t plain = 0;  // quotients that the reciprocal alone has wrong
  for (int i = 0; i < 300000; ++i) {
    const auto mantissa = engine() >> 12U;
    const auto exponent = std::uint64_t{1023 - 160 + engine() % 170};
    const double x = std::bit_cast<double>((engine() & (std::uint64_t{1} << 63U)) | exponent << 52U | mantissa);
    for (int by = 1; by <= 12; ++by) {
      const double want = x / by;
      ASSERT_EQ(std::bit_cast<std::uint64_t>(divided(x, by)), std::bit_cast<std::uint64_t>(want))
          << std::hexfloat << x << " / " << by;
      plain += x * (1.0 / by) != want ? 1 : 0;
    }
  }
  EXPECT_GT(plain, 100000U);
}

TEST(SamplingPlanTest, SupportsGreedyAndTopKUpToItsMost) {
  const auto supports = [](SamplerOptions options, std::size_t history = 0) {
    const std::vector<TokenId> tokens(history);
    SampleRequest request{.options = &options, .vocabulary = 100, .history = tokens};
    return DeviceSampler::supports(request);
  };
  EXPECT_TRUE(supports({}));
  EXPECT_TRUE(supports({.temperature = 0, .top_k = 0}));
  EXPECT_TRUE(supports({.top_k = 256}));
  EXPECT_FALSE(supports({.top_k = 257}));
  EXPECT_FALSE(supports({.top_k = 0}));
  EXPECT_TRUE(supports({}, DeviceSampler::kMostMarks));
  EXPECT_FALSE(supports({}, DeviceSampler::kMostMarks + 1));
}

TEST(SamplingPlanTest, ATokenHasOneChangeWithAllThatHappensToIt) {
  SamplingPlan plan;
  SamplerOptions options{.repetition_penalty = 1.2F, .repetition_window = 3, .presence_penalty = 1};
  options.logit_bias = {{7, 1}, {8, 2}, {7, 3}, {200, 1}, {7, 4}};
  const std::vector<TokenId> barred{9, 7};
  const std::vector<TokenId> history{5, 7, 300, 7};
  const std::vector<TokenId> generated{7, -1, 6, 7};
  const SampleRequest request{
      .options = &options, .vocabulary = 100, .barred = barred, .history = history, .generated = generated};
  for (int row = 0; row < 2; ++row) {  // the second as the first: the table is empty again
    plan.add(nullptr, request);
    ASSERT_EQ(plan.rows().size(), 1U + static_cast<std::size_t>(row));
    const RowPlan& made = plan.rows()[static_cast<std::size_t>(row)];
    const auto changes = plan.changes().subspan(made.first_change);
    ASSERT_EQ(made.changes, 6U);
    ASSERT_EQ(changes.size(), 6U);
    EXPECT_EQ(changes[0].id, 9U);
    EXPECT_EQ(changes[0].marks, LogitChange::kBarred);
    const LogitChange& seven = changes[1];
    EXPECT_EQ(seven.id, 7U);
    EXPECT_EQ(seven.marks, LogitChange::kBarred | LogitChange::kBiased | LogitChange::kRepeated | 2U);
    EXPECT_EQ(seven.bias, 1);
    ASSERT_GT(seven.next, 0U);
    const LogitChange& second = changes[seven.next - 1];
    EXPECT_EQ(second.id, LogitChange::kNobody);
    EXPECT_EQ(second.bias, 3);
    ASSERT_GT(second.next, 0U);
    EXPECT_EQ(changes[second.next - 1].bias, 4);
    EXPECT_EQ(changes[second.next - 1].next, 0U);
    EXPECT_EQ(changes[2].id, 8U);
    EXPECT_EQ(changes[5].id, 6U);
    EXPECT_EQ(changes[5].marks, 1U);
  }
  plan.clear();
  EXPECT_TRUE(plan.rows().empty());
}

TEST(SamplingPlanTest, RowsThatFollowOneAnotherAreAChain) {
  SamplingPlan plan;
  const SamplerOptions options;
  const SampleRequest request{.options = &options, .vocabulary = 10};
  for (const bool follows : {false, false, true, true, false, true}) plan.add(nullptr, request, follows);
  const std::vector<std::uint32_t> firsts{0, 1, 1, 1, 4, 4};
  const std::vector<std::uint32_t> lengths{1, 3, 3, 3, 2, 2};
  for (std::size_t i = 0; i < firsts.size(); ++i) {
    EXPECT_EQ(plan.rows()[i].chain_first, firsts[i]) << i;
    EXPECT_EQ(plan.rows()[i].chain, lengths[i]) << i;
  }
}

}  // namespace
}  // namespace qwen35::cuda
