#include "server/openai/tool_fields.h"

#include <algorithm>
#include <string>

#include "server/openai/control_text.h"
#include "text/python_json.h"

namespace qwen35::server {
namespace {

using json::Field;
using json::Json;
using json::refuse_field;

bool is_tool_name(const std::string& name) {
  constexpr std::size_t kLongest = 64;
  return !name.empty() && name.size() <= kLongest && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  });
}

/// The function inside {"type": "function", "function": {...}}.
const Json& function_of(const Json& value, const std::string& path) {
  json::expect(value.is_object(), "", path, "an object", value);
  const auto type = value.find("type");
  if (type == value.end() || *type != "function") {
    refuse_field(
        "", path + ".type",
        (type == value.end() ? "is missing" : "is " + json::quoted(*type)) + std::string(", expected \"function\""));
  }
  const auto function = value.find("function");
  if (function == value.end()) refuse_field("", path + ".function", "is missing, expected an object");
  json::expect(function->is_object(), "", path + ".function", "an object", *function);
  return *function;
}

std::string name_of(const Json& function, const std::string& path) {
  const auto name = function.find("name");
  if (name == function.end()) refuse_field("", path + ".name", "is missing, expected the function's name");
  json::expect(name->is_string(), "", path + ".name", "a string", *name);
  auto text = name->get<std::string>();
  if (!is_tool_name(text)) {
    refuse_field("", path + ".name", "is " + json::quoted(*name) + ", expected 1 to 64 of A-Z a-z 0-9 _ - .");
  }
  return text;
}

std::vector<std::string> names_of(const Json& request) {
  std::vector<std::string> names;
  const auto tools = request.find("tools");
  if (tools == request.end() || !tools->is_array()) return names;
  for (const Json& tool : *tools)
    names.push_back(tool["function"]["name"].get<std::string>());  // as read_tools() found
  return names;
}

}  // namespace

void read_tools(RequestDraft& draft, const Field& field) {
  json::expect(field.value.is_array(), field.what, field.key, "an array or null", field.value);
  if (field.value.size() > draft.limits.tools) {
    refuse_field(field.what, field.key,
                 "has " + std::to_string(field.value.size()) + " entries, expected at most " +
                     std::to_string(draft.limits.tools));
  }
  std::vector<std::string> names;
  for (std::size_t i = 0; i < field.value.size(); ++i) {
    const std::string path = at(field.key, i);
    const Json& function = function_of(field.value[i], path);
    std::string name = name_of(function, path + ".function");
    if (std::find(names.begin(), names.end(), name) != names.end()) {
      refuse_field(field.what, path + ".function.name", "is \"" + name + "\", which another tool is called already");
    }
    names.push_back(std::move(name));
    if (const auto text = function.find("description"); text != function.end() && !text->is_null()) {
      json::expect(text->is_string(), field.what, path + ".function.description", "a string", *text);
    }
    if (const auto schema = function.find("parameters"); schema != function.end() && !schema->is_null()) {
      json::expect(schema->is_object(), field.what, path + ".function.parameters", "a JSON Schema, an object", *schema);
    }
  }
  refuse_control_tokens(field.value, field.key, draft.limits);
  draft.options.tools = python_json(field.value);
  if (draft.options.tools.size() > draft.limits.tool_bytes) {
    refuse_field(field.what, field.key,
                 "has " + std::to_string(draft.options.tools.size()) + " bytes, expected at most " +
                     std::to_string(draft.limits.tool_bytes));
  }
}

void read_tool_choice(RequestDraft& draft, const Field& field) {
  ToolChoice& choice = draft.options.tool_choice;
  if (field.value == "auto") {
    choice = ToolChoice::automatic();
  } else if (field.value == "none") {
    choice = ToolChoice::none();
  } else if (field.value == "required") {
    choice = ToolChoice::required();
  } else if (field.value.is_object()) {
    choice = ToolChoice::function(name_of(function_of(field.value, field.key), field.key + ".function"));
  } else {
    refuse_field(field.what, field.key,
                 "is " + json::quoted(field.value) +
                     ", expected auto, none, required or {\"type\": \"function\", \"function\": {\"name\": ...}}");
  }
}

void settle_tools(RequestDraft& draft, const Json& request) {
  const ToolChoice& choice = draft.options.tool_choice;
  const bool must = choice.kind == ToolChoice::Kind::required || choice.kind == ToolChoice::Kind::function;
  const std::vector<std::string> names = names_of(request);
  if (must && names.empty()) refuse_field("", "tool_choice", "asks for a call, but there are no tools; give some");
  if (choice.kind == ToolChoice::Kind::function && std::find(names.begin(), names.end(), choice.name) == names.end()) {
    refuse_field("", "tool_choice.function.name", "is \"" + choice.name + "\", which none of the tools is called");
  }
  if (must && !draft.form.empty()) {
    refuse_field("", "tool_choice", "asks for a call, which " + draft.form + " leaves no room for; state one of them");
  }
  if (!draft.parallel_tool_calls) draft.options.max_tool_calls = 1;
}

}  // namespace qwen35::server
