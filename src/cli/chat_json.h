#pragma once

#include <qwen35/chat.h>

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qwen35::cli {

/// One line of `generate --jsonl`.
struct Request {
  std::vector<Message> messages;
  GenerateOptions options;
  nlohmann::ordered_json id;  ///< given back with the reply; null: none
};

/// Reads `[{"role", "content", ...}, ...]` as the OpenAI API has it: content a string, null or a list of text parts;
/// thinking as "thinking" or "reasoning_content"; tool calls as {"name", "arguments"}, also inside "function", the
/// arguments an object or its JSON text. Throws invalid_argument naming `what`, the message and the field.
std::vector<Message> messages_from_json(const nlohmann::ordered_json& json, std::string_view what);

/// Reads `{"messages": [...]}` or a bare array of messages from JSON text.
std::vector<Message> parse_messages(std::string_view text, std::string_view what);

/// Reads a request object; what it does not state is taken from `defaults`. Throws invalid_argument naming `what` and
/// the field; an unknown field is an error, because a misspelt option would otherwise pass unseen.
Request parse_request(std::string_view text, std::string_view what, const GenerateOptions& defaults);

/// {"messages": [...]}, indented: parse_messages reads the same back, the spacing inside tool arguments apart.
std::string messages_to_text(std::span<const Message> messages);

/// {"text", "thinking", "tool_calls": [{"name", "arguments": {...}}], "finish_reason", "metrics": {...}}.
nlohmann::ordered_json reply_to_json(const Reply& reply);

/// One line of JSON; ill-formed UTF-8 becomes U+FFFD.
std::string to_line(const nlohmann::ordered_json& json);

}  // namespace qwen35::cli
