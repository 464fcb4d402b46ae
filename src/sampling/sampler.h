#pragma once

#include <qwen35/options.h>

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
  float min_p = 0;                         ///< in [0, 1): least share of the best candidate's probability; 0: off
  float presence_penalty = 0;              ///< in [-2, 2]: taken off once for each token the reply holds; 0: off
  float frequency_penalty = 0;             ///< in [-2, 2]: taken off for each time it comes there; 0: off
  std::vector<LogitBias> logit_bias = {};  ///< at most 1024; a token named twice gets both
};

/// Picks tokens from logits, in this order:
///   1. logit bias: the caller's correction of the model, so all that follows sees corrected logits;
///   2. repetition penalty (Keskar et al. 2019, section 4.1: a positive logit is divided by it, a negative one
///      multiplied), then presence and frequency penalties (OpenAI's formula: logit -= presence + frequency · count).
///      Penalties are in units of logits, so they come before temperature;
///   3. temperature;
///   4. top-k, top-p over what top-k left, min-p over what top-p left: top-k bounds the work, top-p looks at shares of
///      the whole, and min-p, which compares with the best candidate alone, cuts the same wherever it stands;
///   5. one draw.
/// Not thread-safe. With the same seed, options and logits the same tokens come out on every platform: own integer
/// generator (xoshiro256**, seeded by splitmix64), own exponential, draws among integer weights.
class Sampler {
 public:
  /// Throws invalid_argument naming the option.
  explicit Sampler(const SamplerOptions& options);

  /// The next token. `logits` (vocabulary long) is scratch afterwards; `history` holds the tokens so far, oldest first:
  /// the repetition penalty looks at the last `repetition_window` of them. `generated` holds those of the reply alone:
  /// presence and frequency penalties count them (anew each time, some 10 ns a token, so that a reply may also be cut
  /// back). Which tokens are exempt is the caller's choice: it leaves them out of both. Ids outside the vocabulary are
  /// passed over, also those of a bias.
  /// Logits that are NaN or infinite are never chosen: a mask sets them to -infinity. Ties go to the lower id. Throws
  /// internal when no finite logit is left.
  TokenId sample(std::span<float> logits, std::span<const TokenId> history, std::span<const TokenId> generated = {});

 private:
  struct Candidate {
    float logit = 0;
    std::uint32_t id = 0;
    std::uint64_t weight = 0;  ///< 2^32 · exp((logit − best) / temperature)
  };

  static bool before(const Candidate& a, const Candidate& b);
  void add_bias(std::span<float> logits) const;
  void penalize(std::span<float> logits, std::span<const TokenId> history);
  void penalize_counts(std::span<float> logits, std::span<const TokenId> generated);
  void keep_best(std::span<const float> logits, std::size_t count);
  void keep_likely(std::span<const float> logits);
  std::uint64_t weigh();
  std::uint64_t cut_tail(std::uint64_t total);
  std::uint64_t cut_unlikely();
  std::uint64_t draw_below(std::uint64_t bound);
  std::uint64_t next_random();

  SamplerOptions options_;
  std::array<std::uint64_t, 4> random_{};
  std::vector<Candidate> candidates_;
  std::vector<TokenId> seen_;
  std::vector<std::uint32_t> counts_;  ///< by token, all 0 between calls; empty until a penalty needs it
};

}  // namespace qwen35
