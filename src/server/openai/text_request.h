#pragma once

#include <qwen35/options.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/openai/request_limits.h"

namespace qwen35::server {

/// The body of POST /v1/completions.
struct TextRequest {
  using Prompt = std::variant<std::string, std::vector<std::int32_t>>;  ///< text or token ids, each at least 0

  std::string model;            ///< as the client wrote it; "": none given
  std::vector<Prompt> prompts;  ///< at least one, none empty
  GenerateOptions options;      ///< thinking, tools and the template play no part
  int n = 1;                    ///< choices of each prompt: choice i of prompt p has the index p * n + i
  bool stream = false;
  bool include_usage = false;
  bool echo = false;  ///< the prompt stands before each text
  std::optional<double> timeout_seconds;
};

/// As parse_chat_request().
TextRequest parse_text_request(std::string_view body, const RequestLimits& limits, const GenerateOptions& defaults);

}  // namespace qwen35::server
