#pragma once

#include <string>
#include <vector>

namespace qwen35 {

/// A function call the model asks for.
struct ToolCall {
  std::string name;
  std::string arguments = "{}";  ///< a JSON object, as text
  bool operator==(const ToolCall&) const = default;
};

/// One entry of a conversation, in the roles of Qwen3.5's chat template.
struct Message {
  std::string role = {};                  ///< "system", "user", "assistant" or "tool"
  std::string content = {};               ///< UTF-8; control tokens in it are plain characters
  std::string thinking = {};              ///< assistant only: the text between <think> and </think>
  std::vector<ToolCall> tool_calls = {};  ///< assistant only
  bool operator==(const Message&) const = default;
};

}  // namespace qwen35
