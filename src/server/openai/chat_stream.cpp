#include "server/openai/chat_stream.h"

#include <utility>

#include "json/logprobs.h"
#include "server/openai/response_parts.h"

namespace qwen35::server {
namespace {

using json::Json;

/// A chunk with one choice. With include_usage every chunk but the last has "usage": null.
Json chunk_of(const ResponseHead& head, std::size_t choice, Json delta) {
  Json chunk = response_base(head, "chat.completion.chunk");
  Json entry;
  entry["index"] = choice;
  entry["delta"] = std::move(delta);
  entry["logprobs"] = nullptr;
  entry["finish_reason"] = nullptr;
  chunk["choices"] = Json::array({std::move(entry)});
  if (head.include_usage) chunk["usage"] = nullptr;
  return chunk;
}

Json text_delta(const char* key, std::string_view piece) {
  Json delta;
  delta[key] = piece;
  return delta;
}

Json call_delta(std::size_t index, Json function) {
  Json call;
  call["index"] = index;
  call["function"] = std::move(function);
  Json delta;
  delta["tool_calls"] = Json::array({std::move(call)});
  return delta;
}

}  // namespace

ChatStream::ChatStream(ResponseHead head, std::size_t choice) : head_(std::move(head)), choice_(choice) {}

std::string ChatStream::begin() const {
  return json::to_line(chunk_of(head_, choice_, {{"role", "assistant"}, {"content", ""}}));
}

std::string ChatStream::reasoning(std::string_view piece) const {
  return json::to_line(chunk_of(head_, choice_, text_delta("reasoning_content", piece)));
}

std::string ChatStream::content(std::string_view piece) {
  Json chunk = chunk_of(head_, choice_, text_delta("content", piece));
  if (!logprobs_.empty()) chunk["choices"][0]["logprobs"] = json::logprobs_to_json(std::exchange(logprobs_, {}));
  return json::to_line(chunk);
}

void ChatStream::logprob(TokenLogprob token) { logprobs_.push_back(std::move(token)); }

std::vector<std::string> ChatStream::tool_call(const ToolCall& call) {
  Json first = call_delta(calls_, {{"name", call.name}, {"arguments", ""}});
  first["tool_calls"][0]["id"] = call_id(head_, choice_, calls_);
  first["tool_calls"][0]["type"] = "function";
  Json function;
  function["arguments"] = call.arguments;
  Json second = call_delta(calls_, std::move(function));
  ++calls_;
  return {json::to_line(chunk_of(head_, choice_, std::move(first))),
          json::to_line(chunk_of(head_, choice_, std::move(second)))};
}

std::string ChatStream::end(const Reply& reply) {
  Json chunk = chunk_of(head_, choice_, Json::object());
  Json& choice = chunk["choices"][0];
  if (!logprobs_.empty()) choice["logprobs"] = json::logprobs_to_json(std::exchange(logprobs_, {}));
  choice["finish_reason"] = finish_reason(reply);
  if (const std::string_view detail = finish_detail(reply); !detail.empty()) choice["finish_detail"] = detail;
  if (!reply.truncated_tool_call.empty()) choice["delta"]["truncated_tool_call"] = reply.truncated_tool_call;
  chunk["timings"] = timings_to_json(reply.metrics);
  return json::to_line(chunk);
}

}  // namespace qwen35::server
