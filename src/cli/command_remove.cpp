#include <qwen35/error.h>
#include <qwen35/hub.h>
#include <unistd.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "chat/model_locator.h"
#include "cli/cli.h"
#include "cli/text_io.h"
#include "hub/names.h"

namespace qwen35::cli {
namespace {

struct Options {
  std::string model;
  bool yes = false;
  bool json = false;
};

hub::ModelName parse(const std::string& text) {
  for (const BundledModel& bundled : bundled_models()) {
    if (text == bundled.name) {
      throw Error(ErrorCode::invalid_argument, "\"" + text + "\" comes with this program, in " + bundled.path.string() +
                                                   "; only models of the cache are removed");
    }
  }
  const auto name = hub::parse_model_name(text);
  if (!name) hub::check_repository_id(text);  // throws
  return *name;
}

/// Asks on the terminal.
bool agreed(const std::string& what) {
  if (isatty(STDIN_FILENO) == 0 || isatty(STDERR_FILENO) == 0) {
    throw Error(ErrorCode::invalid_argument, "nobody can be asked whether to remove " + what + "; give --yes");
  }
  std::cerr << "Remove " << what << " from the cache? [y/N] " << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

int run_remove(const Options& options) {
  const hub::ModelName name = parse(options.model);
  const hub::DownloadOptions which = {.variant = name.variant, .revision = name.revision};
  if (!options.yes && !agreed(options.model + (name.variant.empty() ? " with all its variants" : ""))) {
    std::cerr << "nothing was removed\n";
    return 1;
  }
  const hub::Removed removed = hub::remove(name.id, which);
  if (options.json) {
    const nlohmann::ordered_json json = {{"models", removed.models}, {"bytes", removed.bytes}};
    write_output(json.dump(2) + "\n");
  } else {
    write_output("removed " + std::to_string(removed.models) + (removed.models == 1 ? " model, " : " models, ") +
                 hub::human_bytes(removed.bytes) + " freed\n");
  }
  return 0;
}

}  // namespace

void add_remove_command(CLI::App& app, Runner& run) {
  CLI::App* const command = app.add_subcommand("remove", "Delete a model from the cache");
  const auto options = std::make_shared<Options>();
  command->add_option("MODEL", options->model, "org/name[:variant][@revision]; without variant and revision all of it")
      ->required();
  command->add_flag("-y,--yes", options->yes, "do not ask");
  command->add_flag("--json", options->json, "print one JSON object");
  command->footer(
      "The cache is shared with huggingface_hub: what is removed is gone for other programs too. Files that another\n"
      "revision or variant uses stay.\n\n"
      "Example:\n  qwen35 remove aufklarer/Qwen3.5-0.8B-Chat-MLX:int4");
  command->callback([options, &run] { run = [options] { return run_remove(*options); }; });
}

}  // namespace qwen35::cli
