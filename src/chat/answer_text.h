#pragma once

#include <qwen35/message.h>

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "text/utf8_stream.h"

namespace qwen35 {

/// The answer as its tokens come: well-formed UTF-8, white space around it trimmed, tool calls set apart. What take()
/// and finish() gave, put together, is text() after finish().
class AnswerText {
 public:
  /// `tools`: the definitions the model was given, or null.
  explicit AnswerText(const nlohmann::ordered_json& tools) : tools_(tools) {}

  /// Adds the bytes of one token.
  void push(std::string_view bytes);
  /// What is new and certain: held back are unfinished characters, white space that may be the last, and everything
  /// from a (possibly unfinished) <tool_call> on. May be empty.
  std::string take();
  /// Ends the answer and returns the rest of the text.
  std::string finish();

  /// After finish(): the answer without tool calls, and the calls.
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] const std::vector<ToolCall>& tool_calls() const { return tool_calls_; }

 private:
  void append(std::string_view piece);

  const nlohmann::ordered_json& tools_;
  Utf8Stream utf8_;
  std::string text_;
  std::size_t given_ = 0;     ///< bytes of text_ that take() has returned
  std::size_t searched_ = 0;  ///< no <tool_call> begins before this byte
  bool in_tool_call_ = false;
  std::vector<ToolCall> tool_calls_;
};

/// `text` without ASCII white space at both ends.
std::string_view trimmed(std::string_view text);

}  // namespace qwen35
