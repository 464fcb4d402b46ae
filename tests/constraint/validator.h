#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace qwen35::test {

/// Whether a value is valid under a JSON Schema, as the specification says it: shares nothing with the grammars.
/// Returns "" or what is wrong. Knows the keywords that the grammars know.
std::string validate(const nlohmann::json& value, const nlohmann::json& schema, const nlohmann::json& root);

}  // namespace qwen35::test
