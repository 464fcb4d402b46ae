#pragma once

#include <qwen35/options.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

namespace qwen35::cli {

/// A number in [low, high], NaN refused; the help text shows the range.
CLI::Validator in_range(double low, double high);
/// A number in (low, high].
CLI::Validator above(double low, double high);
/// A number in [low, high).
CLI::Validator below(double low, double high);

/// An integer from 0 to 2^64-1; CLI11's own conversion would take -1 for the largest. Throws CLI::ValidationError.
std::uint64_t parse_seed(const std::string& text);

/// Adds `--model`: a folder, a hub id or a bundled name. Without a `standard` the option must be given.
void add_model_option(CLI::App& command, std::string& model, const std::string& standard = {});

/// Adds --threads and --backend.
void add_compute_options(CLI::App& command, LoadOptions& load);

}  // namespace qwen35::cli
