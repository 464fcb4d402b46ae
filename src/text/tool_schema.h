#pragma once

#include <qwen35/message.h>

#include <nlohmann/json.hpp>

#include "text/schema_check.h"

namespace qwen35 {

/// Checks a call by the definitions given to the model (OpenAI form, with or without the {"type": "function"} around
/// them): the name must be one of theirs, and the arguments a JSON object that fits the tool's "parameters" as
/// check_json() reads them. Paths begin with "arguments". Never throws for what a model or a schema may hold.
SchemaCheck check_tool_call(const nlohmann::ordered_json& tools, const ToolCall& call);

}  // namespace qwen35
