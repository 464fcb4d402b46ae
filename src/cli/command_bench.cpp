#include <charconv>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "cli/bench_table.h"
#include "cli/benchmark.h"
#include "cli/cli.h"
#include "cli/conversation_benchmark.h"
#include "cli/options.h"
#include "cli/text_io.h"

namespace qwen35::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxCount = 1'000'000'000;
constexpr std::size_t kMaxListed = 64;

struct Options {
  BenchmarkOptions benchmark;
  std::size_t cancels = 20;
  bool conversation = false;
  bool depths_given = false;
  bool json = false;
};

/// "512,4096". Throws CLI::ValidationError.
std::vector<std::size_t> parse_counts(const std::string& option, std::string_view text, std::size_t least) {
  std::vector<std::size_t> counts;
  for (std::string_view rest = text;;) {
    const std::size_t comma = rest.find(',');
    const std::string_view word = rest.substr(0, comma);
    std::size_t count = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), count);
    if (error != std::errc() || end != word.data() + word.size() || count < least || count > kMaxCount) {
      throw CLI::ValidationError(option, "'" + std::string(text) + "' is not a list of whole numbers from " +
                                             std::to_string(least) + " to " + std::to_string(kMaxCount) +
                                             " with commas between");
    }
    counts.push_back(count);
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  if (counts.size() > kMaxListed) {
    throw CLI::ValidationError(
        option, "lists " + std::to_string(counts.size()) + " numbers; give at most " + std::to_string(kMaxListed));
  }
  return counts;
}

Json rates_to_json(const char* label, const std::vector<std::pair<std::size_t, Summary>>& rates) {
  Json list = Json::array();
  for (const auto& [tokens, rate] : rates) {
    list.push_back({{label, tokens},
                    {"tokens_per_second", rounded(rate.median, 2)},
                    {"min", rounded(rate.min, 2)},
                    {"max", rounded(rate.max, 2)}});
  }
  return list;
}

Json median(const std::optional<Summary>& summary) { return summary ? rounded(summary->median, 1) : Json(nullptr); }

Json range(const std::optional<Summary>& summary) {
  return summary ? Json{{"min", rounded(summary->min, 1)}, {"max", rounded(summary->max, 1)}} : Json(nullptr);
}

Json to_json(const BenchmarkResult& result, std::size_t repetitions) {
  Json accuracy = nullptr;
  if (result.accuracy) {
    accuracy = {{"positions", result.accuracy->positions},
                {"worst_cosine", rounded(result.accuracy->worst_cosine, 9)},
                {"mean_cosine", rounded(result.accuracy->mean_cosine, 9)},
                {"mean_kl", result.accuracy->mean_kl}};
  }
  Json first_token = {{"tokens", kFirstTokenPrompt}};
  first_token.update(milliseconds(result.prompt_ms));
  return {{"model", result.model},
          {"backend", result.backend},
          {"threads", result.threads},
          {"repetitions", repetitions},
          {"weight_bytes", result.bytes_per_token},
          {"prefill", rates_to_json("tokens", result.prefill)},
          {"decode", rates_to_json("depth", result.decode)},
          {"sampling", result.samples ? "device" : "none"},
          {"first_token", first_token},
          {"state", result.state ? state_to_json(*result.state) : Json(nullptr)},
          {"bandwidth",
           {{"measured", rounded(result.bandwidth.median / 1e9, 2)},
            {"reached", rounded(result.bandwidth_reached / 1e9, 2)},
            {"min", rounded(result.bandwidth.min / 1e9, 2)},
            {"max", rounded(result.bandwidth.max / 1e9, 2)}}},
          {"load_ms", median(result.load_ms)},
          {"load_cold_ms", median(result.cold_load_ms)},
          {"ttft_ms", median(result.first_token_ms)},
          {"ranges",
           {{"load_ms", range(result.load_ms)},
            {"load_cold_ms", range(result.cold_load_ms)},
            {"ttft_ms", range(result.first_token_ms)}}},
          {"tokenizer", result.has_tokenizer},
          {"peak_rss", result.peak_resident ? Json(*result.peak_resident) : Json(nullptr)},
          {"accuracy", accuracy}};
}

std::string load_text(const BenchmarkResult& result, std::size_t repetitions) {
  Table table("milliseconds");
  table.add("load, files in the page cache", "%.0f", *result.load_ms);
  if (result.cold_load_ms) {
    table.add("load, files dropped from the cache", "%.0f", *result.cold_load_ms);
  } else {
    table.add("load, files dropped from the cache", "-", "-", "-");
  }
  table.add("load to first token (20 tokens)", "%.0f", *result.first_token_ms);
  std::string text = "\n" + table.text();
  if (!result.has_tokenizer) text += "  (the folder has no tokenizer.json: the loads are of the weights alone)\n";
  if (!result.cold_load_ms) {
    text += "  (not measurable: the kernel kept pages of the files that it was asked to drop)\n";
  } else if (repetitions > 0) {
    text += "  (dropped by POSIX_FADV_DONTNEED; a virtual machine's host may still hold the files)\n";
  }
  return text;
}

