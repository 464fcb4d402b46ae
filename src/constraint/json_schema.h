#pragma once

#include <string_view>

#include "constraint/expression.h"

namespace qwen35::constraint {

/// Reads a JSON Schema; returns the rule of its values. Throws invalid_argument with the path of what is not supported,
/// malformed or contradictory.
RuleId read_json_schema(std::string_view schema, Expressions& out);

}  // namespace qwen35::constraint
