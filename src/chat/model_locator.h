#pragma once

#include <qwen35/options.h>

#include <filesystem>
#include <string>
#include <vector>

namespace qwen35 {

/// The folder of a model: `name` itself when it is a folder (with `options.variant`, that folder inside it), else the
/// bundled model of that name ("mini"), looked for in $QWEN35_MODELS, beside the running executable
/// (../share/qwen35/models), in the source tree this library was built from and under its install prefix, else the
/// repository `org/name[:variant][@revision]` in the cache of models, where it is downloaded to if need be. Throws
/// invalid_argument for what makes no sense, not_found saying where it looked and what would work, and whatever
/// hub::download() throws.
std::filesystem::path resolve_model(const std::string& name, const LoadOptions& options = {});

/// The tokenizer.json of a model's folder. A variant's folder in the cache of models may have none of its own: then it
/// is the one above, which all variants share. The file need not exist.
std::filesystem::path tokenizer_file(const std::filesystem::path& folder);

/// A model that comes with the library.
struct BundledModel {
  std::string name;
  std::filesystem::path path;
};
/// Those that are installed.
std::vector<BundledModel> bundled_models();

}  // namespace qwen35
