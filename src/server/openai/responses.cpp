#include "server/openai/responses.h"

#include <utility>

#include "json/logprobs.h"
#include "server/openai/response_parts.h"

namespace qwen35::server {
namespace {

using json::Json;

void add_end(Json& choice, const Reply& reply) {
  choice["finish_reason"] = finish_reason(reply);
  if (const std::string_view detail = finish_detail(reply); !detail.empty()) choice["finish_detail"] = detail;
}

Json message_to_json(const ResponseHead& head, const Reply& reply, std::size_t choice) {
  Json message;
  message["role"] = "assistant";
  // A reply that only calls tools has no content.
  message["content"] = reply.text.empty() && !reply.tool_calls.empty() ? Json() : Json(reply.text);
  message["refusal"] = nullptr;
  if (!reply.thinking.empty()) message["reasoning_content"] = reply.thinking;
  if (!reply.truncated_tool_call.empty()) message["truncated_tool_call"] = reply.truncated_tool_call;
  for (std::size_t i = 0; i < reply.tool_calls.size(); ++i) {
    const ToolCall& call = reply.tool_calls[i];
    message["tool_calls"].push_back({{"id", call_id(head, choice, i)},
                                     {"type", "function"},
                                     {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
  }
  return message;
}

/// Of the reply that took the longest: it is what the client waited for.
Json slowest_timings(std::span<const Reply> replies) {
  const Reply* slowest = &replies.front();
  for (const Reply& reply : replies) {
    if (reply.metrics.total_ms > slowest->metrics.total_ms) slowest = &reply;
  }
  return timings_to_json(slowest->metrics);
}

std::string usage_chunk(const ResponseHead& head, const char* object, std::span<const Reply> replies,
                        std::size_t prompts) {
  Json chunk = response_base(head, object);
  chunk["choices"] = Json::array();
  chunk["usage"] = usage_to_json(replies, prompts);
  if (!replies.empty()) chunk["timings"] = slowest_timings(replies);
  return json::to_line(chunk);
}

Json model_to_json(const ModelEntry& model) {
  return {{"id", model.id},
          {"object", "model"},
          {"created", model.created},
          {"owned_by", "qwen35"},
          {"max_model_len", model.context}};
}

}  // namespace

std::string chat_response(const ResponseHead& head, std::span<const Reply> replies) {
  Json body = response_base(head, "chat.completion");
  body["choices"] = Json::array();
  for (std::size_t i = 0; i < replies.size(); ++i) {
    Json choice;
    choice["index"] = i;
    choice["message"] = message_to_json(head, replies[i], i);
    choice["logprobs"] = head.logprobs ? json::logprobs_to_json(replies[i].logprobs) : Json();
    add_end(choice, replies[i]);
    body["choices"].push_back(std::move(choice));
  }
  body["usage"] = usage_to_json(replies, 1);
  if (!replies.empty()) body["timings"] = slowest_timings(replies);
  return json::to_line(body);
}

std::string text_response(const ResponseHead& head, std::span<const Reply> replies, std::span<const std::string> echoes,
                          std::size_t prompts) {
  Json body = response_base(head, "text_completion");
  body["choices"] = Json::array();
  for (std::size_t i = 0; i < replies.size(); ++i) {
    Json choice;
    const std::string echo = i < echoes.size() ? echoes[i] : std::string();
    std::size_t offset = code_points(echo);
    choice["index"] = i;
    choice["text"] = echo + replies[i].text;
    choice["logprobs"] = head.logprobs ? text_logprobs_to_json(replies[i].logprobs, offset) : Json();
    add_end(choice, replies[i]);
    body["choices"].push_back(std::move(choice));
  }
  body["usage"] = usage_to_json(replies, prompts);
  if (!replies.empty()) body["timings"] = slowest_timings(replies);
  return json::to_line(body);
}

std::string models_response(std::span<const ModelEntry> models) {
  Json body;
  body["object"] = "list";
  body["data"] = Json::array();
  for (const ModelEntry& model : models) body["data"].push_back(model_to_json(model));
  return json::to_line(body);
}

std::string model_response(const ModelEntry& model) { return json::to_line(model_to_json(model)); }

std::string chat_usage_chunk(const ResponseHead& head, std::span<const Reply> replies) {
  return usage_chunk(head, "chat.completion.chunk", replies, 1);
}

std::string text_usage_chunk(const ResponseHead& head, std::span<const Reply> replies, std::size_t prompts) {
  return usage_chunk(head, "text_completion", replies, prompts);
}

}  // namespace qwen35::server
