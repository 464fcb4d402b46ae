#include <utility>

#include "server/openai/chat_stream.h"
#include "server/openai/response_parts.h"

namespace qwen35::server {
namespace {

using json::Json;

Json chunk_of(const ResponseHead& head, std::size_t choice, std::string_view text) {
  Json chunk = response_base(head, "text_completion");
  Json entry;
  entry["index"] = choice;
  entry["text"] = text;
  entry["logprobs"] = nullptr;
  entry["finish_reason"] = nullptr;
  chunk["choices"] = Json::array({std::move(entry)});
  if (head.include_usage) chunk["usage"] = nullptr;
  return chunk;
}

}  // namespace

TextStream::TextStream(ResponseHead head, std::size_t choice, std::string echo)
    : head_(std::move(head)), choice_(choice), echo_(std::move(echo)), offset_(code_points(echo_)) {}

std::string TextStream::begin() const {
  return echo_.empty() ? std::string() : json::to_line(chunk_of(head_, choice_, echo_));
}

std::string TextStream::content(std::string_view piece) {
  Json chunk = chunk_of(head_, choice_, piece);
  if (!logprobs_.empty()) {
    chunk["choices"][0]["logprobs"] = text_logprobs_to_json(std::exchange(logprobs_, {}), offset_);
  }
  return json::to_line(chunk);
}

void TextStream::logprob(TokenLogprob token) { logprobs_.push_back(std::move(token)); }

std::string TextStream::end(const Reply& reply) {
  Json chunk = chunk_of(head_, choice_, "");
  Json& choice = chunk["choices"][0];
  if (!logprobs_.empty()) choice["logprobs"] = text_logprobs_to_json(std::exchange(logprobs_, {}), offset_);
  choice["finish_reason"] = finish_reason(reply);
  if (const std::string_view detail = finish_detail(reply); !detail.empty()) choice["finish_detail"] = detail;
  chunk["timings"] = timings_to_json(reply.metrics);
  return json::to_line(chunk);
}

}  // namespace qwen35::server
