#pragma once

#include <qwen35/chat.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qwen35::server {

/// What all parts of one response have in common.
struct ResponseHead {
  std::string id;  ///< e.g. "chatcmpl-" or "cmpl-" and some random letters; ids of tool calls are made from it
  std::int64_t created = 0;    ///< seconds since 1970
  std::string model;           ///< the name the server gives its model
  bool include_usage = false;  ///< of a stream
  bool logprobs = false;       ///< asked for: a whole response holds them
};

/// The whole response to a chat request: choice i is replies[i].
std::string chat_response(const ResponseHead& head, std::span<const Reply> replies);

/// The whole response to a text request: choice i is replies[i]. `echoes`: what stands before each text; empty: nothing
/// anywhere. `prompts`: how many prompts the request had, for the count of their tokens.
std::string text_response(const ResponseHead& head, std::span<const Reply> replies,
                          std::span<const std::string> echoes = {}, std::size_t prompts = 1);

/// A model that the server offers.
struct ModelEntry {
  std::string id;
  std::int64_t created = 0;  ///< seconds since 1970
  std::size_t context = 0;   ///< most tokens of a conversation
};

/// GET /v1/models and GET /v1/models/ID.
std::string models_response(std::span<const ModelEntry> models);
std::string model_response(const ModelEntry& model);

/// The last payload of every stream.
inline constexpr std::string_view stream_done = "[DONE]";

/// The chunk of a stream that holds the usage of all choices and no choice; sent behind the last end() when
/// `include_usage` is set. The object is "chat.completion.chunk" or "text_completion".
std::string chat_usage_chunk(const ResponseHead& head, std::span<const Reply> replies);
std::string text_usage_chunk(const ResponseHead& head, std::span<const Reply> replies, std::size_t prompts = 1);

}  // namespace qwen35::server
