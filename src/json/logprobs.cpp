#include "json/logprobs.h"

#include <cmath>
#include <utility>

namespace qwen35::json {
namespace {

template <typename Token>
Json logprob_to_json(const Token& token) {
  Json bytes = Json::array();
  for (const char c : token.bytes) bytes.push_back(static_cast<unsigned char>(c));
  return {{"token", token.bytes}, {"logprob", written_logprob(token.logprob)}, {"bytes", std::move(bytes)}};
}

}  // namespace

double written_logprob(float logprob) {
  constexpr double kNever = -9999;
  return std::isfinite(logprob) ? std::round(1e6 * static_cast<double>(logprob)) / 1e6 + 0.0 : kNever;
}

Json logprobs_to_json(std::span<const TokenLogprob> logprobs) {
  Json content = Json::array();
  for (const TokenLogprob& token : logprobs) {
    Json entry = logprob_to_json(token);
    entry["top_logprobs"] = Json::array();
    for (const TokenLogprob::Alternative& other : token.top) entry["top_logprobs"].push_back(logprob_to_json(other));
    content.push_back(std::move(entry));
  }
  Json json;
  json["content"] = std::move(content);
  return json;
}

}  // namespace qwen35::json
