#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace qwen35::cli {

/// What a subcommand does once the whole command line has been read; returns the exit code. It throws qwen35::Error for
/// what the user can mend: main() prints "error: ..." and exits with 1.
using Runner = std::function<int()>;

/// Each adds its subcommand with options, help and an example, and has the subcommand's callback assign `run`.
/// `run` outlives the parse; what the options are stored in must too (a shared_ptr captured by the callback).
void add_chat_command(CLI::App& app, Runner& run);
void add_generate_command(CLI::App& app, Runner& run);
void add_eval_command(CLI::App& app, Runner& run);
void add_perplexity_command(CLI::App& app, Runner& run);
void add_tokenize_command(CLI::App& app, Runner& run);  ///< tokenize and detokenize
void add_render_command(CLI::App& app, Runner& run);
void add_convert_command(CLI::App& app, Runner& run);
void add_synth_command(CLI::App& app, Runner& run);
void add_bench_command(CLI::App& app, Runner& run);
void add_info_command(CLI::App& app, Runner& run);
void add_pull_command(CLI::App& app, Runner& run);
void add_list_command(CLI::App& app, Runner& run);
void add_remove_command(CLI::App& app, Runner& run);
void add_voice_command(CLI::App& app, Runner& run);
void add_serve_command(CLI::App& app, Runner& run);

}  // namespace qwen35::cli
