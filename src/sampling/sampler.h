#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/token.h"
#include "sampling/sample_request.h"

namespace qwen35 {

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

  /// For someone else to choose the next token as this sampler would: its options and the state of its generator. The
  /// rest is the caller's to fill in; the options are this sampler's own.
  [[nodiscard]] SampleRequest request() const { return {.options = &options_, .random = random_}; }
  /// Goes on behind a request that was answered: takes over the generator and returns the token. Throws as sample()
  /// does when there was none to choose.
  TokenId take(const SampleRequest& answered);
  /// Answers a request from `logits`, at least request.vocabulary of them and scratch afterwards. This is what a
  /// backend that samples must give, to the bit. Throws invalid_argument for options out of range.
  static void answer(SampleRequest& request, std::span<float> logits);

 private:
  struct Candidate {
    float logit = 0;
    std::uint32_t id = 0;
    std::uint64_t weight = 0;  ///< 2^32 · exp((logit − best) / temperature)
  };

  TokenId pick(std::span<float> logits, std::span<const TokenId> history, std::span<const TokenId> generated);
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
  RandomState random_{};
  std::vector<Candidate> candidates_;
  std::vector<TokenId> seen_;
  std::vector<std::uint32_t> counts_;  ///< by token, all 0 between calls; empty until a penalty needs it
};

}  // namespace qwen35
