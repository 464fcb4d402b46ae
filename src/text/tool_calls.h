#pragma once

#include <qwen35/message.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace qwen35 {

/// What a finished answer holds: prose and the calls made in Qwen3.5's form
/// `<tool_call>\n<function=name>\n<parameter=key>\nvalue\n</parameter>\n</function>\n</tool_call>`.
struct ParsedAnswer {
  std::string text;  ///< outside the calls, trimmed at the end
  std::vector<ToolCall> tool_calls;
  bool truncated = false;  ///< the last call had no end; it is not in tool_calls
};

/// `tools`: the definitions given to the model (or null): a parameter whose schema says number, integer, boolean,
/// object or array is read as JSON of that type when it is such (True, False and None as the template writes them too);
/// everything else stays a string. A missing end is forgiven once the function or all its parameters are closed; markup
/// that is no call stays in the text as it was written. Linear in the length of the answer.
ParsedAnswer parse_tool_calls(std::string_view answer, const nlohmann::ordered_json& tools);

}  // namespace qwen35
