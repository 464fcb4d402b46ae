#pragma once

#include <qwen35/message.h>

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/tool_calls.h"

namespace qwen35 {

/// What a stream of an answer turned out to hold.
struct ToolCallEvent {
  enum class Kind {
    text,        ///< prose, not empty
    call,        ///< a whole call
    unfinished,  ///< the answer ended inside a call; the last event
  };
  Kind kind = Kind::text;
  std::string text = {};           ///< kind text
  ToolCall call = {};              ///< kind call
  UnfinishedCall unfinished = {};  ///< kind unfinished
};

/// Takes an answer apart while it comes. Text is given as soon as it can no longer be the beginning of a call; a call
/// as soon as its </function> is there, or a </tool_call> that forgives the missing </function>. How the pieces were
/// cut never changes what comes out. Markup that is no call is text, as it was written, up to where it goes wrong;
/// reading goes on from there. A value ends at the first </parameter> that another parameter or the end of the function
/// follows: it may hold the word itself. (Where none of 64 is followed so, the call is no call.) White space
/// behind </function> belongs to the call. Linear in the length of the answer.
class ToolCallStream {
 public:
  /// `tools`: the definitions the model was given, or null, for typed_argument(). Must outlive the stream.
  explicit ToolCallStream(const nlohmann::ordered_json& tools) : tools_(tools) {}

  /// Adds well-formed UTF-8 in whole characters (see Utf8Stream). Returns what is certain now, in order; two texts
  /// never follow each other.
  std::vector<ToolCallEvent> push(std::string_view piece);
  /// Ends the answer.
  std::vector<ToolCallEvent> finish();

  /// Inside a call, or what may become one.
  [[nodiscard]] bool in_call() const { return state_ != State::text; }

 private:
  enum class State {
    text,            ///< outside
    function,        ///< before <function=
    function_name,   ///< behind it
    parameters,      ///< before <parameter=, </function> or </tool_call>
    parameter_name,  ///< behind <parameter=
    value,
    after_function,  ///< before </tool_call>, another <function= or text
  };
  enum class Name { whole, wrong, open };

  std::vector<ToolCallEvent> run();
  bool step();
  bool read_text();
  bool read_function();
  bool read_parameters();
  bool read_value();
  bool read_after_function();
  Name read_name(std::string& name);
  void finish_value(std::size_t end);
  void finish_call();
  void give_up();
  bool unfinished();

  [[nodiscard]] std::string_view rest() const { return std::string_view(buffer_).substr(pos_); }
  void skip_space();
  bool take(std::string_view word);
  [[nodiscard]] bool may_become(std::string_view word) const;
  void go(State state);
  void emit_text(std::size_t end);

  const nlohmann::ordered_json& tools_;
  std::string buffer_;      ///< what is not yet given, and some that is
  std::size_t begin_ = 0;   ///< where the text or call being read begins
  std::size_t pos_ = 0;     ///< what is before it is understood
  std::size_t search_ = 0;  ///< where a search that ran out of text goes on
  State state_ = State::text;
  bool ended_ = false;
  std::vector<ToolCallEvent> events_;

  // Of the call being read.
  std::string function_;  ///< "" until its name is whole
  std::string parameter_;
  std::vector<std::pair<std::string, std::string>> arguments_;  ///< texts, in order, repeated ones too
  std::size_t first_end_ = std::string::npos;                   ///< of the value: its first </parameter>
  std::size_t look_ = 0;                                        ///< of the value: where a look behind that goes on
  int ends_seen_ = 0;                                           ///< of the value: </parameter> that did not end it
};

}  // namespace qwen35
