#pragma once

#include <qwen35/chat.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "json/fields.h"
#include "server/openai/responses.h"

namespace qwen35::server {

/// {"id", "object", "created", "model"}: how every response and every chunk begins.
json::Json response_base(const ResponseHead& head, const char* object);

/// The API's word for why a reply ended: stop, length or tool_calls. A reply that was cut short (cancelled, or going
/// round in circles) is "length": it is not whole; finish_detail() has our own word for these.
std::string_view finish_reason(const Reply& reply);
/// "loop" or "cancelled"; "": finish_reason() says it all.
std::string_view finish_detail(const Reply& reply);

/// The usage of choices over one prompt each `replies.size() / prompts` times. A prompt's tokens count once.
json::Json usage_to_json(std::span<const Reply> replies, std::size_t prompts);
/// What a reply took: our addition to the API.
json::Json timings_to_json(const Metrics& metrics);

/// Made from the response's id, so that calls of different responses differ.
std::string call_id(const ResponseHead& head, std::size_t choice, std::size_t index);

/// {"tokens", "token_logprobs", "top_logprobs", "text_offset"}, as /v1/completions has it. `offset`: code points before
/// the first token; moves on behind the last.
json::Json text_logprobs_to_json(std::span<const TokenLogprob> logprobs, std::size_t& offset);

/// Characters of well-formed text; of other bytes, those that do not continue a character.
std::size_t code_points(std::string_view text);

}  // namespace qwen35::server
