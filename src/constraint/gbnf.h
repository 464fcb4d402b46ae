#pragma once

#include <string_view>

#include "constraint/expression.h"

namespace qwen35::constraint {

/// Reads a grammar in GBNF; returns its rule `root`. Throws invalid_argument with line and column.
RuleId read_gbnf(std::string_view text, Expressions& out);

}  // namespace qwen35::constraint
