#pragma once

#include <qwen35/message.h>
#include <qwen35/options.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/openai/request_limits.h"

namespace qwen35::server {

/// The body of POST /v1/chat/completions.
struct ChatRequest {
  std::string model;  ///< as the client wrote it; "": none given
  std::vector<Message> messages;
  GenerateOptions options;  ///< callbacks and `cancel` are left alone
  int n = 1;                ///< choices; options_of_choice() says what differs between them
  bool stream = false;
  bool include_usage = false;             ///< of a stream: a last chunk with the usage
  std::optional<double> timeout_seconds;  ///< greater than 0
};

/// Reads a request; what it does not state is taken from `defaults`. Throws ApiError (400) naming the field; nothing
/// else but std::bad_alloc, whatever `body` holds. docs/server.md lists the fields.
ChatRequest parse_chat_request(std::string_view body, const RequestLimits& limits, const GenerateOptions& defaults);

/// The options of choice `index` of `n`: a stated seed goes up by one with each, so that the choices differ and the
/// whole can be repeated.
GenerateOptions options_of_choice(const GenerateOptions& options, int index);

}  // namespace qwen35::server
