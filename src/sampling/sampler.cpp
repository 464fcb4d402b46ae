#include "sampling/sampler.h"

#include <qwen35/error.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

namespace qwen35 {
namespace {

constexpr double kWeightOne = 0x1p32;       // weight of the best candidate; 2^31 of them still fit 64 bits
constexpr double kLeastExponent = -22.181;  // just below ln(2^-32): weights under it are 0
constexpr float kBan = 100;                 // a bias of -kBan bans
constexpr std::size_t kMostBiases = 1024;
constexpr TokenId kNone = -1;
constexpr float kLargest = std::numeric_limits<float>::max();

[[noreturn]] void refuse(const char* option, const std::string& found, const char* expected) {
  throw Error(ErrorCode::invalid_argument, std::string(option) + " is " + found + "; expected " + expected);
}

void check(const SamplerOptions& options) {
  // Written so that NaN fails every test.
  if (!(options.temperature >= 0 && options.temperature <= 100)) {
    refuse("temperature", std::to_string(options.temperature), "0 (greedy) or a number in (0, 100]");
  }
  if (options.top_k < 0) refuse("top_k", std::to_string(options.top_k), "0 (off) or a positive count");
  if (!(options.top_p > 0 && options.top_p <= 1)) {
    refuse("top_p", std::to_string(options.top_p), "a number in (0, 1]; 1 is off");
  }
  if (!(options.repetition_penalty > 0 && options.repetition_penalty <= 100)) {
    refuse("repetition_penalty", std::to_string(options.repetition_penalty), "a number in (0, 100]; 1 is off");
  }
  if (options.repetition_window < 0 || options.repetition_window > (1 << 20)) {
    refuse("repetition_window", std::to_string(options.repetition_window), "a count from 0 to 1048576");
  }
  if (!(options.min_p >= 0 && options.min_p < 1)) {
    refuse("min_p", std::to_string(options.min_p), "a number in [0, 1); 0 is off");
  }
  if (!(options.presence_penalty >= -2 && options.presence_penalty <= 2)) {
    refuse("presence_penalty", std::to_string(options.presence_penalty), "a number in [-2, 2]; 0 is off");
  }
  if (!(options.frequency_penalty >= -2 && options.frequency_penalty <= 2)) {
    refuse("frequency_penalty", std::to_string(options.frequency_penalty), "a number in [-2, 2]; 0 is off");
  }
  if (options.logit_bias.size() > kMostBiases) {
    refuse("logit_bias", "a list of " + std::to_string(options.logit_bias.size()), "at most 1024 tokens");
  }
  for (const LogitBias& item : options.logit_bias) {
    if (item.token < 0) refuse("logit_bias", "for token " + std::to_string(item.token), "token ids from 0 on");
    if (!(item.bias >= -kBan && item.bias <= kBan)) {
      refuse("logit_bias", std::to_string(item.bias) + " for token " + std::to_string(item.token),
             "a number in [-100, 100]; -100 bans the token");
    }
  }
}

/// A logit changed by a penalty: never infinite, because that means banned.
float finite(float logit) { return std::clamp(logit, -kLargest, kLargest); }

/// exp(x) for x in [-23, 0], from additions and multiplications alone so that every platform rounds alike (this file is
/// compiled without contraction to fused operations). Cody-Waite reduction, Taylor to r^12 on |r| <= ln(2)/2.
double exponential(double x) {
  const double n = std::floor(x * 1.4426950408889634 + 0.5);
  const double r = (x - n * 0x1.62e42fee00000p-1) - n * 0x1.a39ef35793c76p-33;
  double sum = 1.0;
  for (int i = 12; i > 0; --i) sum = 1.0 + sum * r / i;
  const auto exponent = static_cast<std::uint64_t>(1023 + static_cast<std::int64_t>(n));
  return sum * std::bit_cast<double>(exponent << 52);
}

[[noreturn]] void refuse_logits(std::size_t count) {
  throw Error(ErrorCode::internal,
              "none of the " + std::to_string(count) +
                  " logits is finite, so no token can be chosen; either every token is banned (logit_bias, a "
                  "mask), or the weights or the backend are at fault");
}

/// kNone: no logit is finite.
TokenId best_token(std::span<const float> logits) {
  float best = -std::numeric_limits<float>::infinity();
  std::size_t id = logits.size();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > best && logits[i] <= kLargest) {
      best = logits[i];
      id = i;
    }
  }
  return id == logits.size() ? kNone : static_cast<TokenId>(id);
}

}  // namespace

