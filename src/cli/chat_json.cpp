#include "cli/chat_json.h"

#include <cstdint>
#include <limits>
#include <utility>

#include "text/chat_template.h"

namespace qwen35::cli {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void refuse(std::string_view what, const std::string& problem) {
  throw Error(ErrorCode::invalid_argument, std::string(what) + ": " + problem);
}

const char* kind_of(const Json& json) { return json.is_number_integer() ? "integer" : json.type_name(); }

void expect(bool valid, std::string_view what, const std::string& field, const char* expected, const Json& found) {
  if (!valid) refuse(what, field + " is of type " + kind_of(found) + ", expected " + expected);
}

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

int count_field(const Json& value, std::string_view what, const std::string& key) {
  expect(value.is_number_integer(), what, key, "an integer", value);
  const bool fits = value.is_number_unsigned()
                        ? value.get<std::uint64_t>() <= static_cast<std::uint64_t>(std::numeric_limits<int>::max())
                        : value.get<std::int64_t>() >= 0;
  if (!fits) refuse(what, key + " is " + value.dump() + ", expected a number from 0 to 2147483647");
  return value.get<int>();
}

float real_field(const Json& value, std::string_view what, const std::string& key) {
  expect(value.is_number(), what, key, "a number", value);
  return static_cast<float>(value.get<double>());
}

void set_option(GenerateOptions& options, const std::string& key, const Json& value, std::string_view what) {
  if (key == "tools") {
    expect(value.is_null() || value.is_array(), what, key, "an array or null", value);
    options.tools = value.is_null() || value.empty() ? std::string() : to_line(value);
  } else if (key == "enable_thinking") {
    expect(value.is_boolean(), what, key, "true or false", value);
    options.enable_thinking = value.get<bool>();
  } else if (key == "seed") {
    if (!value.is_number_unsigned())
      refuse(what, "seed is " + to_line(value) + ", expected an integer from 0 to 2^64-1");
    options.seed = value.get<std::uint64_t>();
  } else if (key == "temperature") {
    options.temperature = real_field(value, what, key);
  } else if (key == "top_k") {
    options.top_k = count_field(value, what, key);
  } else if (key == "top_p") {
    options.top_p = real_field(value, what, key);
  } else if (key == "max_tokens") {
    options.max_tokens = count_field(value, what, key);
  } else if (key == "max_thinking_tokens") {
    options.max_thinking_tokens = count_field(value, what, key);
  } else if (key == "repetition_penalty") {
    options.repetition_penalty = real_field(value, what, key);
  } else if (key == "repetition_window") {
    options.repetition_window = count_field(value, what, key);
  } else {
    refuse(what,
           "unknown field \"" + key +
               "\"; known are id, messages, tools, enable_thinking, max_thinking_tokens, max_tokens, temperature, "
               "top_k, top_p, repetition_penalty, repetition_window, seed");
  }
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

Request parse_request(std::string_view text, std::string_view what, const GenerateOptions& defaults) {
  const Json json = parse_json(text, what);
  expect(json.is_object(), what, "the request", "an object", json);
  Request request;
  request.options = defaults;
  if (!json.contains("messages")) refuse(what, "there is no \"messages\"");
  for (const auto& [key, value] : json.items()) {
    if (key == "messages") {
      request.messages = messages_from_json(value, what);
    } else if (key == "id") {
      request.id = value;
    } else {
      set_option(request.options, key, value, what);
    }
  }
  return request;
}

std::string messages_to_text(std::span<const Message> messages) {
  Json list = Json::array();
  for (const Message& message : messages) {
    Json entry = {{"role", message.role}, {"content", message.content}};
    if (!message.thinking.empty()) entry["thinking"] = message.thinking;
    for (const ToolCall& call : message.tool_calls) {
      entry["tool_calls"].push_back({{"name", call.name}, {"arguments", arguments_of(call)}});
    }
    list.push_back(std::move(entry));
  }
  Json file;
  file["messages"] = std::move(list);
  return file.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json reply_to_json(const Reply& reply) {
  Json calls = Json::array();
  for (const ToolCall& call : reply.tool_calls) {
    calls.push_back({{"name", call.name}, {"arguments", arguments_of(call)}});
  }
  const Metrics& metrics = reply.metrics;
  return {{"text", reply.text},
          {"thinking", reply.thinking},
          {"tool_calls", std::move(calls)},
          {"finish_reason", to_string(reply.finish_reason)},
          {"metrics",
           {{"prompt_tokens", metrics.prompt_tokens},
            {"reused_tokens", metrics.reused_tokens},
            {"thinking_tokens", metrics.thinking_tokens},
            {"reply_tokens", metrics.reply_tokens},
            {"prefill_ms", metrics.prefill_ms},
            {"time_to_first_token_ms", metrics.time_to_first_token_ms},
            {"time_to_first_text_ms", metrics.time_to_first_text_ms},
            {"decode_tokens_per_second", metrics.decode_tokens_per_second},
            {"total_ms", metrics.total_ms}}}};
}

std::string to_line(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace qwen35::cli
