#pragma once

#include "server/openai/request_fields.h"

namespace qwen35::server {

/// "tools": an array of {"type": "function", "function": {"name", "description", "parameters"}}.
void read_tools(RequestDraft& draft, const json::Field& field);
/// "tool_choice": auto, none, required or {"type": "function", "function": {"name"}}.
void read_tool_choice(RequestDraft& draft, const json::Field& field);
/// What "tools" and "tool_choice" are to each other. Throws FieldError.
void settle_tools(RequestDraft& draft, const json::Json& request);

}  // namespace qwen35::server
