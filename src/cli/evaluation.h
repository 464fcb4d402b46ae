#pragma once

#include <qwen35/options.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backend/backend.h"

namespace qwen35::cli {

/// The model's forward pass without the conversation around it. float32 arithmetic on the stored weights, or with
/// `fast` what chat computes. The tokenizer is not needed.
std::unique_ptr<Backend> load_backend(const std::string& model, const LoadOptions& options, bool fast);

/// Token ids as decimal numbers with commas or white space between. Throws invalid_argument for anything else, an id
/// outside [0, vocab_size) or none at all; `what` names the text.
std::vector<TokenId> parse_ids(std::string_view text, std::size_t vocab_size, std::string_view what);

/// log of the sum of exp(logit), in double precision. NaN logits are left out.
double log_sum_exp(std::span<const float> logits);

/// The `count` largest logits with their ids, largest first, ties by lower id; NaN counts as smallest.
std::vector<std::pair<TokenId, float>> top_logits(std::span<const float> logits, std::size_t count);

/// How far logits of a faster path are from exact ones, over some positions.
struct Agreement {
  std::size_t positions = 0;
  double worst_cosine = 1;  ///< of the logits of one position
  double mean_cosine = 1;
  double mean_kl = 0;  ///< Kullback-Leibler divergence of the exact distribution from the fast one, nats
};

/// Both hold as many rows of `vocab_size` finite logits, at least one.
Agreement compare_logits(std::span<const float> exact, std::span<const float> fast, std::size_t vocab_size);

}  // namespace qwen35::cli
