#include "sampling/logprobs.h"

#include <qwen35/error.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

namespace qwen35 {
namespace {

constexpr float kLowest = std::numeric_limits<float>::lowest();
constexpr float kLargest = std::numeric_limits<float>::max();
constexpr std::size_t kLanes = 16;  // independent sums, so that the compiler can use vectors of any width
constexpr std::size_t kBlock = 512;
constexpr std::size_t kGroup = 64;  // logits passed over at once where the best of them is not among the best

/// exp(x) for x <= 0 to 3e-7 of itself, and not under e^-87 (10^-38: a whole vocabulary of it is still nothing).
/// Without branches or calls, so that loops over it become vector code: a library's exp would cost ten times as much.
inline float exponential(float x) {
  const float clamped = x > -87.0F ? x : -87.0F;
  // 1.5 · 2^23 pushes the fraction out of the mantissa: the rounded number stays in its lowest bits.
  const float shifted = clamped * 1.44269504F + 12582912.0F;
  const float n = shifted - 12582912.0F;
  const float r = (clamped - n * 0.693359375F) + n * 2.12194440e-4F;
  float sum = 1.0F / 720.0F;
  sum = sum * r + 1.0F / 120.0F;
  sum = sum * r + 1.0F / 24.0F;
  sum = sum * r + 1.0F / 6.0F;
  sum = sum * r + 0.5F;
  sum = sum * r + 1.0F;
  sum = sum * r + 1.0F;
  const std::uint32_t exponent = (std::bit_cast<std::uint32_t>(shifted) - 0x4B400000U + 127U) << 23U;
  return sum * std::bit_cast<float>(exponent);
}

/// The greatest of `count` floats, at least `kLowest`.
float greatest(const float* values, std::size_t count) {
  std::array<float, kLanes> most{};
  most.fill(kLowest);
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      most[lane] = values[i + lane] > most[lane] ? values[i + lane] : most[lane];
    }
  }
  float all = *std::max_element(most.begin(), most.end());
  for (; i < count; ++i) all = std::max(all, values[i]);
  return all;
}

bool better(const ScoredToken& a, const ScoredToken& b) {
  return a.logprob > b.logprob || (a.logprob == b.logprob && a.token < b.token);
}

/// The `count` best logits, best first.
void best_of(std::span<const float> logits, std::size_t count, std::vector<ScoredToken>& best) {
  best.clear();
  if (count == 0) return;
  const std::size_t capacity = count + 64;
  const auto cut = [&] {
    std::nth_element(best.begin(), best.begin() + static_cast<std::ptrdiff_t>(count - 1), best.end(), better);
    best.resize(count);
  };
  float threshold = kLowest;  // ids rise, so an equal later one is never better
  for (std::size_t begin = 0; begin < logits.size(); begin += kGroup) {
    const std::size_t end = std::min(begin + kGroup, logits.size());
    if (!(greatest(logits.data() + begin, end - begin) > threshold)) continue;
    for (std::size_t i = begin; i < end; ++i) {
      if (!(logits[i] > threshold)) continue;
      best.push_back({static_cast<TokenId>(i), logits[i]});
      if (best.size() < capacity) continue;
      cut();
      threshold = best.back().logprob;
    }
  }
  if (best.size() > count) cut();
  std::sort(best.begin(), best.end(), better);
}

}  // namespace

Logprobs::Logprobs(int top) : top_(static_cast<std::size_t>(top)) {
  if (top < 0 || top > kMostTop) {
    throw Error(ErrorCode::invalid_argument,
                "top_logprobs is " + std::to_string(top) + "; expected a count from 0 to " + std::to_string(kMostTop));
  }
}

void Logprobs::note(std::span<const float> logits) {
  logits_.resize(logits.size());
  const float* from = logits.data();
  float* to = logits_.data();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    to[i] = std::abs(from[i]) <= kLargest ? from[i] : kLowest;  // NaN fails the test
  }
  best_ = greatest(to, logits.size());
}

StepLogprobs Logprobs::of(TokenId chosen) {
  if (chosen < 0 || static_cast<std::size_t>(chosen) >= logits_.size()) {
    throw Error(ErrorCode::internal, "log-probabilities were asked for token " + std::to_string(chosen) +
                                         " and the noted logits have " + std::to_string(logits_.size()));
  }
  const double sum = log_sum();
  StepLogprobs step;
  step.chosen = {chosen, logprob(logits_[static_cast<std::size_t>(chosen)], sum)};
  best_of(logits_, top_, candidates_);
  step.top.reserve(candidates_.size());
  for (const ScoredToken& candidate : candidates_) {
    step.top.push_back({candidate.token, logprob(candidate.logprob, sum)});
  }
  return step;
}

/// log Σ exp(logit − best). Floats over a block, in lanes; doubles over the blocks: 248,320 summands lose nothing.
double Logprobs::log_sum() const {
  double total = 0;
  for (std::size_t begin = 0; begin < logits_.size(); begin += kBlock) {
    const std::size_t count = std::min(kBlock, logits_.size() - begin);
    const float* logits = logits_.data() + begin;
    std::array<float, kBlock> terms;  // NOLINT(cppcoreguidelines-pro-type-member-init): the next lines fill it
    for (std::size_t i = 0; i < count; ++i) terms[i] = exponential(logits[i] - best_);
    std::fill(terms.begin() + static_cast<std::ptrdiff_t>(count), terms.end(), 0.0F);
    std::array<float, kLanes> sums{};
    for (std::size_t i = 0; i < kBlock; i += kLanes) {
      for (std::size_t lane = 0; lane < kLanes; ++lane) sums[lane] += terms[i + lane];
    }
    for (const float sum : sums) total += static_cast<double>(sum);
  }
  return std::log(total);
}

float Logprobs::logprob(float logit, double log_sum) const {
  if (logit == kLowest) return -std::numeric_limits<float>::infinity();
  return static_cast<float>(static_cast<double>(logit) - static_cast<double>(best_) - log_sum);
}

}  // namespace qwen35
