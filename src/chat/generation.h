#pragma once

#include <qwen35/chat.h>
#include <qwen35/options.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/token.h"
#include "chat/answer_text.h"
#include "chat/model.h"
#include "chat/session.h"
#include "sampling/sampler.h"
#include "text/utf8_stream.h"

namespace qwen35 {

/// What is fed before a reply.
struct Prompt {
  std::vector<TokenId> tokens;   ///< the whole history, this turn's included, up to where the model goes on
  bool thinking = false;         ///< they end inside <think>
  nlohmann::ordered_json tools;  ///< the definitions the model was given, or null
  double prepare_ms = 0;         ///< what rendering and encoding took; counted in the reply's times
};

/// One reply being made, token by token: prefill, thinking within its budget, the answer, the reasons to end. Changes
/// the session's timeline and nothing else. Not movable; model, session and flag must outlive it.
class Generation {
 public:
  /// Computes nothing yet. Throws invalid_argument for options out of range, context_limit when the prompt leaves no
  /// room for a token.
  Generation(Model& model, Session& session, Prompt prompt, const GenerateOptions& options,
             const std::atomic<bool>& cancelled);
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  /// Computes until the next piece of the answer is certain. False: there is none any more. Throws what the backend
  /// throws.
  bool advance(std::string& piece);
  /// Ends the reply here, as cancelled; nothing when it has ended.
  void stop();
  [[nodiscard]] bool ended() const { return ended_; }

  /// The rest is whole once ended() is true.
  [[nodiscard]] const Reply& reply() const { return reply_; }
  /// The prompt and the reply as they were (or would next be) fed.
  [[nodiscard]] std::vector<TokenId>& tokens() { return tokens_; }
  /// What must follow tokens() to end the turn: empty after <|im_end|>.
  [[nodiscard]] std::vector<TokenId>& closing() { return closing_; }

 private:
  bool compute();
  TokenId choose();
  void take(TokenId token);
  void take_thought(TokenId token);
  void take_answer(TokenId token);
  void close_thinking();
  void end(FinishReason reason);
  void note_text();
  [[nodiscard]] const std::vector<TokenId>& thinking_close() const;
  [[nodiscard]] std::size_t room() const { return context_ - tokens_.size(); }
  [[nodiscard]] bool ends_turn(TokenId token) const;
  [[nodiscard]] double elapsed_ms() const;

  Model& model_;
  Session& session_;
  const std::atomic<bool>& cancelled_;
  const nlohmann::ordered_json tools_;
  const std::size_t context_;
  const std::size_t max_tokens_;
  const std::size_t penalty_window_;
  Sampler sampler_;

  std::vector<TokenId> tokens_;
  std::vector<TokenId> closing_;
  std::vector<TokenId> recent_;  ///< scratch: what the repetition penalty sees
  bool started_ = false;
  bool thinking_;
  bool ended_ = false;
  std::size_t thinking_budget_ = 0;  ///< tokens the model may still think

  AnswerText answer_;
  std::string rest_;  ///< of the answer, known only at its end
  Utf8Stream thinking_utf8_;
  Reply reply_;

  // Times are those of the engine's own work: a slow consumer of a stream does not count.
  std::chrono::steady_clock::time_point resumed_;
  double worked_ms_;
  double first_token_ms_ = 0;
  double last_token_ms_ = 0;
  std::size_t sampled_ = 0;
};

}  // namespace qwen35
