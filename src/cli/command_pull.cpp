#include <qwen35/error.h>
#include <qwen35/options.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/cli.h"
#include "cli/model_download.h"
#include "cli/options.h"
#include "cli/text_io.h"
#include "hub/names.h"

namespace qwen35::cli {
namespace {

struct Options {
  std::string model = kDefaultModel;
  int parallel = 4;
  bool json = false;
};

int run_pull(const Options& options) {
  const auto name = hub::parse_model_name(options.model);
  if (!name) hub::check_repository_id(options.model);  // throws
  hub::DownloadOptions wanted;
  wanted.variant = name->variant;
  wanted.revision = name->revision;
  wanted.parallel = options.parallel;
  const hub::CachedModel model = pull_model(name->id, wanted, !options.json);
  if (options.json) {
    const nlohmann::ordered_json json = {{"id", model.id},
                                         {"variant", model.variant},
                                         {"commit", model.commit},
                                         {"revisions", model.revisions},
                                         {"bytes", model.bytes},
                                         {"downloaded_bytes", model.downloaded_bytes},
                                         {"path", model.path.string()}};
    write_output(json.dump(2) + "\n");
    return 0;
  }
  const std::string came =
      model.downloaded_bytes == 0 ? "nothing new" : hub::human_bytes(model.downloaded_bytes) + " received";
  write_output(model.id + (model.variant.empty() ? "" : ":" + model.variant) + "  " + hub::human_bytes(model.bytes) +
               ", " + came + "\n" + model.path.string() + "\n");
  return 0;
}

}  // namespace

void add_pull_command(CLI::App& app, Runner& run) {
  CLI::App* const command = app.add_subcommand("pull", "Download a model from the Hugging Face hub");
  const auto options = std::make_shared<Options>();
  command->add_option("MODEL", options->model, "org/name[:variant][@revision]")->capture_default_str();
  command->add_option("--parallel", options->parallel, "files at once")
      ->check(in_range(1, 16))
      ->type_name("N")
      ->capture_default_str();
  command->add_flag("--json", options->json, "print one JSON object, and no progress; sizes in bytes");
  command->footer(
      "Brings the newest files into the cache that huggingface_hub uses too. Stopped in the middle it goes on from\n"
      "there the next time. HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, https_proxy and the like are heeded.\n\n"
      "Example:\n"
      "  qwen35 pull\n"
      "  qwen35 pull aufklarer/Qwen3.5-0.8B-Chat-MLX:int4\n"
      "  qwen35 pull Qwen/Qwen3.5-0.8B");
  command->callback([options, &run] { run = [options] { return run_pull(*options); }; });
}

}  // namespace qwen35::cli
