#pragma once

#include <qwen35/chat.h>

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "json/fields.h"

namespace qwen35::cli {

using json::to_line;

/// Reads `{"messages": [...]}` or a bare array of messages (json/messages.h) from JSON text. Throws invalid_argument
/// naming `what`, the message and the field.
std::vector<Message> parse_messages(std::string_view text, std::string_view what);

/// {"messages": [...]}, indented: parse_messages reads the same back, the spacing inside tool arguments apart.
std::string messages_to_text(std::span<const Message> messages);

/// [{"name", "arguments": {...}}, ...].
nlohmann::ordered_json calls_to_json(std::span<const ToolCall> calls);

/// {"text", "thinking", "tool_calls": [...], "truncated_tool_call", "finish_reason", "dropped_messages",
/// "metrics": {...}}; `with_logprobs`: also "logprobs": {"content": [{"token", "logprob", "bytes", "top_logprobs"}]},
/// as the OpenAI API has it.
nlohmann::ordered_json reply_to_json(const Reply& reply, bool with_logprobs = false);

}  // namespace qwen35::cli
