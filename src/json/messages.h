#pragma once

#include <qwen35/message.h>

#include <string_view>
#include <vector>

#include "json/fields.h"

namespace qwen35::json {

/// Reads `[{"role", "content", ...}, ...]` as the OpenAI API has it: content a string, null or a list of text parts;
/// the roles developer and function as system and tool; thinking as "thinking" or "reasoning_content"; tool calls as
/// {"name", "arguments"}, also inside "function", the arguments an object or its JSON text. Fields that the model's
/// template has no place for (name, tool_call_id) are passed over. Throws FieldError, its message begins with `what`.
std::vector<Message> messages_from_json(const Json& json, std::string_view what);

}  // namespace qwen35::json
