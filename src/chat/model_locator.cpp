#include "chat/model_locator.h"

#include <qwen35/error.h>
#include <qwen35/hub.h>

#include <array>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <system_error>
#include <vector>

#include "hub/names.h"

namespace qwen35 {
namespace {

namespace fs = std::filesystem;

struct Bundled {
  std::string_view name;
  std::string_view folder;
};

constexpr std::array<Bundled, 1> kBundled = {{{"mini", "qwen35-mini"}}};

std::vector<fs::path> model_roots() {
  std::vector<fs::path> roots;
  if (const char* models = std::getenv("QWEN35_MODELS"); models != nullptr && *models != '\0')
    roots.emplace_back(models);
  std::error_code error;
  if (const fs::path self = fs::read_symlink("/proc/self/exe", error); !error) {
    roots.push_back((self.parent_path() / ".." / "share" / "qwen35" / "models").lexically_normal());
  }
  roots.emplace_back(QWEN35_SOURCE_MODELS);
  roots.emplace_back(QWEN35_INSTALL_MODELS);
  return roots;
}

bool is_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

std::string bundled_names() {
  std::string names;
  for (const Bundled& model : kBundled) names += (names.empty() ? "\"" : ", \"") + std::string(model.name) + "\"";
  return names;
}

fs::path variant_of(const fs::path& folder, const LoadOptions& options) {
  if (!options.revision.empty()) {
    throw Error(ErrorCode::invalid_argument, "model \"" + folder.string() + "\" is a folder and has no revision \"" +
                                                 options.revision + "\"; leave the revision out");
  }
  if (options.variant.empty()) return folder;
  hub::check_variant(options.variant);
  if (is_folder(folder / options.variant)) return folder / options.variant;
  throw Error(ErrorCode::not_found, "model \"" + folder.string() + "\" has no folder \"" + options.variant +
                                        "\" for that variant; leave the variant out or name a folder that is there");
}

/// Both may say the same thing, but not two.
std::string one_of(const char* what, const std::string& named, const std::string& option) {
  if (named.empty() || option.empty() || named == option) return named.empty() ? option : named;
  throw Error(ErrorCode::invalid_argument, "the model's name asks for the " + std::string(what) + " \"" + named +
                                               "\" and LoadOptions for \"" + option + "\"; give one of them");
}

fs::path from_hub(const hub::ModelName& name, const LoadOptions& options) {
  hub::DownloadOptions wanted;
  wanted.variant = one_of("variant", name.variant, options.variant);
  wanted.revision = one_of("revision", name.revision, options.revision);
  wanted.offline = options.offline;
  wanted.on_progress = options.on_download;
  wanted.cancel = options.cancel_download;
  if (const auto model = hub::find(name.id, wanted)) return model->path;
  try {
    return hub::download(name.id, wanted).path;
  } catch (const Error& error) {
    if (name.id != kDefaultModel || error.code() == ErrorCode::cancelled) throw;
    throw Error(error.code(), std::string(error.what()) +
                                  "\nThe toy model that comes with this program needs no download: --model mini, or "
                                  "from_pretrained(\"mini\")");
  }
}

}  // namespace

fs::path resolve_model(const std::string& name, const LoadOptions& options) {
  if (name.empty()) {
    throw Error(ErrorCode::invalid_argument, "the model's name is empty; give a folder, a hub id such as " +
                                                 std::string(kDefaultModel) +
                                                 ", or the name of a bundled model: " + bundled_names());
  }
  const fs::path given(name);
  if (is_folder(given)) return variant_of(given, options);

  for (const Bundled& model : kBundled) {
    if (name != model.name) continue;
    std::string looked;
    for (const fs::path& root : model_roots()) {
      const fs::path folder = root / model.folder;
      if (is_folder(folder)) return variant_of(folder, options);
      looked += "\n  " + folder.string();
    }
    throw Error(ErrorCode::not_found, "the bundled model \"" + name + "\" is not installed; looked for" + looked +
                                          "\nset QWEN35_MODELS to the folder that holds " + std::string(model.folder));
  }

  std::error_code error;
  if (fs::exists(given, error)) {
    throw Error(ErrorCode::not_found, "model \"" + name +
                                          "\" is a file; give the folder that holds config.json, tokenizer.json and "
                                          "*.safetensors");
  }
  if (const auto id = hub::parse_model_name(name)) return from_hub(*id, options);
  throw Error(ErrorCode::not_found, "there is no folder or bundled model \"" + name +
                                        "\"; give a folder with config.json, tokenizer.json and *.safetensors, a hub "
                                        "id (org/name[:variant][@revision]), or one of the bundled models: " +
                                        bundled_names());
}

fs::path tokenizer_file(const fs::path& folder) {
  const fs::path own = folder / "tokenizer.json";
  std::error_code error;
  if (fs::exists(own, error)) return own;
  const fs::path snapshot = folder.lexically_normal().parent_path();
  const fs::path shared = snapshot / "tokenizer.json";
  return snapshot.parent_path().filename() == "snapshots" && fs::exists(shared, error) ? shared : own;
}

std::vector<BundledModel> bundled_models() {
  std::vector<BundledModel> models;
  for (const Bundled& model : kBundled) {
    for (const fs::path& root : model_roots()) {
      if (!is_folder(root / model.folder)) continue;
      models.push_back({std::string(model.name), root / model.folder});
      break;
    }
  }
  return models;
}

}  // namespace qwen35
