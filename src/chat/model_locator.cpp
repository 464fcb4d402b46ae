#include "chat/model_locator.h"

#include <qwen35/error.h>

#include <array>
#include <cstdlib>
#include <string_view>
#include <system_error>
#include <vector>

namespace qwen35 {
namespace {

namespace fs = std::filesystem;

struct BundledModel {
  std::string_view name;
  std::string_view folder;
};

constexpr std::array<BundledModel, 1> kBundled = {{{"mini", "qwen35-mini"}}};

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
  for (const BundledModel& model : kBundled) names += (names.empty() ? "\"" : ", \"") + std::string(model.name) + "\"";
  return names;
}

bool looks_like_hub_id(const std::string& name) {
  const std::size_t slash = name.find('/');
  return slash != std::string::npos && slash != 0 && slash + 1 < name.size() &&
         name.find('/', slash + 1) == std::string::npos && name.front() != '.' && name.front() != '~';
}

}  // namespace

fs::path resolve_model(const std::string& name) {
  if (name.empty()) {
    throw Error(ErrorCode::invalid_argument,
                "the model's name is empty; give a folder or the name of a bundled model: " + bundled_names());
  }
  const fs::path given(name);
  if (is_folder(given)) return given;

  for (const BundledModel& model : kBundled) {
    if (name != model.name) continue;
    std::string looked;
    for (const fs::path& root : model_roots()) {
      const fs::path folder = root / model.folder;
      if (is_folder(folder)) return folder;
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
  if (looks_like_hub_id(name)) {
    throw Error(ErrorCode::not_found,
                "there is no folder \"" + name +
                    "\"; if it is a hub id: downloads are not in this version yet. Give a folder with config.json, "
                    "tokenizer.json and *.safetensors, or the name of a bundled model: " +
                    bundled_names());
  }
  throw Error(ErrorCode::not_found, "there is no folder or bundled model \"" + name +
                                        "\"; give a folder with config.json, tokenizer.json and *.safetensors, or one "
                                        "of the bundled models: " +
                                        bundled_names());
}

}  // namespace qwen35
