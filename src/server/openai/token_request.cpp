#include "server/openai/token_request.h"

#include <limits>

#include "json/fields.h"
#include "server/openai/errors.h"
#include "server/openai/request_fields.h"

namespace qwen35::server {
namespace {

using json::Field;
using json::Json;

/// The first of these fields that is there and not null.
const Json* member(const Json& object, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (const auto found = object.find(name); found != object.end() && !found->is_null()) return &*found;
  }
  return nullptr;
}

}  // namespace

TokenizeRequest parse_tokenize_request(std::string_view body, const RequestLimits& limits) {
  const Json request = request_object(body, limits);
  return reading([&] {
    const Json* text = member(request, {"prompt", "content"});
    if (text == nullptr) {
      throw bad_request("prompt", "missing_required_parameter", "prompt is missing, expected a string");
    }
    json::expect(text->is_string(), "", "prompt", "a string", *text);
    TokenizeRequest result{.text = text->get<std::string>()};
    if (const Json* special = member(request, {"special"})) result.special = Field{*special, "", "special"}.boolean();
    return result;
  });
}

std::vector<std::int32_t> parse_detokenize_request(std::string_view body, const RequestLimits& limits) {
  const Json request = request_object(body, limits);
  return reading([&] {
    const Json* list = member(request, {"tokens"});
    if (list == nullptr) {
      throw bad_request("tokens", "missing_required_parameter", "tokens is missing, expected an array of token ids");
    }
    return token_ids(*list, "tokens");
  });
}

std::string tokenize_response(std::span<const std::int32_t> tokens, std::size_t context) {
  Json body;
  body["tokens"] = tokens;
  body["count"] = tokens.size();
  body["max_model_len"] = context;
  return json::to_line(body);
}

std::string detokenize_response(std::string_view text) {
  Json body;
  body["prompt"] = text;
  body["content"] = text;
  return json::to_line(body);
}

}  // namespace qwen35::server
