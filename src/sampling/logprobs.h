#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/token.h"

namespace qwen35 {

/// A token and the natural logarithm of its probability.
struct ScoredToken {
  TokenId token = 0;
  float logprob = 0;  ///< <= 0; -infinity for a token that cannot be chosen
  bool operator==(const ScoredToken&) const = default;
};

/// How likely the model found one token of a reply, and what it found likelier.
struct StepLogprobs {
  ScoredToken chosen;
  std::vector<ScoredToken> top;  ///< best first, ties by rising id; `chosen` may be among them
};

/// Log-probabilities of the model's own distribution: log-softmax of its raw logits, so temperature 1 and before bias,
/// penalties, masks, top-k, top-p and min-p, as the OpenAI API reports them. Logits that are NaN or infinite count as
/// impossible. One object serves a whole reply.
class Logprobs {
 public:
  static constexpr int kMostTop = 20;

  /// `top`: how many of the likeliest tokens to report, 0 to 20. Throws invalid_argument.
  explicit Logprobs(int top);

  /// Takes the logits of the next step, before anything changes them: they are copied (1 MB at Qwen3.5's vocabulary).
  void note(std::span<const float> logits);
  /// What the noted logits say about `chosen`. Throws internal when nothing was noted or `chosen` is outside them.
  [[nodiscard]] StepLogprobs of(TokenId chosen);

 private:
  [[nodiscard]] double log_sum() const;
  [[nodiscard]] float logprob(float logit, double log_sum) const;

  std::size_t top_;
  std::vector<float> logits_;  ///< what is not finite is the lowest float
  float best_ = 0;
  std::vector<ScoredToken> candidates_;  ///< scratch: logits, not yet logarithms of probabilities
};

}  // namespace qwen35
