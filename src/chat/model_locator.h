#pragma once

#include <filesystem>
#include <string>

namespace qwen35 {

/// The folder of a model: `name` itself when it is a folder, else the bundled model of that name ("mini"), looked for
/// in $QWEN35_MODELS, beside the running executable (../share/qwen35/models), in the source tree this library was built
/// from and under its install prefix. Throws invalid_argument for an empty name, not_found for anything else, saying
/// where it looked and what would work.
std::filesystem::path resolve_model(const std::string& name);

}  // namespace qwen35
