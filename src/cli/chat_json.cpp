#include "cli/chat_json.h"

#include <cmath>
#include <utility>

#include "cli/json_fields.h"
#include "text/chat_template.h"

namespace qwen35::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string text_content(const Json& content, std::string_view what, const std::string& field) {
  if (content.is_null()) return {};
  if (content.is_string()) return content.get<std::string>();
  expect(content.is_array(), what, field, "a string, null or a list of text parts", content);
  std::string text;
  for (std::size_t i = 0; i < content.size(); ++i) {
    const Json& part = content[i];
    const std::string name = field + "[" + std::to_string(i) + "]";
    expect(part.is_object(), what, name, "an object", part);
    const auto found = part.find("text");
    if (found == part.end() || !found->is_string()) {
      refuse(what, name + " is no text part; this engine reads text only: {\"type\": \"text\", \"text\": \"...\"}");
    }
    text += found->get<std::string>();
  }
  return text;
}

ToolCall tool_call(const Json& json, std::string_view what, const std::string& field) {
  expect(json.is_object(), what, field, "an object", json);
  const auto function = json.find("function");
  const Json& call = function == json.end() ? json : *function;
  expect(call.is_object(), what, field + ".function", "an object", call);
  ToolCall result;
  const auto name = call.find("name");
  if (name == call.end() || !name->is_string()) refuse(what, field + " has no string \"name\"");
  result.name = name->get<std::string>();
  const auto arguments = call.find("arguments");
  if (arguments == call.end() || arguments->is_null()) return result;
  Json value = *arguments;
  if (value.is_string()) value = parse_json(value.get<std::string>(), std::string(what) + ": " + field + ".arguments");
  expect(value.is_object(), what, field + ".arguments", "a JSON object", value);
  result.arguments = to_line(value);
  return result;
}

Message message_from_json(const Json& json, std::string_view what, const std::string& field) {
  expect(json.is_object(), what, field, "an object", json);
  Message message;
  for (const auto& [key, value] : json.items()) {
    const std::string name = field + "." + key;
    if (key == "role") {
      expect(value.is_string(), what, name, "a string", value);
      message.role = value.get<std::string>();
    } else if (key == "content") {
      message.content = text_content(value, what, name);
    } else if (key == "thinking" || key == "reasoning_content") {
      if (value.is_null()) continue;
      expect(value.is_string(), what, name, "a string", value);
      message.thinking = value.get<std::string>();
    } else if (key == "tool_calls") {
      if (value.is_null()) continue;
      expect(value.is_array(), what, name, "an array", value);
      for (std::size_t i = 0; i < value.size(); ++i) {
        message.tool_calls.push_back(tool_call(value[i], what, name + "[" + std::to_string(i) + "]"));
      }
    }  // Other fields of the OpenAI API (name, tool_call_id) do not reach Qwen3.5's template.
  }
  if (message.role != "system" && message.role != "user" && message.role != "assistant" && message.role != "tool") {
    refuse(what, field + ".role is \"" + message.role + "\", expected system, user, assistant or tool");
  }
  if (message.role != "assistant" && (!message.tool_calls.empty() || !message.thinking.empty())) {
    refuse(what, field + " has thinking or tool_calls, which only an assistant's message may have");
  }
  return message;
}

/// As JSON; what a model nested deeper than parse_json reads stays text.
Json arguments_of(const ToolCall& call) {
  try {
    return parse_json(call.arguments, "arguments");
  } catch (const Error&) {
    return call.arguments;
  }
}

template <typename Token>
Json logprob_to_json(const Token& token) {
  Json bytes = Json::array();
  for (const char c : token.bytes) bytes.push_back(static_cast<unsigned char>(c));
  // JSON knows no infinity; this is the OpenAI API's word for it.
  constexpr double kNever = -9999;
  const double value =
      std::isfinite(token.logprob) ? std::round(1e6 * static_cast<double>(token.logprob)) / 1e6 + 0.0 : kNever;
  return {{"token", token.bytes}, {"logprob", value}, {"bytes", std::move(bytes)}};
}

Json logprobs_to_json(std::span<const TokenLogprob> logprobs) {
  Json content = Json::array();
  for (const TokenLogprob& token : logprobs) {
    Json entry = logprob_to_json(token);
    entry["top_logprobs"] = Json::array();
    for (const TokenLogprob::Alternative& other : token.top) entry["top_logprobs"].push_back(logprob_to_json(other));
    content.push_back(std::move(entry));
  }
  Json json;
  json["content"] = std::move(content);
  return json;
}

}  // namespace

std::vector<Message> messages_from_json(const Json& json, std::string_view what) {
  expect(json.is_array(), what, "messages", "an array", json);
  std::vector<Message> messages;
  messages.reserve(json.size());
  for (std::size_t i = 0; i < json.size(); ++i) {
    messages.push_back(message_from_json(json[i], what, "messages[" + std::to_string(i) + "]"));
  }
  return messages;
}

std::vector<Message> parse_messages(std::string_view text, std::string_view what) {
  const Json json = parse_json(text, what);
  if (json.is_array()) return messages_from_json(json, what);
  expect(json.is_object(), what, "the file", "{\"messages\": [...]} or an array of messages", json);
  const auto messages = json.find("messages");
  if (messages == json.end()) refuse(what, "there is no \"messages\"");
  return messages_from_json(*messages, what);
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
  if (with_logprobs) json["logprobs"] = logprobs_to_json(reply.logprobs);
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

std::string to_line(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace qwen35::cli
