#pragma once

#include <qwen35/message.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/openai/request_limits.h"

namespace qwen35::server {

/// The body of POST /tokenize: {"prompt": "..."} or {"content": "..."}, with {"special": true} to read control tokens
/// in it as such.
struct TokenizeRequest {
  std::string text;
  bool special = false;
};

/// Throws ApiError (400) and std::bad_alloc alone.
TokenizeRequest parse_tokenize_request(std::string_view body, const RequestLimits& limits);
/// The body of POST /detokenize: {"tokens": [1, 2, 3]}. Throws likewise.
std::vector<std::int32_t> parse_detokenize_request(std::string_view body, const RequestLimits& limits);

/// {"tokens": [...], "count", "max_model_len"}; `context`: most tokens of a conversation.
std::string tokenize_response(std::span<const std::int32_t> tokens, std::size_t context);
/// {"prompt", "content"}: the text twice, for the two spellings in use; ill-formed UTF-8 becomes U+FFFD.
std::string detokenize_response(std::string_view text);

}  // namespace qwen35::server
