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

/// State of the generator, xoshiro256**; never all zero.
using RandomState = std::array<std::uint64_t, 4>;

/// One draw of a Sampler (sampler.h says what it is), for whoever has the logits: a backend that keeps them in its own
/// memory. What the pointer and the spans name must live until the answer is there.
struct SampleRequest {
  const SamplerOptions* options = nullptr;
  std::size_t vocabulary = 0;             ///< logits looked at: the first so many of the row
  std::span<const TokenId> barred = {};   ///< never chosen: their logits are -infinity before anything else
  std::span<const TokenId> history = {};  ///< as Sampler::sample takes them
  std::span<const TokenId> generated = {};
  RandomState random{};  ///< the generator before the draw, and after it
  TokenId token = -1;    ///< the answer; -1: no finite logit was left
};

}  // namespace qwen35
