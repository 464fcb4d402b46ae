#pragma once

#include <qwen35/options.h>

#include <string>
#include <vector>

#include "json/fields.h"

namespace qwen35::json {

/// {"token id": bias}, as the OpenAI API has it; null: none. Biases are in [-100, 100].
std::vector<LogitBias> logit_biases(const Field& field);

/// A value as text for GenerateOptions; null or empty: "". `right_type`: whether it is what `expected` says.
std::string json_text(const Field& field, bool right_type, const char* expected);

}  // namespace qwen35::json