Sampler::Sampler(const SamplerOptions& options) : options_(options) {
  check(options);
  std::uint64_t x = options.seed;
  for (std::uint64_t& word : random_) {  // splitmix64
    x += 0x9E3779B97F4A7C15U;
    std::uint64_t z = x;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    word = z ^ (z >> 31);
  }
}

TokenId Sampler::sample(std::span<float> logits, std::span<const TokenId> history, std::span<const TokenId> generated) {
  const TokenId token = pick(logits, history, generated);
  if (token == kNone) refuse_logits(logits.size());
  return token;
}

TokenId Sampler::take(const SampleRequest& answered) {
  if (answered.token == kNone) refuse_logits(answered.vocabulary);
  random_ = answered.random;
  return answered.token;
}

void Sampler::answer(SampleRequest& request, std::span<float> logits) {
  Sampler sampler(*request.options);
  sampler.random_ = request.random;
  logits = logits.first(request.vocabulary);
  for (const TokenId id : request.barred) {
    const auto index = static_cast<std::size_t>(id);
    if (index < logits.size()) logits[index] = -std::numeric_limits<float>::infinity();
  }
  request.token = sampler.pick(logits, request.history, request.generated);
  request.random = sampler.random_;
}

/// sample(), but kNone when no finite logit is left; the generator then stays where it is.
TokenId Sampler::pick(std::span<float> logits, std::span<const TokenId> history, std::span<const TokenId> generated) {
  add_bias(logits);
  penalize(logits, history);
  penalize_counts(logits, generated);
  if (options_.temperature == 0) return best_token(logits);

  if (options_.top_k > 0) {
    keep_best(logits, static_cast<std::size_t>(options_.top_k));
  } else {
    keep_likely(logits);
  }
  if (candidates_.empty()) return kNone;
  std::uint64_t total = weigh();
  if (options_.top_p < 1) total = cut_tail(total);
  if (options_.min_p > 0) total = cut_unlikely();

  std::uint64_t rest = draw_below(total);
  for (const Candidate& candidate : candidates_) {
    if (rest < candidate.weight) return static_cast<TokenId>(candidate.id);
    rest -= candidate.weight;
  }
  throw Error(ErrorCode::internal, "a draw fell outside the candidates' weights");
}

