#include "cli/benchmark.h"

#include <qwen35/error.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <random>
#include <span>

#include "backend/backend.h"
#include "base/usable_cores.h"
#include "chat/model.h"
#include "chat/model_locator.h"
#include "chat/session.h"
#include "checkpoint/info.h"
#include "checkpoint/weights.h"
#include "cli/decode_steps.h"
#include "cli/memory_bandwidth.h"
#include "cli/model_download.h"
#include "cli/progress.h"
#include "cli/state_benchmark.h"
#include "cli/system_memory.h"
#include "sampling/sampler.h"

namespace qwen35::cli {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double milliseconds_since(Clock::time_point start) { return 1e3 * seconds_since(start); }

/// Token ids drawn evenly from the vocabulary: no two runs differ.
class RandomTokens {
 public:
  explicit RandomTokens(std::size_t vocab_size) : vocab_size_(vocab_size) {}

  TokenId next() { return static_cast<TokenId>(engine_() % vocab_size_); }
  std::vector<TokenId> take(std::size_t count) {
    std::vector<TokenId> tokens(count);
    for (TokenId& token : tokens) token = next();
    return tokens;
  }

 private:
  std::size_t vocab_size_;
  std::mt19937_64 engine_{1};
};

/// Throws context_limit naming the options when `tokens` do not fit.
void check_positions(const ModelConfig& config, const std::string& what, std::size_t tokens) {
  if (tokens <= config.max_positions) return;
  throw Error(ErrorCode::context_limit, what + " take " + std::to_string(tokens) +
                                            " positions, but the model's context holds " +
                                            std::to_string(config.max_positions) + "; ask for fewer");
}

void check_positions(const ModelConfig& config, const BenchmarkOptions& options) {
  for (const std::size_t prompt : options.prompts) {
    check_positions(config, "--prompt " + std::to_string(prompt), prompt);
  }
  const std::string generate = "--gen " + std::to_string(options.generate);
  for (const std::size_t depth : options.depths) {
    check_positions(config, "--depth " + std::to_string(depth) + " and " + generate, depth + options.generate);
  }
  const std::string prompt = "a prompt of " + std::to_string(kFirstTokenPrompt) + " tokens";
  check_positions(config, prompt, kFirstTokenPrompt);
  if (options.rates_only) return;
  check_positions(config, prompt + " and " + generate, kFirstTokenPrompt + options.generate);
  check_positions(config, "--accuracy " + std::to_string(options.accuracy), options.accuracy);
}

/// A model as a program loads it: with the tokenizer where there is one, else the weights alone.
class LoadedModel {
 public:
  LoadedModel(const std::filesystem::path& folder, const LoadOptions& options, bool with_tokenizer) {
    if (with_tokenizer) {
      model_ = load_model(folder, options);
    } else {
      weights_alone_ = make_backend(load_weights(folder), {.kind = options.backend, .threads = options.threads});
    }
  }

  [[nodiscard]] Backend& backend() const { return model_ ? *model_->backend : *weights_alone_; }
  [[nodiscard]] std::size_t vocabulary() const { return model_ ? model_->vocabulary : backend().config().vocab_size; }

 private:
  std::unique_ptr<Model> model_;
  std::unique_ptr<Backend> weights_alone_;
};

class Benchmark {
 public:
  Benchmark(const BenchmarkOptions& options, std::filesystem::path folder)
      : options_(options), folder_(std::move(folder)), cores_(usable_cores()) {}

  BenchmarkResult run() {
    result_.model = folder_.string();
    result_.threads = options_.load.threads > 0 ? static_cast<std::size_t>(options_.load.threads) : cores_.size();
    {
      const ModelWeights weights = load_weights(folder_);
      check_positions(weights.config, options_);
      result_.bytes_per_token = describe(weights).bytes_per_token;
    }
    // The first load comes first of all: the process is as new as a program's that loads a model at its start.
    if (!options_.rates_only) measure_first_load();
    std::vector<float> fast_logits;
    {
      const std::unique_ptr<Backend> backend = load_pinned(false);
      result_.backend = backend->description();
      result_.gpu = result_.backend.starts_with("cuda");
      measure_rates(*backend);
      if (measures_accuracy()) fast_logits = accuracy_logits(*backend);
    }
    release_freed_memory();
    if (!options_.rates_only) measure_loads();
    if (measures_accuracy()) {
      const std::unique_ptr<Backend> backend = load_pinned(true);
      result_.accuracy = compare_logits(accuracy_logits(*backend), fast_logits, backend->config().vocab_size);
    }
    return std::move(result_);
  }

