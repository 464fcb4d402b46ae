#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "checkpoint/checkpoint_writer.h"

namespace qwen35::cli {

/// What the commands that write checkpoints share.
struct CheckpointOptions {
  std::string destination;
  std::string bits;  ///< a number, or "bf16"
  int group_size = 64;
  int threads = 0;

  /// 0 bits for bf16.
  [[nodiscard]] Quantization quantization() const;
};

/// Adds --bits (standing at `bits`), --group and --threads. `options` must outlive the parse.
void add_checkpoint_options(CLI::App& command, CheckpointOptions& options, const std::string& bits);

/// Runs `write` with a progress line on a terminal, and says on standard error what was written. Ctrl-C has `write`
/// stop and clean up. Returns the exit code.
int write_checkpoint(const CheckpointOptions& options, const std::string& action,
                     const std::function<bool(const WriteProgress&)>& write);

}  // namespace qwen35::cli
