#include <qwen35/error.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>

#include "cli/cli.h"
#include "cli/evaluation.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/text_io.h"

namespace qwen35::cli {
namespace {

constexpr std::size_t kMaxInput = std::size_t{64} << 20;

struct Options {
  std::string model;
  LoadOptions load;
  std::string ids;
  std::size_t greedy = 0;
  std::size_t top = 10;
  std::size_t chunk = 0;
  bool all = false;
  bool json = false;
  bool fast = false;
};

struct Evaluation {
  std::vector<float> logits;  ///< of every position or of the last, vocab_size each
  std::size_t vocab_size = 0;
  std::vector<TokenId> greedy;

  [[nodiscard]] std::size_t rows() const { return logits.size() / vocab_size; }
  [[nodiscard]] std::span<const float> row(std::size_t i) const {
    return std::span(logits).subspan(i * vocab_size, vocab_size);
  }
  [[nodiscard]] std::span<const float> last() const { return row(rows() - 1); }
};

Evaluation evaluate(Backend& backend, std::span<const TokenId> prompt, const Options& options) {
  Evaluation result;
  result.vocab_size = backend.config().vocab_size;
  const std::size_t vocab = result.vocab_size;
  const std::size_t rows = options.all ? prompt.size() : 1;
  if (rows > result.logits.max_size() / vocab) {
    throw Error(ErrorCode::invalid_argument,
                "--all: the logits of " + std::to_string(rows) + " positions do not fit in memory; give fewer --ids");
  }
  result.logits.resize(rows * vocab);
  const std::unique_ptr<State> state = backend.make_state();
  const std::size_t chunk = options.chunk == 0 ? prompt.size() : options.chunk;
  Progress progress("reading", prompt.size() + options.greedy);
  for (std::size_t begin = 0; begin < prompt.size(); begin += std::min(chunk, prompt.size() - begin)) {
    const std::span<const TokenId> part = prompt.subspan(begin, std::min(chunk, prompt.size() - begin));
    const bool is_last = begin + part.size() == prompt.size();
    std::span<float> out;
    if (options.all) {
      out = std::span(result.logits).subspan(begin * vocab, part.size() * vocab);
    } else if (is_last) {
      out = result.logits;
    }
    const LogitRows which = options.all ? LogitRows::all : is_last ? LogitRows::last : LogitRows::none;
    backend.forward(*state, part, which, out);
    progress.update(begin + part.size());
  }
  std::vector<float> next(result.last().begin(), result.last().end());
  while (result.greedy.size() < options.greedy) {
    const TokenId token = top_logits(next, 1).front().first;
    result.greedy.push_back(token);
    if (result.greedy.size() == options.greedy) break;
    backend.forward(*state, std::span(&token, 1), LogitRows::last, next);
    progress.update(prompt.size() + result.greedy.size());
  }
  return result;
}

/// JSON has no NaN and no infinity: they become null. Nine digits give every float back exactly.
std::string number(double value, const char* pattern) {
  if (!std::isfinite(value)) return "null";
  char text[40];
  std::snprintf(text, sizeof text, pattern, value);
  return text;
}
std::string number(float value) { return number(static_cast<double>(value), "%.9g"); }

std::string ids_text(std::span<const TokenId> ids, const char* separator) {
  std::string text;
  for (const TokenId id : ids) text += (text.empty() ? "" : separator) + std::to_string(id);
  return text;
}

/// Written by hand, row by row: a document of every logit would take several times the memory of the numbers.
void print_json(const Evaluation& result, const Options& options) {
  std::string text = "{\"top\": [";
  const char* separator = "";
  for (const auto& [id, logit] : top_logits(result.last(), options.top)) {
    text += separator + ("[" + std::to_string(id)) + ", " + number(logit) + "]";
    separator = ", ";
  }
  text += "], \"logsumexp\": " + number(log_sum_exp(result.last()), "%.12g");
  text += ", \"greedy\": [" + ids_text(result.greedy, ", ") + "]";
  if (options.all) {
    text += ", \"logits\": [";
    for (std::size_t row = 0; row < result.rows(); ++row) {
      separator = row == 0 ? "[" : ", [";
      for (const float logit : result.row(row)) {
        text += separator + number(logit);
        separator = ", ";
      }
      text += "]";
      write_output(text);
      text.clear();
    }
    text += "]";
  }
  write_output(text + "}\n");
}

void print_text(const Evaluation& result, std::size_t prompt_size, const Options& options) {
  char line[96];
  for (std::size_t row = 0; row < result.rows(); ++row) {
    const std::size_t position = prompt_size - result.rows() + row;
    std::snprintf(line, sizeof line, "position %zu  logsumexp %.6f\n", position, log_sum_exp(result.row(row)));
    std::string text = line;
    for (const auto& [id, logit] : top_logits(result.row(row), options.top)) {
      std::snprintf(line, sizeof line, "%10d  %12.6f\n", id, static_cast<double>(logit));
      text += line;
    }
    write_output(text);
  }
  if (options.greedy > 0) write_output("greedy " + ids_text(result.greedy, " ") + "\n");
}

int run_eval(const Options& options) {
  const std::string text = options.ids == "-" ? read_all("-", kMaxInput) : options.ids;
  const std::unique_ptr<Backend> backend = load_backend(options.model, options.load, options.fast);
  const std::vector<TokenId> prompt = parse_ids(text, backend->config().vocab_size, "--ids");
  const std::size_t most = backend->config().max_positions;
  if (prompt.size() > most || options.greedy > most - prompt.size()) {
    throw Error(ErrorCode::context_limit, "--ids gives " + std::to_string(prompt.size()) +
                                              " tokens and --greedy asks for " + std::to_string(options.greedy) +
                                              " more, but the model's context holds " + std::to_string(most) +
                                              "; ask for fewer");
  }
  const Evaluation result = evaluate(*backend, prompt, options);
  if (options.json) {
    print_json(result, options);
  } else {
    print_text(result, prompt.size(), options);
  }
  return 0;
}

}  // namespace

void add_eval_command(CLI::App& app, Runner& run) {
  CLI::App* const command = app.add_subcommand("eval", "Logits, log-sum-exp and greedy tokens for token ids");
  const auto options = std::make_shared<Options>();
  add_model_option(*command, options->model);
  command->add_option("--ids", options->ids, "the prompt as token ids: 1,2,3, or - for standard input")
      ->type_name("IDS")
      ->required();
  const auto add_count = [&command](const char* name, std::size_t& value, const char* help, double low) {
    command->add_option(name, value, help)->check(in_range(low, 1e9))->type_name("N")->capture_default_str();
  };
  add_count("--greedy", options->greedy, "go on with the likeliest token this many times", 0);
  add_count("--top", options->top, "how many of the largest logits to show", 0);
  add_count("--chunk", options->chunk, "feed the prompt in pieces of N tokens; 0: at once", 0);
  command->add_flag("--all", options->all, "every position of the prompt, not the last alone");
  command->add_flag("--json", options->json,
                    "print {\"top\": [[id, logit], ...], \"logsumexp\", \"greedy\": [...]} of the last position, with "
                    "--all also \"logits\" of every one");
  command->add_flag("--fast", options->fast,
                    "compute as chat does (quantised activations) instead of in float32 on the stored weights");
  add_compute_options(*command, options->load);
  command->footer(
      "The folder needs no tokenizer.json. Ties go to the lower id.\n\n"
      "Examples:\n"
      "  qwen35 eval --model ./tiny --ids 143,7,12 --greedy 8\n"
      "  echo 'Hello' | qwen35 tokenize --model mini | qwen35 eval --model mini --ids - --json --top 5");
  command->callback([options, &run] { run = [options] { return run_eval(*options); }; });
}

}  // namespace qwen35::cli
