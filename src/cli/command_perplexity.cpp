#include <qwen35/error.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "chat/model_locator.h"
#include "cli/cli.h"
#include "cli/evaluation.h"
#include "cli/model_download.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/text_io.h"
#include "text/tokenizer.h"

namespace qwen35::cli {
namespace {

constexpr std::size_t kMaxFile = std::size_t{1} << 30;
/// Logits held at once: 64 MiB, which 64 positions of a 248k vocabulary nearly fill.
constexpr std::size_t kMaxLogits = std::size_t{16} << 20;
constexpr std::size_t kMaxChunk = 256;

struct Options {
  std::string model;
  LoadOptions load;
  std::string file;
  std::size_t context = 2048;
  bool special = false;
  bool json = false;
  bool fast = false;
};

struct Score {
  double nll = 0;          ///< sum of -log p(token | tokens before it in its window), nats
  std::size_t scored = 0;  ///< tokens that have one: all but the first of each window
  std::size_t windows = 0;
};

Score score(Backend& backend, std::span<const TokenId> tokens, std::size_t context) {
  const std::size_t vocab = backend.config().vocab_size;
  const std::size_t chunk = std::clamp<std::size_t>(kMaxLogits / vocab, 1, kMaxChunk);
  std::vector<float> logits(std::min(chunk, tokens.size()) * vocab);
  const std::unique_ptr<State> state = backend.make_state();
  Score result;
  Progress progress("reading", tokens.size());
  for (std::size_t start = 0; start + 1 < tokens.size(); start += context) {
    const std::span<const TokenId> window = tokens.subspan(start, std::min(context, tokens.size() - start));
    if (window.size() < 2) break;
    backend.reset(*state);
    ++result.windows;
    // The last token of a window is only predicted, so it is not fed.
    for (std::size_t begin = 0; begin + 1 < window.size(); begin += chunk) {
      const std::size_t count = std::min(chunk, window.size() - 1 - begin);
      const std::span<float> rows = std::span(logits).first(count * vocab);
      backend.forward(*state, window.subspan(begin, count), LogitRows::all, rows);
      for (std::size_t i = 0; i < count; ++i) {
        const std::span<const float> row = rows.subspan(i * vocab, vocab);
        const auto target = static_cast<std::size_t>(window[begin + i + 1]);
        result.nll += log_sum_exp(row) - static_cast<double>(row[target]);
        ++result.scored;
      }
      progress.update(start + begin + count);
    }
  }
  return result;
}

int run_perplexity(const Options& options) {
  const std::string text = read_all(options.file, kMaxFile);
  const Tokenizer tokenizer = Tokenizer::from_file(tokenizer_file(find_model(options.model)));
  const std::vector<TokenId> tokens = options.special ? tokenizer.encode_with_special(text) : tokenizer.encode(text);
  if (tokens.size() < 2) {
    throw Error(ErrorCode::invalid_argument,
                options.file + " has " + std::to_string(tokens.size()) + " tokens; perplexity needs at least 2");
  }
  const std::unique_ptr<Backend> backend = load_backend(options.model, options.load, options.fast);
  const std::size_t vocab = backend->config().vocab_size;
  if (const TokenId largest = *std::max_element(tokens.begin(), tokens.end());
      static_cast<std::size_t>(largest) >= vocab) {
    throw Error(ErrorCode::bad_file, "tokenizer.json of " + options.model + " gives token " + std::to_string(largest) +
                                         ", but config.json says vocab_size " + std::to_string(vocab) +
                                         "; take both files from one model");
  }
  const std::size_t context = std::min(options.context, backend->config().max_positions);
  if (context < 2) throw Error(ErrorCode::unsupported, options.model + " holds one token only; perplexity needs 2");
  const Score result = score(*backend, tokens, context);
  const double mean = result.nll / static_cast<double>(result.scored);
  if (options.json) {
    nlohmann::ordered_json json = {{"perplexity", std::exp(mean)}, {"mean_nll", mean},
                                   {"tokens", tokens.size()},      {"scored_tokens", result.scored},
                                   {"windows", result.windows},    {"context", context}};
    write_output(json.dump() + "\n");
    return 0;
  }
  char line[160];
  std::snprintf(line, sizeof line,
                "perplexity %.4f (mean negative log-likelihood %.6f nats over %zu of %zu tokens, windows of %zu)\n",
                std::exp(mean), mean, result.scored, tokens.size(), context);
  write_output(line);
  return 0;
}

}  // namespace

void add_perplexity_command(CLI::App& app, Runner& run) {
  CLI::App* const command = app.add_subcommand("perplexity", "How well a model predicts a text");
  const auto options = std::make_shared<Options>();
  add_model_option(*command, options->model);
  command->add_option("FILE", options->file, "a UTF-8 text; - is standard input")->required();
  command->add_option("--context", options->context, "tokens a window; each begins with an empty state")
      ->check(in_range(2, 1e9))
      ->type_name("N")
      ->capture_default_str();
  command->add_flag("--special", options->special, "read control tokens such as <|im_end|> as such");
  command->add_flag("--json", options->json, "print one JSON object");
  command->add_flag("--fast", options->fast,
                    "compute as chat does (quantised activations) instead of in float32 on the stored weights");
  add_compute_options(*command, options->load);
  command->footer(
      "The text is cut into windows of --context tokens; every token but the first of its window is predicted from\n"
      "those before it there. Perplexity is exp of the mean negative log-likelihood.\n\n"
      "Example:\n"
      "  qwen35 perplexity --model mini book.txt --context 512");
  command->callback([options, &run] { run = [options] { return run_perplexity(*options); }; });
}

}  // namespace qwen35::cli
