// Bytes as a model's answer, cut at places that the bytes choose: a stream of it must give what parse_tool_calls()
// gives for the whole, arguments that are JSON objects, and a check of each call must end. A first line, if it is JSON,
// is the definitions the model was given.

#include <qwen35/error.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "text/chat_template.h"
#include "text/tool_call_stream.h"
#include "text/tool_schema.h"
#include "text/unicode.h"
#include "text/utf8_stream.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void add(qwen35::ParsedAnswer& parsed, const std::vector<qwen35::ToolCallEvent>& events) {
  using Kind = qwen35::ToolCallEvent::Kind;
  for (const qwen35::ToolCallEvent& event : events) {
    require(!parsed.truncated);
    if (event.kind == Kind::text) {
      require(!event.text.empty());
      parsed.text += event.text;
    } else if (event.kind == Kind::call) {
      parsed.tool_calls.push_back(event.call);
    } else {
      parsed.truncated = true;
      parsed.unfinished = event.unfinished;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view answer(reinterpret_cast<const char*>(data), size);
  nlohmann::ordered_json tools;
  const std::size_t line = answer.find('\n');
  if (line != std::string_view::npos) {
    try {
      tools = qwen35::parse_json(answer.substr(0, line), "tools");
      answer.remove_prefix(line + 1);
    } catch (const qwen35::Error&) {
      // No definitions then.
    }
  }
  const qwen35::ParsedAnswer whole = qwen35::parse_tool_calls(answer, tools);
  for (const qwen35::ToolCall& call : whole.tool_calls) {
    require(qwen35::parse_json(call.arguments, "arguments").is_object());
    require(qwen35::check_tool_call(tools, call).problems.size() <= 16);
  }

  qwen35::ToolCallStream stream(tools);
  qwen35::Utf8Stream utf8;
  qwen35::ParsedAnswer pieces;
  for (std::size_t at = 0; at < answer.size();) {
    const std::size_t wanted = 1 + static_cast<unsigned char>(answer[at]) % 16U;
    const std::size_t length = std::min(wanted, answer.size() - at);
    add(pieces, stream.push(utf8.push(answer.substr(at, length))));
    at += length;
  }
  add(pieces, stream.push(utf8.finish()));
  add(pieces, stream.finish());
  pieces.text = qwen35::strip_right(pieces.text);
  require(pieces.text == whole.text);
  require(pieces.tool_calls == whole.tool_calls);
  require(pieces.truncated == whole.truncated && pieces.unfinished == whole.unfinished);
  return 0;
}
