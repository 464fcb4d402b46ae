#pragma once

// A double of speech-core's language-model interface, for machines that do not have it: the same names and signatures,
// nothing else. -DQWEN35_WITH_SPEECH_CORE=DIR compiles the same tests against the real headers.

#include <functional>
#include <string>
#include <vector>

namespace speech_core {

struct ToolDefinition;

enum class MessageRole { System, User, Assistant, Tool };

struct Message {
  MessageRole role;
  std::string content;
  double timestamp = 0.0;
};

struct ToolCall {
  std::string name;
  std::string arguments;
};

struct LLMResponse {
  std::string text;
  std::vector<ToolCall> tool_calls;
};

using LLMTokenCallback = std::function<void(const std::string& token, bool is_final)>;

class LLMInterface {
 public:
  virtual ~LLMInterface() = default;
  virtual LLMResponse chat(const std::vector<Message>& messages, LLMTokenCallback on_token) = 0;
  virtual void set_tools(const std::vector<ToolDefinition>& /*tools*/) {}
  virtual void cancel() {}
};

}  // namespace speech_core
