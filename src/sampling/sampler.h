#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/token.h"

namespace qwen35 {

/// Checked limits are in the declarations of qwen35::GenerateOptions.
struct SamplerOptions {
  float temperature = 0.6F;
  int top_k = 50;
  float top_p = 0.95F;
  float repetition_penalty = 1.1F;
  int repetition_window = 64;
  std::uint64_t seed = 0;
};

/// Picks tokens from logits: repetition penalty, then temperature, top-k, top-p, then one draw. Not thread-safe.
/// With the same seed, options and logits the same tokens come out on every platform (own integer generator, no libm in
/// the choice of order).
class Sampler {
 public:
  /// Throws invalid_argument naming the option.
  explicit Sampler(const SamplerOptions& options);

  /// The next token. `logits` (vocabulary long) is scratch afterwards; `history` holds the tokens so far, oldest first.
  /// Logits that are NaN are never chosen; ties go to the lower id. Throws internal when no finite logit is left.
  TokenId sample(std::span<float> logits, std::span<const TokenId> history);

 private:
  SamplerOptions options_;
  std::uint64_t random_[4];
  std::vector<std::uint32_t> candidates_;
};

}  // namespace qwen35
