#pragma once

#include <string>
#include <string_view>

#include "constraint/json_values.h"

namespace qwen35::constraint {

/// The content of JSON strings, in plain form, that an ECMA regular expression finds a match in. Throws
/// invalid_argument naming `place` and the first thing that is not supported.
ExprId read_pattern(std::string_view pattern, const std::string& place, JsonValues& values, Expressions& out);

}  // namespace qwen35::constraint
