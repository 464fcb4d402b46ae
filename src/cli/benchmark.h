#pragma once

#include <qwen35/options.h>

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/evaluation.h"

namespace qwen35::cli {

/// Tokens of the prompt whose first token is timed.
constexpr std::size_t kFirstTokenPrompt = 20;

struct BenchmarkOptions {
  std::string model;
  LoadOptions load;
  std::vector<std::size_t> prompts = {512};     ///< prefill lengths, each at least 1
  std::vector<std::size_t> depths = {0, 2048};  ///< tokens already in the state when decode begins; not empty
  std::size_t generate = 128;                   ///< tokens of one decode, at least 1
  std::size_t sequences = 16;                   ///< conversations decoded together at most, at least 2
  std::size_t repetitions = 5;                  ///< at least 1
  std::size_t accuracy = 64;                    ///< positions compared with float32; 0: none
  bool rates_only = false;                      ///< no loads, no peak, no accuracy
};

/// Of several repetitions. With an even number of them the median is the mean of the middle two.
struct Summary {
  double median = 0;
  double min = 0;
  double max = 0;
};

/// `values` is not empty.
Summary summarize(std::vector<double> values);

/// What a conversation does with its state beside plain decode, in milliseconds.
struct StateTimes {
  std::size_t depth = 0;  ///< tokens in the state
  Summary decode_ms;      ///< one token
  Summary snapshot_ms;    ///< taking one, and the token after it, which goes on in other memory
  Summary after_snapshot_ms;
  Summary restore_ms;  ///< going back by two tokens, and the token after it
  Summary after_restore_ms;
  std::vector<std::pair<std::size_t, Summary>> verify_ms;  ///< by tokens of the pass, of which half are kept
  std::vector<std::pair<std::size_t, Summary>> batch_ms;   ///< by conversations that get a token each in one pass
};

struct BenchmarkResult {
  std::string model;                                     ///< the folder
  std::string backend;                                   ///< kind, instruction set, threads
  std::size_t threads = 0;                               ///< of compute
  std::size_t bytes_per_token = 0;                       ///< weights that a decoded token reads, as stored
  std::vector<std::pair<std::size_t, Summary>> prefill;  ///< prompt tokens; tokens a second
  std::vector<std::pair<std::size_t, Summary>> decode;   ///< depth; tokens a second
  bool samples = false;                                  ///< rates are with the choice of each token by the backend
  Summary prompt_ms;                                     ///< a prompt of 20 tokens to its first token, chosen greedily
  std::optional<StateTimes> state;                       ///< at the last depth; nullopt: the context holds no more
  bool gpu = false;                                      ///< the bandwidth is that of copies in its memory
  Summary bandwidth;                                     ///< of the read test, bytes a second
  double bandwidth_reached = 0;                          ///< bytes_per_token · decode rate at the first depth

  // Without rates_only:
  bool has_tokenizer = false;                ///< else the loads are of the weights alone
  std::optional<Summary> load_ms;            ///< the files in the page cache
  std::optional<Summary> cold_load_ms;       ///< the files dropped from the page cache before; nullopt: not measurable
  std::optional<Summary> first_token_ms;     ///< from the start of a load with the files in the page cache
  std::optional<std::size_t> peak_resident;  ///< bytes, of the first load, its first token, a prefill and a decode
  std::optional<Agreement> accuracy;         ///< of the first `accuracy` positions of random tokens
};

/// Measures on random tokens from a fixed seed. Load, first token and peak memory are those of the public path (Chat's
/// model, session and sampler); prefill and decode run on a backend with pinned threads, in turn with the read test, so
/// that all meet the same state of the machine. Throws context_limit when the model's context holds too few positions,
/// and what loading throws.
BenchmarkResult run_benchmark(const BenchmarkOptions& options);

}  // namespace qwen35::cli