 private:
  [[nodiscard]] bool measures_accuracy() const { return !options_.rates_only && options_.accuracy > 0; }

  [[nodiscard]] std::unique_ptr<Backend> load_pinned(bool float32) const {
    const Notice notice("loading " + folder_.string());
    const std::string kind = float32 && options_.load.backend != "reference" ? "cpu" : options_.load.backend;
    return make_backend(load_weights(folder_),
                        {.kind = kind, .threads = options_.load.threads, .float32 = float32, .pin_threads = true});
  }

  /// Loads, reads a prompt and samples a token, then hands model and session to `rest`.
  template <typename Rest>
  void first_token(Rest&& rest) {
    const auto start = Clock::now();
    const LoadedModel model(folder_, options_.load, result_.has_tokenizer);
    load_ms_.push_back(milliseconds_since(start));
    RandomTokens random(model.vocabulary());
    Batcher batcher(model.backend());
    Checkpoints checkpoints(0);
    Session session(model.backend(), batcher, checkpoints);
    std::vector<TokenId> tokens = random.take(kFirstTokenPrompt);
    session.feed(tokens, {});
    Sampler sampler(SamplerOptions{.seed = 1});
    tokens.push_back(sampler.sample(session.logits().first(model.vocabulary()), tokens));
    first_token_ms_.push_back(milliseconds_since(start));
    rest(session, random);
  }

  void measure_first_load() {
    const Notice notice("measuring the first load");
    std::error_code error;
    result_.has_tokenizer = std::filesystem::exists(tokenizer_file(folder_), error);
    fill_page_cache(folder_);
    release_freed_memory();
    reset_peak_resident();
    first_token([this](Session& session, RandomTokens& random) {
      for (std::size_t i = 0; i < options_.generate; ++i) {
        const TokenId token = random.next();
        session.feed(std::span(&token, 1), {});
      }
      const std::vector<TokenId> prompt = random.take(options_.prompts.front());
      session.align(prompt);
      session.feed(prompt, {});
    });
    result_.peak_resident = peak_resident_bytes();
    release_freed_memory();
  }

  /// The other repetitions of the first load, and the cold ones. Nothing maps the files now, so that they can be
  /// dropped from the page cache.
  void measure_loads() {
    const Notice notice("measuring load times");
    fill_page_cache(folder_);
    while (load_ms_.size() < options_.repetitions) {
      first_token([](Session&, RandomTokens&) {});
      release_freed_memory();
    }
    std::vector<double> cold;
    while (cold.size() < options_.repetitions && drop_page_cache(folder_)) {
      const auto start = Clock::now();
      const LoadedModel model(folder_, options_.load, result_.has_tokenizer);
      cold.push_back(milliseconds_since(start));
    }
    release_freed_memory();
    fill_page_cache(folder_);
    result_.load_ms = summarize(load_ms_);
    result_.first_token_ms = summarize(first_token_ms_);
    if (cold.size() == options_.repetitions) result_.cold_load_ms = summarize(cold);
  }

