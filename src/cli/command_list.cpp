#include <qwen35/error.h>
#include <qwen35/hub.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <vector>

#include "chat/model_locator.h"
#include "checkpoint/config.h"
#include "cli/cli.h"
#include "cli/text_io.h"
#include "hub/names.h"

namespace qwen35::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  bool all = false;
  bool json = false;
};

struct Row {
  std::string name;  ///< what --model takes
  hub::CachedModel model;
  bool bundled = false;
  bool runs = false;  ///< whether this engine can read its config.json
};

bool is_readable(const fs::path& folder) {
  try {
    (void)read_config(folder);
    return true;
  } catch (const Error&) {
    return false;
  }
}

std::uint64_t bytes_in(const fs::path& folder) {
  std::uint64_t bytes = 0;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    std::error_code ignored;
    if (at->is_regular_file(ignored)) bytes += at->file_size(ignored);
  }
  return bytes;
}

std::vector<Row> rows(bool all) {
  std::vector<Row> result;
  for (const BundledModel& bundled : bundled_models()) {
    hub::CachedModel model;
    model.id = bundled.name;
    model.path = bundled.path;
    model.bytes = bytes_in(bundled.path);
    result.push_back({bundled.name, std::move(model), true, true});
  }
  for (hub::CachedModel& model : hub::list()) {
    std::string name = model.id + (model.variant.empty() ? "" : ":" + model.variant);
    // A revision is said only where it must be.
    const auto& revisions = model.revisions;
    if (std::find(revisions.begin(), revisions.end(), "main") == revisions.end()) {
      name += "@" + (revisions.empty() ? model.commit : revisions.front());
    }
    const bool runs = is_readable(model.path);
    if (runs || all) result.push_back({std::move(name), std::move(model), false, runs});
  }
  return result;
}

std::string to_text(const std::vector<Row>& rows) {
  std::size_t width = 0;
  for (const Row& row : rows) width = std::max(width, row.name.size());
  std::string text;
  for (const Row& row : rows) {
    std::string size = hub::human_bytes(row.model.bytes);
    size.insert(0, size.size() < 9 ? 9 - size.size() : 0, ' ');
    const std::string commit = row.bundled ? "bundled " : row.model.commit.substr(0, 8);
    text += row.name + std::string(width - row.name.size(), ' ') + "  " + size + "  " + commit + "  " +
            row.model.path.string() + (row.runs ? "" : "  (not a model of this engine)") + "\n";
  }
  return text;
}

int run_list(const Options& options) {
  const std::vector<Row> found = rows(options.all);
  if (!options.json) {
    write_output(to_text(found));
    return 0;
  }
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const Row& row : found) {
    json.push_back({{"model", row.name},
                    {"id", row.model.id},
                    {"variant", row.model.variant},
                    {"commit", row.model.commit},
                    {"revisions", row.model.revisions},
                    {"bytes", row.model.bytes},
                    {"path", row.model.path.string()},
                    {"bundled", row.bundled},
                    {"runs", row.runs}});
  }
  write_output(json.dump(2) + "\n");
  return 0;
}

}  // namespace

void add_list_command(CLI::App& app, Runner& run) {
  CLI::App* const command = app.add_subcommand("list", "The models on this machine: bundled, and in the cache");
  const auto options = std::make_shared<Options>();
  command->add_flag("--all", options->all, "also whole checkpoints of other models that the cache holds");
  command->add_flag("--json", options->json, "print a JSON array; sizes in bytes");
  command->footer(
      "Each line: what --model takes, its size, the first digits of its commit, its folder.\n\n"
      "Example:\n  qwen35 list");
  command->callback([options, &run] { run = [options] { return run_list(*options); }; });
}

}  // namespace qwen35::cli
