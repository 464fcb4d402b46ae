#include <memory>
#include <string>

#include "checkpoint/convert.h"
#include "cli/checkpoint_options.h"
#include "cli/cli.h"
#include "cli/model_download.h"

namespace qwen35::cli {
namespace {

struct Options {
  std::string source;
  CheckpointOptions write;
};

int run_convert(const Options& options) {
  ConvertOptions what;
  what.source = find_model(options.source);
  what.destination = options.write.destination;
  what.quantization = options.write.quantization();
  what.threads = options.write.threads;
  return write_checkpoint(options.write, "converting", [&](const WriteProgress& progress) {
    what.progress = progress;
    return convert(what);
  });
}

}  // namespace

void add_convert_command(CLI::App& app, Runner& run) {
  CLI::App* const command = app.add_subcommand("convert", "Quantise a Hugging Face checkpoint into an MLX one");
  const auto options = std::make_shared<Options>();
  command->add_option("SRC", options->source, "a folder with config.json and safetensors files, not quantised")
      ->required();
  command->add_option("DST", options->write.destination, "the folder to make; it must not exist")->required();
  add_checkpoint_options(*command, options->write, "4");
  command->footer(
      "The embedding and every projection are quantised; tokenizer and generation files are carried over.\n"
      "Nothing is left behind when it fails or is stopped.\n\n"
      "Example:\n"
      "  qwen35 convert Qwen3.5-0.8B qwen-4bit --bits 4 --group 64");
  command->callback([options, &run] { run = [options] { return run_convert(*options); }; });
}

}  // namespace qwen35::cli
