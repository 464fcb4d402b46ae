#include "text/tool_schema.h"

#include <qwen35/error.h>

#include <string>

#include "text/chat_template.h"
#include "text/tool_calls.h"

namespace qwen35 {
namespace {

using Json = nlohmann::ordered_json;

std::string known_names(const Json& tools) {
  constexpr std::size_t most = 16;
  std::string names;
  std::size_t count = 0;
  for (const std::string& name : tool_names(tools)) {
    if (++count > most) return names + ", …";
    names += (names.empty() ? "" : ", ") + name;
  }
  return names.empty() ? "none" : names;
}

}  // namespace

SchemaCheck check_tool_call(const Json& tools, const ToolCall& call) {
  const Json* tool = find_tool(tools, call.name);
  if (tool == nullptr) {
    return {{"there is no tool \"" + call.name + "\"; expected one of: " + known_names(tools)}, {}};
  }
  Json arguments;
  try {
    arguments = parse_json(call.arguments, "arguments");
  } catch (const Error& error) {
    return {{error.what()}, {}};
  }
  if (!arguments.is_object()) return {{"arguments are no JSON object; expected one"}, {}};
  const auto parameters = tool->find("parameters");
  if (parameters == tool->end()) return {{}, {"arguments: the definition has no parameters"}};
  return check_json(arguments, *parameters, *parameters, "arguments");
}

}  // namespace qwen35
