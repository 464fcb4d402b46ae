#pragma once

#include <qwen35/chat.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

namespace qwen35::cli {

/// A number in [low, high], NaN refused; the help text shows the range.
CLI::Validator in_range(double low, double high);
/// A number in (low, high].
CLI::Validator above(double low, double high);

/// An integer from 0 to 2^64-1; CLI11's own conversion would take -1 for the largest. Throws CLI::ValidationError.
std::uint64_t parse_seed(const std::string& text);

/// Adds `--model`: a folder or a bundled name. Without a `standard` the option must be given.
void add_model_option(CLI::App& command, std::string& model, const std::string& standard = {});

/// Adds --threads and --backend.
void add_compute_options(CLI::App& command, LoadOptions& load);

/// What chat and generate share.
struct ChatOptions {
  std::string model = "mini";
  LoadOptions load;
  GenerateOptions generate;
};

/// Adds --model, --system, --context, the compute options and every sampling option.
/// `options` must outlive the parse.
void add_chat_options(CLI::App& command, ChatOptions& options);

/// Chat::from_pretrained with a notice on the terminal meanwhile.
Chat load_chat(const ChatOptions& options);

}  // namespace qwen35::cli
