#pragma once

/// Functions that the model may call, and the loop that lets it.
///
///     qwen35::Toolbox tools;
///     tools.add({.name = "set_timer",
///                .description = "Start a timer.",
///                .parameters = R"({"type": "object", "required": ["minutes"],
///                                  "properties": {"minutes": {"type": "integer", "minimum": 1}}})",
///                .run = [](const std::string& arguments) { return R"({"status": "started"})"; }});
///     qwen35::Reply reply = qwen35::run_tools(chat, "Set a timer for 5 minutes.", tools);

#include <qwen35/chat.h>
#include <qwen35/error.h>
#include <qwen35/message.h>
#include <qwen35/options.h>

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qwen35 {

/// A function that the model may call.
struct Tool {
  std::string name;              ///< 1 to 64 of A-Z a-z 0-9 _ - .
  std::string description = {};  ///< for the model: what it does and when to use it
  /// JSON Schema of the arguments, an object.
  std::string parameters = R"({"type": "object", "properties": {}})";
  /// Called with the arguments, a JSON object as text that fits `parameters`. Returns what the model reads as the
  /// result: UTF-8, JSON or words. What it throws is told to the model.
  std::function<std::string(const std::string& arguments)> run;
};

/// Tools by name. Const calls may run from many threads at once as far as the tools' own functions allow it.
class Toolbox {
 public:
  Toolbox() = default;
  /// As add(), one after the other.
  explicit Toolbox(std::vector<Tool> tools);

  /// Throws invalid_argument: a bad or repeated name, parameters that are no JSON object, no function.
  void add(Tool tool);
  [[nodiscard]] bool empty() const { return tools_.empty(); }
  /// The definitions as GenerateOptions::tools takes them: a JSON array in the OpenAI form; "" when empty.
  [[nodiscard]] std::string definitions() const;

  /// Checks the call against its tool's name and schema, makes it, and returns the result. Every failure becomes a
  /// result that the model can react to, {"error": "..."}: an unknown name, arguments that do not fit (all problems are
  /// named), an exception of the tool. Nothing is called then, the last case aside. Throws only std::bad_alloc.
  /// Keywords of the schema that the check does not know (see unchecked()) are the tool's own to look after.
  [[nodiscard]] std::string call(const ToolCall& call) const;

  /// What of its tool's schema would not be checked for this call, e.g. "arguments.date: format".
  [[nodiscard]] std::vector<std::string> unchecked(const ToolCall& call) const;

 private:
  std::vector<Tool> tools_;
};

/// How run_tools() goes about it.
struct ToolLoopOptions {
  /// Replies with calls that are answered, at least 1. Then one last reply is asked for without tools, so that the loop
  /// ends in words.
  int max_rounds = 4;
  /// Bytes of one result that the model gets to read, at least 64: results fill the context. A longer one is cut
  /// between characters, and the cut is written at its end.
  std::size_t max_result_bytes = 16384;
  /// Each piece of every reply, as Chat::stream() gives them; return false to stop.
  std::function<bool(std::string_view piece)> on_piece = {};
  /// Before each call; return false to decline it: it is not made, and the model is told so.
  std::function<bool(const ToolCall& call)> on_call = {};
  /// After each call, made, failed or declined.
  std::function<void(const ToolCall& call, const std::string& result)> on_result = {};
};

/// Adds a user turn, computes the reply, makes the calls it asks for, hands the results back as tool messages, and so
/// on until a reply makes no calls. Returns that reply. Its tool_calls are empty unless the reply was cancelled, or the
/// model called tools in the last round, where it had none: those calls were not made. Nor is one that the reply ended
/// in (Reply::truncated_tool_call). The conversation holds everything in between.
///
/// Chat::cancel() and options.cancel end the reply in progress and with it the loop. While a call is made they do not
/// interrupt it: the next reply ends at once, and after options.cancel no further call is made either. options.tools
/// must be empty; those of Chat::set_tools() do not take part. An answer held to a schema or grammar
/// (options.json_schema and so on) cannot call tools. Throws invalid_argument for bad options, what Chat::generate()
/// throws, and what the callbacks throw; the conversation then holds the rounds that were finished.
Reply run_tools(Chat& chat, std::string_view prompt, const Toolbox& tools, const GenerateOptions& options = {},
                const ToolLoopOptions& loop = {});
/// The same with a whole conversation, as Chat::generate() takes it.
Reply run_tools(Chat& chat, std::span<const Message> messages, const Toolbox& tools,
                const GenerateOptions& options = {}, const ToolLoopOptions& loop = {});

}  // namespace qwen35
