#include "cli/options.h"

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <system_error>

namespace qwen35::cli {
namespace {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.10g", value);
  return text;
}

/// From here on an upper end is there to keep numbers sane and would only clutter the help text.
constexpr double kUnlimited = 1e9;

enum class Ends { both, upper, lower };  ///< of a range: those that belong to it

CLI::Validator range_check(double low, double high, Ends ends) {
  const std::string range =
      (ends == Ends::upper ? "in (" : "in [") + number(low) + ", " + number(high) + (ends == Ends::lower ? ")" : "]");
  const auto check = [=](const std::string& text) -> std::string {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    const bool parsed = !text.empty() && end == text.c_str() + text.size();
    const bool above = ends == Ends::upper ? value > low : value >= low;  // false for NaN
    const bool below = ends == Ends::lower ? value < high : value <= high;
    if (parsed && above && below) return {};
    return "'" + text + "' is not a number " + range;
  };
  return CLI::Validator(check, high >= kUnlimited ? "at least " + number(low) : range);
}

}  // namespace

CLI::Validator in_range(double low, double high) { return range_check(low, high, Ends::both); }
CLI::Validator above(double low, double high) { return range_check(low, high, Ends::upper); }
CLI::Validator below(double low, double high) { return range_check(low, high, Ends::lower); }

std::uint64_t parse_seed(const std::string& text) {
  std::uint64_t seed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw CLI::ValidationError("--seed", "'" + text + "' is not an integer from 0 to 18446744073709551615");
  }
  return seed;
}

void add_model_option(CLI::App& command, std::string& model, const std::string& standard) {
  CLI::Option* option = command.add_option(
      "-m,--model", model, "folder with a checkpoint, hub id (org/name[:variant][@revision]), or bundled model (mini)");
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
                  "auto (a usable GPU, else the CPU), cpu, cuda, or reference (plain float32 code, slow)")
      ->check(CLI::IsMember({"auto", "cpu", "cuda", "reference"}))
      ->type_name("NAME")
      ->capture_default_str()
      ->group("Compute");
}

}  // namespace qwen35::cli
