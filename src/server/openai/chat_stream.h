#pragma once

#include <qwen35/chat.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "server/openai/responses.h"

namespace qwen35::server {

/// One choice of a streamed chat response: each call gives the payload of one event ("data: " and the line ends are the
/// sender's). Choices have a ChatStream each and share nothing, so that each may live on its own thread. In order:
/// begin(), then any of the four in the middle, then end(); behind the end of all choices chat_usage_chunk() if asked
/// for, and stream_done. A reply that fails on the way ends with error_body() in place of end().
class ChatStream {
 public:
  explicit ChatStream(ResponseHead head, std::size_t choice = 0);

  [[nodiscard]] std::string begin() const;                            ///< the role
  [[nodiscard]] std::string reasoning(std::string_view piece) const;  ///< a piece of thinking
  std::string content(std::string_view piece);                        ///< a piece of the answer
  /// Kept until the next content(), tool_call() or end(), which carries it.
  void logprob(TokenLogprob token);
  /// A whole call: two payloads, its id and name, then its arguments.
  std::vector<std::string> tool_call(const ToolCall& call);
  /// The finish reason, and what the reply took ("timings").
  std::string end(const Reply& reply);

  [[nodiscard]] std::size_t tool_calls() const { return calls_; }  ///< sent so far

 private:
  ResponseHead head_;
  std::size_t choice_;
  std::size_t calls_ = 0;
  std::vector<TokenLogprob> logprobs_;
};

/// The same for /v1/completions.
class TextStream {
 public:
  /// `echo`: the prompt, if it is to stand before the text.
  explicit TextStream(ResponseHead head, std::size_t choice = 0, std::string echo = {});

  /// The echo; "" when there is none, and then there is nothing to send.
  [[nodiscard]] std::string begin() const;
  std::string content(std::string_view piece);
  void logprob(TokenLogprob token);
  std::string end(const Reply& reply);

 private:
  ResponseHead head_;
  std::size_t choice_;
  std::string echo_;
  std::size_t offset_ = 0;  ///< code points before the next token
  std::vector<TokenLogprob> logprobs_;
};

}  // namespace qwen35::server
