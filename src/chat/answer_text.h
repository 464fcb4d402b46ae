#pragma once

#include <qwen35/message.h>

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/stop_strings.h"
#include "text/tool_call_stream.h"
#include "text/utf8_stream.h"

namespace qwen35 {

/// The answer as its tokens come: well-formed UTF-8, white space around it trimmed, tool calls set apart, ended by a
/// stop string. What take() and finish() gave, put together, is text() after finish().
class AnswerText {
 public:
  /// `tools`: the definitions the model was given, or null; must outlive this object. `stop` looks at prose alone: not
  /// at white space before the answer, nor inside tool calls, nor across one.
  /// `calls` false: tool-call markup is text like any other (in an answer that follows a form). `trim` false: white
  /// space around the text belongs to it, and stop strings look there too.
  explicit AnswerText(const nlohmann::ordered_json& tools, StopStrings stop = StopStrings(), bool calls = true,
                      bool trim = true)
      : calls_(calls), trim_(trim), calls_in_text_(tools), stop_(std::move(stop)), begun_(!trim) {}

  /// Adds the bytes of one token. Behind a stop string nothing counts any more.
  void push(std::string_view bytes);
  /// What is new and certain: held back are unfinished characters, white space that may be the last, what may begin a
  /// stop string, and what may begin or belong to a tool call. May be empty.
  std::string take();
  /// The calls that became whole since the last time; they are in tool_calls() too.
  std::vector<ToolCall> take_calls();
  /// Ends the answer and returns the rest of the text. Calls again return nothing.
  std::string finish();

  /// The stop string that ended the answer. The reply should end here: nothing more will come.
  [[nodiscard]] const std::optional<std::string>& stopped_by() const { return stop_.found(); }

  /// After finish(): the answer without tool calls.
  [[nodiscard]] const std::string& text() const { return text_; }
  /// The calls so far.
  [[nodiscard]] const std::vector<ToolCall>& tool_calls() const { return tool_calls_; }
  /// Inside a call, or what may become one.
  [[nodiscard]] bool in_call() const { return calls_in_text_.in_call(); }
  /// After finish(): a call that the answer ends in.
  [[nodiscard]] const std::optional<UnfinishedCall>& unfinished_call() const { return unfinished_; }

 private:
  void add_text(std::string_view text);
  void add(std::vector<ToolCallEvent> events);
  void append(std::string_view prose);

  bool calls_;
  bool trim_;
  Utf8Stream utf8_;
  ToolCallStream calls_in_text_;
  StopStrings stop_;
  std::string text_;       ///< certain, white space at the end included
  std::size_t solid_ = 0;  ///< bytes of text_ up to its last character that is no white space
  std::size_t given_ = 0;  ///< bytes of text_ that were returned
  bool begun_;             ///< something else than white space came
  std::vector<ToolCall> tool_calls_;
  std::size_t calls_given_ = 0;
  std::optional<UnfinishedCall> unfinished_;
};

/// `text` without ASCII white space at both ends.
std::string_view trimmed(std::string_view text);

}  // namespace qwen35
