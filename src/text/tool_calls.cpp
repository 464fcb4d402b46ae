#include "text/tool_calls.h"

#include <qwen35/error.h>

#include <algorithm>
#include <utility>

#include "text/chat_template.h"
#include "text/schema_check.h"
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

/// A definition without the {"type": "function"} around it.
const Json& unwrapped(const Json& tool) {
  const Json* inner = member(tool, "function");
  return inner != nullptr ? *inner : tool;
}

/// What a schema says, or what its "$ref" leads to in `root`.
const Json& resolved(const Json& schema, const Json& root) {
  const Json* at = &schema;
  for (int hops = 0; hops < 8; ++hops) {
    const Json* reference = member(*at, "$ref");
    if (reference == nullptr || !reference->is_string()) break;
    const Json* target = resolve_reference(root, reference->get_ref<const std::string&>());
    if (target == nullptr) break;
    at = target;
  }
  return *at;
}

std::string_view type_of(const Json& value) {
  if (value.is_number_integer() || value.is_binary()) return "integer";
  if (value.is_number()) return "number";
  return value.type_name();  // the same names as JSON Schema's for all others
}

/// The schema of one parameter of a tool, and where its references lead.
class ParameterSchema {
 public:
  ParameterSchema(const Json& root, const Json& schema) : root_(root), schema_(schema) {}

  [[nodiscard]] bool allows(std::string_view type) const { return allows(schema_, type, true); }

 private:
  /// Whether a schema names `type`: in "type", alone or in a list, by a value of its "enum", or in one of its
  /// "anyOf"/"oneOf" alternatives.
  [[nodiscard]] bool allows(const Json& unresolved, std::string_view type, bool look_inside) const {
    const Json& schema = resolved(unresolved, root_);
    const auto is_type = [&](const Json& name) {
      return name.is_string() && name.get_ref<const std::string&>() == type;
    };
    if (const Json* stated = member(schema, "type")) {
      if (is_type(*stated)) return true;
      if (stated->is_array() && std::any_of(stated->begin(), stated->end(), is_type)) return true;
    } else if (const Json* values = member(schema, "enum"); values != nullptr && values->is_array()) {
      const auto has_type = [&](const Json& value) { return type_of(value) == type; };
      if (std::any_of(values->begin(), values->end(), has_type)) return true;
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

  const Json& root_;
  const Json& schema_;
};

bool is_whole(const Json& value) {
  if (value.is_number_float())
    return value.get<double>() ==
           static_cast<double>(static_cast<long long>(std::clamp(value.get<double>(), -9e15, 9e15)));
  return value.is_number() || value.is_binary();  // binary: an integer beyond 64 bits
}

bool fits(const Json& value, const ParameterSchema& schema) {
  if (value.is_object()) return schema.allows("object");
  if (value.is_array()) return schema.allows("array");
  if (value.is_boolean()) return schema.allows("boolean");
  if (value.is_null()) return schema.allows("null");
  if (value.is_string()) return false;  // a quoted string where another type is due: left as it was written
  return schema.allows("number") || (schema.allows("integer") && is_whole(value));
}

/// The value as its schema types it. The template writes True, False and None as Python does, so those are read too.
Json typed(const std::string& text, const ParameterSchema& schema) {
  if (schema.allows("string")) return text;
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
  return fits(value, schema) ? value : Json(text);
}

}  // namespace

const Json* find_tool(const Json& tools, std::string_view name) {
  if (!tools.is_array()) return nullptr;
  for (const Json& tool : tools) {
    const Json& definition = unwrapped(tool);
    const Json* stated = member(definition, "name");
    if (stated != nullptr && stated->is_string() && stated->get_ref<const std::string&>() == name) return &definition;
  }
  return nullptr;
}

std::vector<std::string> tool_names(const Json& tools) {
  std::vector<std::string> names;
  if (!tools.is_array()) return names;
  for (const Json& tool : tools) {
    const Json* stated = member(unwrapped(tool), "name");
    if (stated != nullptr && stated->is_string()) names.push_back(stated->get<std::string>());
  }
  return names;
}

Json typed_argument(const Json& tools, std::string_view function, const std::string& parameter,
                    const std::string& text) {
  const Json* tool = find_tool(tools, function);
  const Json* parameters = tool != nullptr ? member(*tool, "parameters") : nullptr;
  const Json* properties = parameters != nullptr ? member(*parameters, "properties") : nullptr;
  const Json* schema = properties != nullptr ? member(*properties, parameter.c_str()) : nullptr;
  return schema != nullptr ? typed(text, ParameterSchema(*parameters, *schema)) : Json(text);
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
