#include "cli/checkpoint_options.h"

#include <cstdio>
#include <filesystem>
#include <optional>

#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/progress.h"

namespace qwen35::cli {

Quantization CheckpointOptions::quantization() const {
  if (bits == "bf16") return {};
  return {std::stoi(bits), group_size};
}

void add_checkpoint_options(CLI::App& command, CheckpointOptions& options, const std::string& bits) {
  options.bits = bits;
  command.add_option("--bits", options.bits, "bits of a weight")
      ->check(CLI::IsMember({"2", "3", "4", "5", "6", "8", "bf16"}))
      ->type_name("BITS")
      ->capture_default_str();
  command.add_option("--group", options.group_size, "weights that share a scale and a bias: 32, 64 or 128")
      ->check(CLI::IsMember({32, 64, 128}))
      ->type_name("N")
      ->capture_default_str();
  command.add_option("--threads", options.threads, "threads; 0: one for each core")
      ->check(in_range(0, 1024))
      ->type_name("N")
      ->capture_default_str();
}

int write_checkpoint(const CheckpointOptions& options, const std::string& action,
                     const std::function<bool(const WriteProgress&)>& write) {
  const PollInterrupt poll;
  bool complete = false;
  {
    std::optional<Progress> progress;
    complete = write([&](std::size_t done, std::size_t total) {
      if (!progress) progress.emplace(action, total);
      progress->update(done);
      return !interrupted();
    });
  }
  if (!complete) {
    std::fprintf(stderr, "stopped; nothing was written\n");
    return kInterruptedExitCode;
  }
  std::uintmax_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(options.destination)) bytes += entry.file_size();
  std::fprintf(stderr, "wrote %s, %.1f MB\n", options.destination.c_str(), static_cast<double>(bytes) / 1e6);
  return 0;
}

}  // namespace qwen35::cli
