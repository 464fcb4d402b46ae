#include "cli/options.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <system_error>

#include "cli/progress.h"

namespace qwen35::cli {
namespace {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.10g", value);
  return text;
}

constexpr double kMaxCount = std::numeric_limits<int>::max();
/// From here on an upper end is there to keep numbers sane and would only clutter the help text.
constexpr double kUnlimited = 1e9;

CLI::Validator range_check(double low, double high, bool low_included) {
  const std::string range = (low_included ? "in [" : "in (") + number(low) + ", " + number(high) + "]";
  const auto check = [=](const std::string& text) -> std::string {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    const bool parsed = !text.empty() && end == text.c_str() + text.size();
    const bool above = low_included ? value >= low : value > low;  // false for NaN
    if (parsed && above && value <= high) return {};
    return "'" + text + "' is not a number " + range;
  };
  return CLI::Validator(check, high >= kUnlimited ? "at least " + number(low) : range);
}

}  // namespace

CLI::Validator in_range(double low, double high) { return range_check(low, high, true); }
CLI::Validator above(double low, double high) { return range_check(low, high, false); }

std::uint64_t parse_seed(const std::string& text) {
  std::uint64_t seed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw CLI::ValidationError("--seed", "'" + text + "' is not an integer from 0 to 18446744073709551615");
  }
  return seed;
}

void add_model_option(CLI::App& command, std::string& model, const std::string& standard) {
  CLI::Option* option =
      command.add_option("-m,--model", model, "folder with a checkpoint, or the name of a bundled model (mini)");
  option->type_name("MODEL");
  if (standard.empty()) {
    option->required();
  } else {
    model = standard;
    option->capture_default_str();
  }
}

void add_compute_options(CLI::App& command, LoadOptions& load) {
  command.add_option("--threads", load.threads, "compute threads; 0: one for each core this process may use")
      ->check(in_range(0, 1024))
      ->type_name("N")
      ->capture_default_str()
      ->group("Compute");
  command
      .add_option("--backend", load.backend,
                  "auto, cpu (fast) or reference (plain float32 code, slow: the definition of the model)")
      ->check(CLI::IsMember({"auto", "cpu", "reference"}))
      ->type_name("NAME")
      ->capture_default_str()
      ->group("Compute");
}

void add_chat_options(CLI::App& command, ChatOptions& options) {
  add_model_option(command, options.model, "mini");
  GenerateOptions& generate = options.generate;
  command
      .add_option_function<std::string>(
          "-s,--system", [&generate](const std::string& text) { generate.system_prompt = text; }, "system prompt")
      ->type_name("TEXT");
  command
      .add_option("--context", options.load.context, "most tokens a conversation may hold; 0: the model's own limit")
      ->check(in_range(0, 1e9))
      ->type_name("N")
      ->capture_default_str()
      ->group("Compute");
  add_compute_options(command, options.load);

  const auto add = [&command](const char* name, auto& value, const char* help, const CLI::Validator& check) {
    command.add_option(name, value, help)->check(check)->type_name("N")->capture_default_str()->group("Sampling");
  };
  add("--temp", generate.temperature, "temperature; 0: always the likeliest token", in_range(0, 100));
  add("--top-k", generate.top_k, "sample among the K likeliest tokens; 0: off", in_range(0, kMaxCount));
  add("--top-p", generate.top_p, "sample among the likeliest tokens of this joint probability; 1: off", above(0, 1));
  add("--max-tokens", generate.max_tokens, "most tokens of one answer, thinking apart", in_range(1, kMaxCount));
  add("--repetition-penalty", generate.repetition_penalty, "above 1: recent tokens become less likely; 1: off",
      above(0, 100));
  add("--repetition-window", generate.repetition_window, "how many tokens the penalty looks back",
      in_range(0, 1 << 20));
  command
      .add_flag_callback(
          "--no-thinking", [&generate] { generate.enable_thinking = false; }, "answer without thinking first")
      ->group("Sampling");
  add("--max-thinking-tokens", generate.max_thinking_tokens, "thinking is cut there and the answer begins",
      in_range(0, kMaxCount));
  command
      .add_option_function<std::string>(
          "--seed", [&generate](const std::string& text) { generate.seed = parse_seed(text); },
          "seed of the random draws; without one every run differs")
      ->type_name("N")
      ->group("Sampling");
}

Chat load_chat(const ChatOptions& options) {
  const Notice notice("loading " + options.model);
  return Chat::from_pretrained(options.model, options.load);
}

}  // namespace qwen35::cli
