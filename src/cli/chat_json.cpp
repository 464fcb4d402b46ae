#include "cli/chat_json.h"

#include <utility>

#include "json/logprobs.h"
#include "json/messages.h"

namespace qwen35::cli {
namespace {

using json::Json;

/// As JSON; what a model nested deeper than parse_json reads stays text.
Json arguments_of(const ToolCall& call) {
  try {
    return parse_json(call.arguments, "arguments");
  } catch (const Error&) {
    return call.arguments;
  }
}

}  // namespace

std::vector<Message> parse_messages(std::string_view text, std::string_view what) {
  const Json file = parse_json(text, what);
  if (file.is_array()) return json::messages_from_json(file, what);
  json::expect(file.is_object(), what, "the file", "{\"messages\": [...]} or an array of messages", file);
  const auto messages = file.find("messages");
  if (messages == file.end()) json::refuse(what, "there is no \"messages\"");
  return json::messages_from_json(*messages, what);
}

std::string messages_to_text(std::span<const Message> messages) {
  Json list = Json::array();
  for (const Message& message : messages) {
    Json entry = {{"role", message.role}, {"content", message.content}};
    if (!message.thinking.empty()) entry["thinking"] = message.thinking;
    if (!message.tool_calls.empty()) entry["tool_calls"] = calls_to_json(message.tool_calls);
    list.push_back(std::move(entry));
  }
  Json file;
  file["messages"] = std::move(list);
  return file.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json calls_to_json(std::span<const ToolCall> calls) {
  Json list = Json::array();
  for (const ToolCall& call : calls) list.push_back({{"name", call.name}, {"arguments", arguments_of(call)}});
  return list;
}

Json reply_to_json(const Reply& reply, bool with_logprobs) {
  const Metrics& metrics = reply.metrics;
  Json json = {{"text", reply.text},
               {"thinking", reply.thinking},
               {"tool_calls", calls_to_json(reply.tool_calls)},
               {"truncated_tool_call", reply.truncated_tool_call},
               {"finish_reason", to_string(reply.finish_reason)},
               {"dropped_messages", reply.dropped_messages}};
  if (with_logprobs) json["logprobs"] = json::logprobs_to_json(reply.logprobs);
  json["metrics"] = {{"prompt_tokens", metrics.prompt_tokens},
                     {"reused_tokens", metrics.reused_tokens},
                     {"thinking_tokens", metrics.thinking_tokens},
                     {"reply_tokens", metrics.reply_tokens},
                     {"drafted_tokens", metrics.drafted_tokens},
                     {"accepted_tokens", metrics.accepted_tokens},
                     {"prefill_ms", metrics.prefill_ms},
                     {"time_to_first_token_ms", metrics.time_to_first_token_ms},
                     {"time_to_first_text_ms", metrics.time_to_first_text_ms},
                     {"decode_tokens_per_second", metrics.decode_tokens_per_second},
                     {"total_ms", metrics.total_ms}};
  return json;
}

}  // namespace qwen35::cli