bool Sampler::before(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

void Sampler::add_bias(std::span<float> logits) const {
  for (const LogitBias& item : options_.logit_bias) {
    const auto id = static_cast<std::size_t>(item.token);
    if (id >= logits.size() || !std::isfinite(logits[id])) continue;
    logits[id] = item.bias == -kBan ? -std::numeric_limits<float>::infinity() : finite(logits[id] + item.bias);
  }
}

void Sampler::penalize(std::span<float> logits, std::span<const TokenId> history) {
  if (options_.repetition_penalty == 1 || options_.repetition_window == 0) return;
  const std::size_t window = std::min(history.size(), static_cast<std::size_t>(options_.repetition_window));
  const auto recent = history.last(window);
  seen_.assign(recent.begin(), recent.end());
  std::sort(seen_.begin(), seen_.end());
  seen_.erase(std::unique(seen_.begin(), seen_.end()), seen_.end());
  for (const TokenId id : seen_) {
    if (id < 0 || static_cast<std::size_t>(id) >= logits.size()) continue;
    float& logit = logits[static_cast<std::size_t>(id)];
    if (!std::isfinite(logit)) continue;
    logit = finite(logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty);
  }
}

void Sampler::penalize_counts(std::span<float> logits, std::span<const TokenId> generated) {
  if ((options_.presence_penalty == 0 && options_.frequency_penalty == 0) || generated.empty()) return;
  if (counts_.size() < logits.size()) counts_.resize(logits.size());
  const auto known = [&](TokenId id) { return id >= 0 && static_cast<std::size_t>(id) < logits.size(); };
  for (const TokenId id : generated) {
    if (known(id)) ++counts_[static_cast<std::size_t>(id)];
  }
  // The second walk applies each count once and leaves the table empty for the next call.
  for (const TokenId id : generated) {
    if (!known(id)) continue;
    const auto count = static_cast<float>(std::exchange(counts_[static_cast<std::size_t>(id)], 0));
    float& logit = logits[static_cast<std::size_t>(id)];
    if (count == 0 || !std::isfinite(logit)) continue;
    logit = finite(logit - (options_.presence_penalty + options_.frequency_penalty * count));
  }
}

/// The `count` best logits, best first. One pass: a buffer of twice the size is cut back whenever it is full, and what
/// does not beat the worst survivor is not even stored. Ids come in rising order, so an equal later one is never
/// better.
void Sampler::keep_best(std::span<const float> logits, std::size_t count) {
  count = std::min(count, std::max<std::size_t>(logits.size(), 1));
  const std::size_t capacity = count + std::max<std::size_t>(count, 64);
  const auto cut = [&] {
    const auto kth = candidates_.begin() + static_cast<std::ptrdiff_t>(count - 1);
    std::nth_element(candidates_.begin(), kth, candidates_.end(), before);
    candidates_.resize(count);
  };
  candidates_.clear();
  float threshold = -std::numeric_limits<float>::infinity();
  for (std::size_t id = 0; id < logits.size(); ++id) {
    if (!(logits[id] > threshold) || logits[id] > kLargest) continue;
    candidates_.push_back({logits[id], static_cast<std::uint32_t>(id), 0});
    if (candidates_.size() == capacity) {
      cut();
      threshold = candidates_.back().logit;
    }
  }
  if (candidates_.size() > count) cut();
  std::sort(candidates_.begin(), candidates_.end(), before);
}

/// All logits whose weight is not 0, by rising id.
void Sampler::keep_likely(std::span<const float> logits) {
  candidates_.clear();
  const TokenId likeliest = best_token(logits);
  if (likeliest == kNone) return;
  const float best = logits[static_cast<std::size_t>(likeliest)];
  const double least = static_cast<double>(best) + kLeastExponent * static_cast<double>(options_.temperature);
  for (std::size_t id = 0; id < logits.size(); ++id) {
    if (static_cast<double>(logits[id]) >= least && logits[id] <= kLargest) {
      candidates_.push_back({logits[id], static_cast<std::uint32_t>(id), 0});
    }
  }
}

/// Fills in the weights and returns their sum.
std::uint64_t Sampler::weigh() {
  float best = -std::numeric_limits<float>::infinity();
  for (const Candidate& candidate : candidates_) best = std::max(best, candidate.logit);
  const auto temperature = static_cast<double>(options_.temperature);
  std::uint64_t total = 0;
  for (Candidate& candidate : candidates_) {
    const double x = (static_cast<double>(candidate.logit) - static_cast<double>(best)) / temperature;
    candidate.weight = x < kLeastExponent ? 0 : static_cast<std::uint64_t>(exponential(x) * kWeightOne);
    total += candidate.weight;
  }
  return total;
}

/// Nucleus sampling (Holtzman et al. 2020): the fewest best candidates whose share reaches top_p. Returns their weight.
std::uint64_t Sampler::cut_tail(std::uint64_t total) {
  const auto share = static_cast<double>(options_.top_p);
  // Candidates below this weight sum to less than 1 − top_p, so the nucleus lies in the others and only they are
  // sorted.
  const double least = (1.0 - share) * static_cast<double>(total) / static_cast<double>(candidates_.size());
  std::erase_if(candidates_, [&](const Candidate& c) { return static_cast<double>(c.weight) < least; });
  std::sort(candidates_.begin(), candidates_.end(), before);
  const double enough = share * static_cast<double>(total);
  std::uint64_t sum = 0;
  std::size_t kept = 0;
  while (kept < candidates_.size()) {
    sum += candidates_[kept++].weight;
    if (static_cast<double>(sum) >= enough) break;
  }
  candidates_.resize(kept);
  return sum;
}

/// Min-p (Nguyen et al. 2024): drops what is less likely than this share of the best. Returns the weight of the rest.
std::uint64_t Sampler::cut_unlikely() {
  const double least = static_cast<double>(options_.min_p) * kWeightOne;
  std::erase_if(candidates_, [&](const Candidate& c) { return static_cast<double>(c.weight) < least; });
  std::uint64_t total = 0;
  for (const Candidate& candidate : candidates_) total += candidate.weight;
  return total;
}

/// Uniform in [0, bound), bound >= 1, without bias: values past the bound are drawn again.
std::uint64_t Sampler::draw_below(std::uint64_t bound) {
  const int unused_bits = std::countl_zero((bound - 1) | 1U);
  for (;;) {
    const std::uint64_t value = next_random() >> unused_bits;
    if (value < bound) return value;
  }
}

/// xoshiro256** (Blackman, Vigna 2018).
std::uint64_t Sampler::next_random() {
  const std::uint64_t result = std::rotl(random_[1] * 5, 7) * 9;
  const std::uint64_t shifted = random_[1] << 17;
  random_[2] ^= random_[0];
  random_[3] ^= random_[1];
  random_[1] ^= random_[2];
  random_[0] ^= random_[3];
  random_[2] ^= shifted;
  random_[3] = std::rotl(random_[3], 45);
  return result;
}

}  // namespace qwen35
