// Bytes as a render request and as a model's answer: an Error or a text whose control ranges are in order, and a
// partial rendering that ends the whole one.

#include <qwen35/error.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "text/chat_template.h"
#include "text/tool_calls.h"
#include "text/utf8.h"
#include "text/utf8_stream.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void check_ranges(const qwen35::PromptText& prompt) {
  std::size_t behind = 0;
  for (const auto& range : prompt.control) {
    require(range.begin >= behind && range.begin < range.end && range.end <= prompt.text.size());
    require(behind == 0 || range.begin > behind);  // adjacent ranges are merged
    behind = range.end;
  }
}

void render(const nlohmann::ordered_json& request) {
  const auto member = [&](const char* name) {
    return request.contains(name) ? request[name] : nlohmann::ordered_json();
  };
  const auto messages = member("messages");
  const auto tools = member("tools");
  const qwen35::TemplateOptions options{.add_generation_prompt = true, .enable_thinking = true, .add_vision_id = true};
  const qwen35::PromptText whole = qwen35::render_chat(messages, tools, options);
  check_ranges(whole);
  require(qwen35::is_valid_utf8(whole.text));
  for (std::size_t first = 0; first <= messages.size(); ++first) {
    const qwen35::PromptText rest = qwen35::render_chat(messages, tools, options, first);
    check_ranges(rest);
    require(whole.text.ends_with(rest.text));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  nlohmann::ordered_json request;
  try {
    request = qwen35::parse_json(bytes, "fuzz");
    if (request.is_object()) render(request);
  } catch (const qwen35::Error&) {
    // The only way out for a bad request.
  }
  const auto tools = request.is_object() && request.contains("tools") ? request["tools"] : nlohmann::ordered_json();
  for (const qwen35::ToolCall& call : qwen35::parse_tool_calls(bytes, tools).tool_calls) {
    require(qwen35::parse_json(call.arguments, "arguments").is_object());
  }
  qwen35::Utf8Stream stream;
  std::string text;
  for (const char byte : bytes) text += stream.push(std::string_view(&byte, 1));
  require(text + stream.finish() == qwen35::to_valid_utf8(bytes));
  return 0;
}