  /// Every repetition is one round of all measurements: what is compared with each other was measured side by side.
  void measure_rates(Backend& backend) {
    const std::size_t repetitions = options_.repetitions;
    const std::size_t prompts = options_.prompts.size();
    const std::size_t depths = options_.depths.size();
    Progress progress("measuring", prompts + depths + repetitions * (prompts + depths));
    std::size_t done = 0;
    const auto advance = [&progress, &done] { progress.update(++done); };

    // The first pass over each prompt warms up and is not counted.
    DecodeSteps steps(backend);
    result_.samples = steps.samples();
    const std::unique_ptr<State> state = backend.make_state();
    first_token_after_prompt(backend, steps, *state);
    for (const std::size_t prompt : options_.prompts) {
      prefill(backend, steps, *state, prompt);
      advance();
    }
    std::vector<std::unique_ptr<State>> deep;
    std::vector<std::unique_ptr<Snapshot>> starts;
    for (const std::size_t depth : options_.depths) {
      deep.push_back(backend.make_state());
      backend.forward(*deep.back(), RandomTokens(backend.config().vocab_size).take(depth), LogitRows::none, {});
      starts.push_back(backend.snapshot(*deep.back()));
      advance();
    }

    std::vector<std::vector<double>> prefill_rates(prompts);
    std::vector<std::vector<double>> decode_rates(depths);
    std::vector<double> prompt_ms;
    std::vector<double> bandwidths;
    std::optional<ReadTest> read_test;
    if (!result_.gpu) read_test.emplace(result_.threads, cores_);
    std::optional<StateBenchmark> state_times;
    if (options_.depths.back() + StateBenchmark::kPositions <= backend.config().max_positions)
      state_times.emplace(backend, *deep.back(), *starts.back(), options_.sequences);
    const auto some_tokens = RandomTokens(backend.config().vocab_size).take(StateBenchmark::kPositions);
    for (std::size_t repetition = 0; repetition < repetitions; ++repetition) {
      prompt_ms.push_back(first_token_after_prompt(backend, steps, *state));
      for (std::size_t i = 0; i < prompts; ++i) {
        prefill_rates[i].push_back(prefill(backend, steps, *state, options_.prompts[i]));
        advance();
      }
      bandwidths.push_back(read_test ? read_test->sample() : gpu_copy_bandwidth());
      for (std::size_t i = 0; i < depths; ++i) {
        backend.restore(*deep[i], *starts[i]);
        decode_rates[i].push_back(decode(backend, steps, *deep[i]));
        advance();
      }
      if (state_times) state_times->sample(some_tokens);
    }
    for (std::size_t i = 0; i < prompts; ++i) {
      result_.prefill.emplace_back(options_.prompts[i], summarize(prefill_rates[i]));
    }
    for (std::size_t i = 0; i < depths; ++i) {
      result_.decode.emplace_back(options_.depths[i], summarize(decode_rates[i]));
    }
    result_.prompt_ms = summarize(prompt_ms);
    if (state_times) result_.state = state_times->times();
    result_.bandwidth = summarize(bandwidths);
    result_.bandwidth_reached = static_cast<double>(result_.bytes_per_token) * result_.decode.front().second.median;
  }

  /// Tokens a second.
  static double prefill(Backend& backend, DecodeSteps& steps, State& state, std::size_t count) {
    const std::vector<TokenId> tokens = RandomTokens(backend.config().vocab_size).take(count);
    backend.reset(state);
    const auto start = Clock::now();
    steps.feed(state, tokens);
    return static_cast<double>(count) / seconds_since(start);
  }

  /// Milliseconds until the token behind a short prompt is there.
  static double first_token_after_prompt(Backend& backend, DecodeSteps& steps, State& state) {
    const std::vector<TokenId> tokens = RandomTokens(backend.config().vocab_size).take(kFirstTokenPrompt);
    backend.reset(state);
    const auto start = Clock::now();
    steps.feed(state, tokens);
    if (steps.token() < 0) throw Error(ErrorCode::internal, "no finite logit is left behind a prompt");
    return milliseconds_since(start);
  }

  /// Tokens a second.
  [[nodiscard]] double decode(Backend& backend, DecodeSteps& steps, State& state) const {
    RandomTokens random(backend.config().vocab_size);
    const auto start = Clock::now();
    for (std::size_t i = 0; i < options_.generate; ++i) {
      const TokenId token = random.next();
      steps.feed(state, std::span(&token, 1));
    }
    return static_cast<double>(options_.generate) / seconds_since(start);
  }

  [[nodiscard]] std::vector<float> accuracy_logits(Backend& backend) const {
    const Notice notice("computing logits to compare");
    const std::size_t vocab_size = backend.config().vocab_size;
    std::vector<float> logits(options_.accuracy * vocab_size);
    const std::unique_ptr<State> state = backend.make_state();
    backend.forward(*state, RandomTokens(vocab_size).take(options_.accuracy), LogitRows::all, logits);
    return logits;
  }

  const BenchmarkOptions& options_;
  std::filesystem::path folder_;
  std::vector<int> cores_;  ///< before any thread is pinned
  BenchmarkResult result_;
  std::vector<double> load_ms_;
  std::vector<double> first_token_ms_;
};

}  // namespace

Summary summarize(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  const double median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {.median = median, .min = values.front(), .max = values.back()};
}

BenchmarkResult run_benchmark(const BenchmarkOptions& options) {
  return Benchmark(options, find_model(options.model)).run();
}

}  // namespace qwen35::cli
