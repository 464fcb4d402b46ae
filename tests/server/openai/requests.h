#pragma once

#include <string>
#include <string_view>

#include "server/openai/chat_request.h"
#include "server/openai/errors.h"
#include "server/openai/text_request.h"

namespace qwen35::server {

/// A chat request with one question and these further fields (", \"n\": 2" or "").
inline std::string chat_body(const std::string& fields) {
  return R"({"model": "m", "messages": [{"role": "user", "content": "Hi"}])" + fields + "}";
}

inline ChatRequest chat(const std::string& fields, const GenerateOptions& defaults = {}) {
  return parse_chat_request(chat_body(fields), {}, defaults);
}

/// A chat request with these messages.
inline ChatRequest conversation(const std::string& messages) {
  return parse_chat_request("{\"messages\": " + messages + "}", {}, {});
}

inline TextRequest text(const std::string& fields) {
  return parse_text_request("{\"prompt\": \"Once\"" + fields + "}", {}, {});
}

/// "400 code param" of what `parse` throws, or "accepted".
template <typename Parse>
std::string refusal(Parse&& parse) {
  try {
    parse();
  } catch (const ApiError& error) {
    return std::to_string(error.status) + " " + error.code + " " + error.param;
  }
  return "accepted";
}

template <typename Parse>
std::string message_of(Parse&& parse) {
  try {
    parse();
  } catch (const ApiError& error) {
    return error.message;
  }
  return "accepted";
}

}  // namespace qwen35::server
