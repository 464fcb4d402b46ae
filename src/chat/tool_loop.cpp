#include <qwen35/tools.h>

#include <algorithm>
#include <new>
#include <nlohmann/json.hpp>
#include <utility>

#include "text/chat_template.h"
#include "text/python_json.h"
#include "text/tool_schema.h"
#include "text/utf8.h"

namespace qwen35 {
namespace {

using Json = nlohmann::ordered_json;

const char* const kNoTools = "[]";  // "" would be those of Chat::set_tools()

std::string error_result(const std::string& message) { return python_json({{"error", to_valid_utf8(message)}}); }

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorCode::invalid_argument, message); }

bool good_name(const std::string& name) {
  constexpr std::size_t longest = 64;
  return !name.empty() && name.size() <= longest && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  });
}

Json definition(const Tool& tool) {
  Json function = {{"name", tool.name}};
  if (!tool.description.empty()) function["description"] = tool.description;
  function["parameters"] = parse_json(tool.parameters, "the parameters of the tool \"" + tool.name + "\"");
  return {{"type", "function"}, {"function", std::move(function)}};
}

/// What the model gets to read of a result.
std::string shortened(std::string result, std::size_t most) {
  if (result.size() <= most) return result;
  const std::size_t size = result.size();
  std::size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(result[end]) & 0xC0U) == 0x80) --end;
  result.resize(end);
  return result + "\n[cut: the first " + std::to_string(end) + " of " + std::to_string(size) + " bytes]";
}

void check(const GenerateOptions& options, const ToolLoopOptions& loop) {
  if (!options.tools.empty()) {
    refuse("options.tools is set and a Toolbox is given; expected the Toolbox alone to say which tools there are");
  }
  if (loop.max_rounds < 1) refuse("max_rounds is " + std::to_string(loop.max_rounds) + "; expected at least 1");
  if (loop.max_result_bytes < 64) {
    refuse("max_result_bytes is " + std::to_string(loop.max_result_bytes) + "; expected at least 64");
  }
}

std::string answer_call(const ToolCall& call, const Toolbox& tools, const GenerateOptions& options,
                        const ToolLoopOptions& loop) {
  std::string result;
  if (options.cancel.stop_requested()) {
    result = error_result("the call was cancelled");
  } else if (loop.on_call && !loop.on_call(call)) {
    result = error_result("the call was declined");
  } else {
    result = shortened(tools.call(call), loop.max_result_bytes);
  }
  if (loop.on_result) loop.on_result(call, result);
  return result;
}

template <typename Input>
Reply run(Chat& chat, Input input, const Toolbox& tools, GenerateOptions options, const ToolLoopOptions& loop) {
  check(options, loop);
  options.tools = tools.empty() ? kNoTools : tools.definitions();
  Reply reply = chat.stream(input, options, loop.on_piece);
  options.system_prompt.reset();  // the conversation holds it now
  for (int round = 1; !reply.tool_calls.empty() && reply.finish_reason != FinishReason::cancelled; ++round) {
    if (round > loop.max_rounds) break;
    std::vector<Message> messages = chat.messages();
    for (const ToolCall& call : reply.tool_calls) {
      messages.push_back({.role = "tool", .content = answer_call(call, tools, options, loop)});
    }
    if (round == loop.max_rounds) options.tools = kNoTools;
    reply = chat.stream(std::span<const Message>(messages), options, loop.on_piece);
  }
  return reply;
}

}  // namespace

Toolbox::Toolbox(std::vector<Tool> tools) {
  for (Tool& tool : tools) add(std::move(tool));
}

void Toolbox::add(Tool tool) {
  if (!good_name(tool.name)) {
    refuse("a tool has the name \"" + tool.name + "\"; expected 1 to 64 letters, digits, '_', '-' or '.'");
  }
  if (std::any_of(tools_.begin(), tools_.end(), [&](const Tool& other) { return other.name == tool.name; })) {
    refuse("the tool \"" + tool.name + "\" is there already; give each tool its own name");
  }
  if (!tool.run) refuse("the tool \"" + tool.name + "\" has no function to run");
  if (!definition(tool)["function"]["parameters"].is_object()) {
    refuse("the parameters of the tool \"" + tool.name + "\" are " + tool.parameters.substr(0, 60) +
           "; expected a JSON Schema, an object");
  }
  tools_.push_back(std::move(tool));
}

std::string Toolbox::definitions() const {
  if (tools_.empty()) return {};
  Json all = Json::array();
  for (const Tool& tool : tools_) all.push_back(definition(tool));
  return python_json(all);
}

std::string Toolbox::call(const ToolCall& call) const {
  const auto tool = std::find_if(tools_.begin(), tools_.end(), [&](const Tool& t) { return t.name == call.name; });
  try {
    Json known = Json::array();  // of the others the names are enough
    for (const Tool& other : tools_)
      known.push_back(other.name == call.name ? definition(other) : Json{{"name", other.name}});
    const SchemaCheck check = check_tool_call(known, call);
    if (!check.problems.empty()) {
      std::string all;
      for (const std::string& problem : check.problems) all += (all.empty() ? "" : "; ") + problem;
      return error_result(all);
    }
    return tool->run(call.arguments);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    return error_result("the tool failed: " + std::string(error.what()));
  } catch (...) {
    return error_result("the tool failed");
  }
}

std::vector<std::string> Toolbox::unchecked(const ToolCall& call) const {
  return check_tool_call(empty() ? Json() : parse_json(definitions(), "tools"), call).unchecked;
}

Reply run_tools(Chat& chat, std::string_view prompt, const Toolbox& tools, const GenerateOptions& options,
                const ToolLoopOptions& loop) {
  return run(chat, prompt, tools, options, loop);
}

Reply run_tools(Chat& chat, std::span<const Message> messages, const Toolbox& tools, const GenerateOptions& options,
                const ToolLoopOptions& loop) {
  return run(chat, messages, tools, options, loop);
}

}  // namespace qwen35
