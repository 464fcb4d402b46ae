#include "server/openai/response_parts.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "json/logprobs.h"
#include "text/utf8.h"

namespace qwen35::server {
namespace {

using json::Json;

double rounded(double value) { return std::isfinite(value) ? std::round(value * 1000) / 1000 : 0; }

}  // namespace

Json response_base(const ResponseHead& head, const char* object) {
  return {{"id", head.id}, {"object", object}, {"created", head.created}, {"model", head.model}};
}

std::string_view finish_reason(const Reply& reply) {
  switch (reply.finish_reason) {
    case FinishReason::stop:
      return "stop";
    case FinishReason::tool_calls:
      return "tool_calls";
    case FinishReason::length:
    case FinishReason::cancelled:
    case FinishReason::loop:
      break;
  }
  return "length";
}

std::string_view finish_detail(const Reply& reply) {
  const bool ours = reply.finish_reason == FinishReason::cancelled || reply.finish_reason == FinishReason::loop;
  return ours ? to_string(reply.finish_reason) : std::string_view();
}

Json usage_to_json(std::span<const Reply> replies, std::size_t prompts) {
  std::size_t prompt = 0;
  std::size_t cached = 0;
  std::size_t thinking = 0;
  std::size_t answer = 0;
  const std::size_t choices = std::max<std::size_t>(replies.size() / std::max<std::size_t>(prompts, 1), 1);
  for (std::size_t i = 0; i < replies.size(); ++i) {
    const Metrics& metrics = replies[i].metrics;
    if (i % choices == 0) {
      prompt += metrics.prompt_tokens;
      // The choices share their prompt: what the first to come had to compute counts.
      const auto same = replies.subspan(i, std::min(choices, replies.size() - i));
      cached += std::min_element(same.begin(), same.end(), [](const Reply& a, const Reply& b) {
                  return a.metrics.reused_tokens < b.metrics.reused_tokens;
                })->metrics.reused_tokens;
    }
    thinking += metrics.thinking_tokens;
    answer += metrics.reply_tokens;
  }
  Json usage = {{"prompt_tokens", prompt},
                {"completion_tokens", thinking + answer},
                {"total_tokens", prompt + thinking + answer}};
  usage["prompt_tokens_details"]["cached_tokens"] = cached;
  usage["completion_tokens_details"]["reasoning_tokens"] = thinking;
  return usage;
}

Json timings_to_json(const Metrics& metrics) {
  return {{"prompt_ms", rounded(metrics.prefill_ms)},
          {"time_to_first_token_ms", rounded(metrics.time_to_first_token_ms)},
          {"time_to_first_text_ms", rounded(metrics.time_to_first_text_ms)},
          {"total_ms", rounded(metrics.total_ms)},
          {"tokens_per_second", rounded(metrics.decode_tokens_per_second)},
          {"prompt_tokens", metrics.prompt_tokens},
          {"reused_tokens", metrics.reused_tokens},
          {"thinking_tokens", metrics.thinking_tokens},
          {"reply_tokens", metrics.reply_tokens},
          {"drafted_tokens", metrics.drafted_tokens},
          {"accepted_tokens", metrics.accepted_tokens}};
}

std::string call_id(const ResponseHead& head, std::size_t choice, std::size_t index) {
  const std::size_t dash = head.id.rfind('-');
  return "call_" + head.id.substr(dash == std::string::npos ? 0 : dash + 1) + "_" + std::to_string(choice) + "_" +
         std::to_string(index);
}

std::size_t code_points(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

Json text_logprobs_to_json(std::span<const TokenLogprob> logprobs, std::size_t& offset) {
  Json tokens = Json::array();
  Json values = Json::array();
  Json tops = Json::array();
  Json offsets = Json::array();
  for (const TokenLogprob& token : logprobs) {
    tokens.push_back(token.bytes);
    values.push_back(json::written_logprob(token.logprob));
    Json top = Json::object();
    for (const TokenLogprob::Alternative& other : token.top) {
      // Tokens that are cut inside a character may look alike when they are written; the likeliest one stays.
      std::string text = to_valid_utf8(other.bytes);
      if (!top.contains(text)) top[std::move(text)] = json::written_logprob(other.logprob);
    }
    tops.push_back(token.top.empty() ? Json() : std::move(top));
    offsets.push_back(offset);
    offset += code_points(token.bytes);
  }
  Json result;
  result["tokens"] = std::move(tokens);
  result["token_logprobs"] = std::move(values);
  result["top_logprobs"] = std::move(tops);
  result["text_offset"] = std::move(offsets);
  return result;
}

}  // namespace qwen35::server
