#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace qwen35::server {

/// The control tokens of Qwen3.5 that no text of a client needs to hold: <|im_start|> and its kind. Tags that people do
/// write about (<think>, <tool_call>) are not among them.
std::vector<std::string> usual_control_tokens();

/// What a request may ask for. A request beyond any of these is refused with 400. The size of the body is the
/// listener's to check; everything here is at most as large as the body.
struct RequestLimits {
  std::size_t depth = 64;            ///< levels of JSON
  std::size_t messages = 2048;       ///< of one conversation
  std::size_t tools = 128;           ///< definitions
  std::size_t prompts = 8;           ///< of one text completion
  std::size_t stop = 16;             ///< stop strings; the engine takes no more
  std::size_t stop_bytes = 256;      ///< of one
  std::size_t logit_bias = 1024;     ///< entries
  std::size_t schema_bytes = 65536;  ///< of a JSON Schema, and of a GBNF grammar
  std::size_t tool_bytes = 262144;   ///< of all definitions together
  int max_tokens = 32768;            ///< of an answer, and of the thinking before it
  int n = 8;                         ///< choices of one prompt
  double timeout_seconds = 3600;     ///< the longest deadline a request may set
  /// Text of users, systems, tools and names that spells one of these is refused (code "control_token").
  /// The engine reads them as plain characters in any case; the refusal tells who tried.
  std::vector<std::string> control_tokens = usual_control_tokens();
  bool control_tokens_as_text = false;  ///< let them pass as the plain characters they are
};

}  // namespace qwen35::server
