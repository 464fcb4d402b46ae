#include <cstdint>
#include <memory>
#include <string>

#include "checkpoint/synth.h"
#include "cli/checkpoint_options.h"
#include "cli/cli.h"
#include "cli/options.h"

namespace qwen35::cli {
namespace {

struct Options {
  std::string config;
  std::string tokenizer;
  std::uint64_t seed = 1;
  CheckpointOptions write;
};

int run_synth(const Options& options) {
  SynthOptions what;
  what.config = options.config;
  what.destination = options.write.destination;
  what.tokenizer = options.tokenizer;
  what.seed = options.seed;
  what.quantization = options.write.quantization();
  what.threads = options.write.threads;
  return write_checkpoint(options.write, "drawing", [&](const WriteProgress& progress) {
    what.progress = progress;
    return synthesize(what);
  });
}

}  // namespace

void add_synth_command(CLI::App& app, Runner& run) {
  CLI::App* const command = app.add_subcommand("synth", "Draw a checkpoint of any shape, to test and time with");
  const auto options = std::make_shared<Options>();
  command->add_option("--config", options->config, "the config.json to draw for")->required()->type_name("FILE");
  command
      ->add_option_function<std::string>(
          "--seed", [options](const std::string& text) { options->seed = parse_seed(text); },
          "the same seed draws the same weights everywhere")
      ->type_name("N")
      ->default_str("1");
  command->add_option("--out", options->write.destination, "the folder to make; it must not exist")
      ->required()
      ->type_name("DIR");
  command->add_option("--tokenizer", options->tokenizer, "a tokenizer.json to copy into it")->type_name("FILE");
  add_checkpoint_options(*command, options->write, "bf16");
  command->footer(
      "With bf16 the folder has the Hugging Face layout; with fewer bits the same weights are quantised as convert\n"
      "does. The weights are random: such a model speaks no language.\n\n"
      "Example:\n"
      "  qwen35 synth --config config.json --seed 1 --out drawn --bits 4");
  command->callback([options, &run] { run = [options] { return run_synth(*options); }; });
}

}  // namespace qwen35::cli
