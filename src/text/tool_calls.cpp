#include "text/tool_calls.h"

#include <qwen35/error.h>

#include <algorithm>
#include <utility>

#include "text/chat_template.h"
#include "text/tool_call_stream.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace qwen35 {
namespace {

using Json = nlohmann::ordered_json;

const Json* member(const Json& value, const char* key) {
  if (!value.is_object()) return nullptr;
  const auto found = value.find(key);
  return found == value.end() ? nullptr : &*found;
}

/// The schema of one parameter, or null. Definitions come with or without the {"type": "function"} around them.
const Json* parameter_schema(const Json& tools, std::string_view function, const std::string& parameter) {
  if (!tools.is_array()) return nullptr;
  for (const Json& tool : tools) {
    const Json* inner = member(tool, "function");
    const Json& definition = inner != nullptr ? *inner : tool;
    const Json* name = member(definition, "name");
    if (name == nullptr || !name->is_string() || name->get_ref<const std::string&>() != function) continue;
    const Json* parameters = member(definition, "parameters");
    const Json* properties = parameters != nullptr ? member(*parameters, "properties") : nullptr;
    return properties != nullptr ? member(*properties, parameter.c_str()) : nullptr;
  }
  return nullptr;
}

/// Whether a schema names `type`: in "type", alone or in a list, or in one of its "anyOf"/"oneOf" alternatives.
bool allows(const Json& schema, std::string_view type, bool look_inside = true) {
  const auto is_type = [&](const Json& name) { return name.is_string() && name.get_ref<const std::string&>() == type; };
  if (const Json* stated = member(schema, "type")) {
    if (is_type(*stated)) return true;
    if (stated->is_array() && std::any_of(stated->begin(), stated->end(), is_type)) return true;
  }
  if (!look_inside) return false;
  for (const char* key : {"anyOf", "oneOf"}) {
    const Json* choices = member(schema, key);
    if (choices == nullptr || !choices->is_array()) continue;
    for (const Json& choice : *choices) {
      if (allows(choice, type, false)) return true;
    }
  }
  return false;
}

bool is_whole(const Json& value) {
  if (value.is_number_float())
    return value.get<double>() ==
           static_cast<double>(static_cast<long long>(std::clamp(value.get<double>(), -9e15, 9e15)));
  return value.is_number() || value.is_binary();  // binary: an integer beyond 64 bits
}

bool fits(const Json& value, const Json& schema) {
  if (value.is_object()) return allows(schema, "object");
  if (value.is_array()) return allows(schema, "array");
  if (value.is_boolean()) return allows(schema, "boolean");
  if (value.is_null()) return allows(schema, "null");
  if (value.is_string()) return false;  // a quoted string where another type is due: left as it was written
  return allows(schema, "number") || (allows(schema, "integer") && is_whole(value));
}

Json typed(const std::string& text, const Json* schema) {
  if (schema == nullptr || allows(*schema, "string")) return text;
  const std::string_view word = strip(text);
  Json value;
  if (word == "True" || word == "False") {
    value = word == "True";
  } else if (word != "None") {
    try {
      value = parse_json(word, "value");
    } catch (const Error&) {
      return text;
    }
  }
  return fits(value, *schema) ? value : Json(text);
}

}  // namespace

Json typed_argument(const Json& tools, std::string_view function, const std::string& parameter,
                    const std::string& text) {
  return typed(text, parameter_schema(tools, function, parameter));
}

ParsedAnswer parse_tool_calls(std::string_view answer, const Json& tools) {
  ParsedAnswer parsed;
  const auto add = [&](std::vector<ToolCallEvent> events) {
    for (ToolCallEvent& event : events) {
      switch (event.kind) {
        case ToolCallEvent::Kind::text:
          parsed.text += event.text;
          break;
        case ToolCallEvent::Kind::call:
          parsed.tool_calls.push_back(std::move(event.call));
          break;
        case ToolCallEvent::Kind::unfinished:
          parsed.truncated = true;
          parsed.unfinished = std::move(event.unfinished);
          break;
      }
    }
  };
  ToolCallStream stream(tools);
  add(stream.push(to_valid_utf8(answer)));
  add(stream.finish());
  parsed.text = strip_right(parsed.text);
  return parsed;
}

}  // namespace qwen35