std::string to_text(const BenchmarkResult& result, std::size_t generate, std::size_t repetitions) {
  std::string text = line("checkpoint", result.model);
  text += line("backend", result.backend + (result.gpu ? "; " : ", pinned; ") + std::to_string(repetitions) +
                              (repetitions == 1 ? " repetition" : " repetitions"));
  text += line("weights read", formatted("%.1f MB a token", static_cast<double>(result.bytes_per_token) / 1e6));

  Table rates("tokens a second");
  for (const auto& [tokens, rate] : result.prefill) {
    rates.add("prefill " + std::to_string(tokens), "%.1f", rate);
  }
  for (const auto& [depth, rate] : result.decode) {
    rates.add("decode " + std::to_string(generate) + " at depth " + std::to_string(depth), "%.1f", rate);
  }
  text += "\n" + rates.text();
  if (result.samples) text += "  (with the choice of each token, which the GPU makes)\n";
  Table first("milliseconds");
  first.add(std::to_string(kFirstTokenPrompt) + " tokens to the first one after", "%.2f", result.prompt_ms);
  text += "\n" + first.text();
  if (result.state) text += state_text(*result.state);

  Table bandwidth("GB/s");
  bandwidth.add(result.gpu ? "copies in the GPU's memory" : "memory read test", "%.1f", result.bandwidth, 1e9);
  bandwidth.add("reached by decode at depth " + std::to_string(result.decode.front().first),
                formatted("%.1f", result.bandwidth_reached / 1e9),
                formatted("%.0f %%", 100 * result.bandwidth_reached / result.bandwidth.median), "");
  text += "\n" + bandwidth.text();

  if (result.load_ms) text += load_text(result, repetitions);
  if (result.peak_resident) {
    text += "\n" + line("peak memory", formatted("%.1f MB resident (load, first token, decode, prefill)",
                                                 static_cast<double>(*result.peak_resident) / 1e6));
  }
  if (result.accuracy) {
    text += line("against float32", formatted("logit cosine worst %.7f, mean %.7f; mean KL %.3g (%zu positions)",
                                              result.accuracy->worst_cosine, result.accuracy->mean_cosine,
                                              result.accuracy->mean_kl, result.accuracy->positions));
  }
  return text;
}

int run_bench(const Options& options) {
  const BenchmarkOptions& benchmark = options.benchmark;
  const BenchmarkResult result = run_benchmark(benchmark);
  write_output(options.json ? to_json(result, benchmark.repetitions).dump(2) + "\n"
                            : to_text(result, benchmark.generate, benchmark.repetitions));
  return 0;
}

int run_conversation(const Options& options) {
  ConversationBenchmarkOptions conversation;
  conversation.model = options.benchmark.model;
  conversation.load = options.benchmark.load;
  if (options.depths_given) conversation.histories = options.benchmark.depths;
  conversation.generate = options.benchmark.generate;
  conversation.repetitions = options.benchmark.repetitions;
  conversation.cancels = options.cancels;
  const ConversationBenchmarkResult result = run_conversation_benchmark(conversation);
  write_output(options.json ? to_json_text(result, conversation.repetitions)
                            : to_table(result, conversation.repetitions));
  return 0;
}

}  // namespace

void add_bench_command(CLI::App& app, Runner& run) {
  CLI::App* const command = app.add_subcommand("bench", "Measures speed, load time, memory and accuracy of a model");
  const auto options = std::make_shared<Options>();
  BenchmarkOptions& benchmark = options->benchmark;
  add_model_option(*command, benchmark.model);
  const auto add_list = [command](const char* name, std::vector<std::size_t>& value, std::size_t least,
                                  const char* standard, const char* help) {
    return command
        ->add_option_function<std::string>(
            name, [&value, name, least](const std::string& text) { value = parse_counts(name, text, least); }, help)
        ->type_name("N,...")
        ->default_str(standard);
  };
  CLI::Option* const prompt = add_list("--prompt", benchmark.prompts, 1, "512", "prefill lengths, in tokens");
  const CLI::Option* const depth =
      add_list("--depth", benchmark.depths, 0, "0,2048",
               "tokens that the conversation holds when decode, or the turn, begins (--conversation: 40,4000)");
  const auto add_count = [command](const char* name, std::size_t& value, const char* help, double low, double high) {
    return command->add_option(name, value, help)->check(in_range(low, high))->type_name("N")->capture_default_str();
  };
  add_count("--gen", benchmark.generate, "tokens that one decode makes", 1, 1e9);
  add_count("--sequences", benchmark.sequences, "conversations that are decoded together at most", 2, 1024);
  add_count("--reps", benchmark.repetitions, "how often everything is measured", 1, 1000);
  CLI::Option* const accuracy =
      add_count("--accuracy", benchmark.accuracy,
                "positions whose logits are compared with float32 arithmetic; 0: none", 0, 1024);
  CLI::Option* const rates =
      command->add_flag("--rates-only", benchmark.rates_only,
                        "prefill, decode and bandwidth alone: no load times, no memory, no accuracy");
  CLI::Option* const conversation = command->add_flag(
      "--conversation", options->conversation,
      "measure a conversation instead: time to first token of a turn, snapshots, lookup decoding, cancelling");
  conversation->excludes(prompt)->excludes(accuracy)->excludes(rates);
  add_count("--cancels", options->cancels, "cancels timed in prefill and in decode", 1, 1000)->needs(conversation);
  command->add_flag("--json", options->json, "print one JSON object; sizes in bytes, bandwidth in GB/s");
  add_compute_options(*command, benchmark.load);
  command->footer(
      "Random tokens from a fixed seed; a drawn checkpoint (synth) will do. Every repetition measures all rates and "
      "the\n"
      "memory's read bandwidth in turn; threads are pinned for that, one a core. Nothing else should run meanwhile.\n\n"
      "Examples:\n"
      "  qwen35 bench --model mini\n"
      "  qwen35 bench --model ./q4 --prompt 512,4096 --depth 0,2048,8192 --reps 9 --json\n"
      "  qwen35 bench --model ./q4 --conversation");
  command->callback([options, depth, &run] {
    options->depths_given = depth->count() > 0;
    run = [options] { return options->conversation ? run_conversation(*options) : run_bench(*options); };
  });
}

}  // namespace qwen35::cli
