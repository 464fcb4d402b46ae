#pragma once

#include <qwen35/message.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace qwen35 {

/// A call that was begun and has no end.
struct UnfinishedCall {
  std::string name;  ///< "" when the answer ends before it is whole
  std::string text;  ///< as it was written, from its <tool_call> (of a second function in it: its <function=) on
  bool operator==(const UnfinishedCall&) const = default;
};

/// What a finished answer holds: prose and the calls made in Qwen3.5's form
/// `<tool_call>\n<function=name>\n<parameter=key>\nvalue\n</parameter>\n</function>\n</tool_call>`.
struct ParsedAnswer {
  std::string text;  ///< outside the calls, trimmed at the end
  std::vector<ToolCall> tool_calls;
  bool truncated = false;     ///< the last call had no end; it is not in tool_calls but here:
  UnfinishedCall unfinished;  ///< empty unless truncated
};

/// Takes a whole answer apart as ToolCallStream (tool_call_stream.h) does piece by piece; ill-formed UTF-8 is read with
/// U+FFFD. Linear in the length of the answer.
ParsedAnswer parse_tool_calls(std::string_view answer, const nlohmann::ordered_json& tools);

/// The definition {"name", "description", "parameters"} of a tool among `tools` (OpenAI form, with or without the
/// {"type": "function"} around each; or null). Null: there is none.
const nlohmann::ordered_json* find_tool(const nlohmann::ordered_json& tools, std::string_view name);
std::vector<std::string> tool_names(const nlohmann::ordered_json& tools);

/// An argument as it stands in a call, as its schema types it. A parameter whose schema says number, integer, boolean,
/// object or array is read as JSON of that type when it is such (True, False and None as the template writes them too);
/// everything else stays a string.
nlohmann::ordered_json typed_argument(const nlohmann::ordered_json& tools, std::string_view function,
                                      const std::string& parameter, const std::string& text);

}  // namespace qwen35
