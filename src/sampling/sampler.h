#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/token.h"

namespace qwen35 {

/// Defaults as in qwen35::GenerateOptions.
struct SamplerOptions {
  float temperature = 0.6F;         ///< 0: greedy; otherwise in (0, 100]
  int top_k = 50;                   ///< 0: off; otherwise >= 1
  float top_p = 0.95F;              ///< in (0, 1]; 1: off
  float repetition_penalty = 1.1F;  ///< in (0, 100]; 1: off
  int repetition_window = 64;       ///< in [0, 1048576] tokens
  std::uint64_t seed = 0;
};

/// Picks tokens from logits: repetition penalty (Keskar et al. 2019, section 4.1: a positive logit is divided by it, a
/// negative one multiplied), then temperature, top-k, top-p over what top-k left, then one draw. Not thread-safe.
/// With the same seed, options and logits the same tokens come out on every platform: own integer generator
/// (xoshiro256**, seeded by splitmix64), own exponential, draws among integer weights.
class Sampler {
 public:
  /// Throws invalid_argument naming the option.
  explicit Sampler(const SamplerOptions& options);

  /// The next token. `logits` (vocabulary long) is scratch afterwards; `history` holds the tokens so far, oldest first:
  /// the penalty looks at the last `repetition_window` of them, ids outside the vocabulary are passed over.
  /// Logits that are NaN or infinite are never chosen; ties go to the lower id. Throws internal when no finite logit is
  /// left.
  TokenId sample(std::span<float> logits, std::span<const TokenId> history);

 private:
  struct Candidate {
    float logit = 0;
    std::uint32_t id = 0;
    std::uint64_t weight = 0;  ///< 2^32 · exp((logit − best) / temperature)
  };

  static bool before(const Candidate& a, const Candidate& b);
  void penalize(std::span<float> logits, std::span<const TokenId> history);
  void keep_best(std::span<const float> logits, std::size_t count);
  void keep_likely(std::span<const float> logits);
  std::uint64_t weigh();
  std::uint64_t cut_tail(std::uint64_t total);
  std::uint64_t draw_below(std::uint64_t bound);
  std::uint64_t next_random();

  SamplerOptions options_;
  std::array<std::uint64_t, 4> random_{};
  std::vector<Candidate> candidates_;
  std::vector<TokenId> seen_;
};

}  // namespace qwen35
