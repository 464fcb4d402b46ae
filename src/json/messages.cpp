#include "json/messages.h"

#include <string>
#include <utility>

namespace qwen35::json {
namespace {

std::string at(const std::string& field, std::size_t index) { return field + "[" + std::to_string(index) + "]"; }

std::string text_content(const Json& content, std::string_view what, const std::string& field) {
  if (content.is_null()) return {};
  if (content.is_string()) return content.get<std::string>();
  expect(content.is_array(), what, field, "a string, null or a list of text parts", content);
  std::string text;
  for (std::size_t i = 0; i < content.size(); ++i) {
    const Json& part = content[i];
    const std::string name = at(field, i);
    expect(part.is_object(), what, name, "an object", part);
    const auto found = part.find("text");
    if (found == part.end() || !found->is_string()) {
      refuse_field(what, name, "is no text part; this engine reads text only: {\"type\": \"text\", \"text\": \"...\"}");
    }
    text += found->get<std::string>();
  }
  return text;
}

Json arguments_from_text(const std::string& text, std::string_view what, const std::string& field) {
  try {
    return parse_json(text, "its text");
  } catch (const Error& error) {
    refuse_field(what, field, std::string("is no JSON object: ") + error.what());
  }
}

ToolCall tool_call(const Json& json, std::string_view what, const std::string& field) {
  expect(json.is_object(), what, field, "an object", json);
  const auto function = json.find("function");
  const Json& call = function == json.end() ? json : *function;
  const std::string place = function == json.end() ? field : field + ".function";
  expect(call.is_object(), what, place, "an object", call);
  ToolCall result;
  const auto name = call.find("name");
  if (name == call.end() || !name->is_string()) refuse_field(what, place, "has no string \"name\"");
  result.name = name->get<std::string>();
  const auto arguments = call.find("arguments");
  if (arguments == call.end() || arguments->is_null()) return result;
  const std::string path = place + ".arguments";
  if (arguments->is_string()) {
    const auto& text = arguments->get_ref<const std::string&>();
    if (text.empty()) return result;  // what some clients make of no arguments
    const Json value = arguments_from_text(text, what, path);
    expect(value.is_object(), what, path, "a JSON object", value);
    result.arguments = to_line(value);
  } else {
    expect(arguments->is_object(), what, path, "a JSON object", *arguments);
    result.arguments = to_line(*arguments);
  }
  return result;
}

std::string role_of(std::string role) {
  if (role == "developer") return "system";
  if (role == "function") return "tool";
  return role;
}

Message message_from_json(const Json& json, std::string_view what, const std::string& field) {
  expect(json.is_object(), what, field, "an object", json);
  Message message;
  for (const auto& [key, value] : json.items()) {
    const std::string name = field + "." + key;
    if (key == "role") {
      expect(value.is_string(), what, name, "a string", value);
      message.role = role_of(value.get<std::string>());
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
        message.tool_calls.push_back(tool_call(value[i], what, at(name, i)));
      }
    }
  }
  if (message.role != "system" && message.role != "user" && message.role != "assistant" && message.role != "tool") {
    refuse_field(what, field + ".role",
                 "is " + quoted(Json(message.role)) + ", expected system, user, assistant or tool");
  }
  if (message.role != "assistant" && (!message.tool_calls.empty() || !message.thinking.empty())) {
    refuse_field(what, field, "has thinking or tool_calls, which only an assistant's message may have");
  }
  return message;
}

}  // namespace

std::vector<Message> messages_from_json(const Json& json, std::string_view what) {
  expect(json.is_array(), what, "messages", "an array", json);
  std::vector<Message> messages;
  messages.reserve(json.size());
  for (std::size_t i = 0; i < json.size(); ++i) {
    messages.push_back(message_from_json(json[i], what, at("messages", i)));
  }
  return messages;
}

}  // namespace qwen35::json
