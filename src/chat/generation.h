#pragma once

#include <qwen35/chat.h>
#include <qwen35/options.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/cancellation.h"
#include "base/token.h"
#include "chat/answer_text.h"
#include "chat/call_opening.h"
#include "chat/conversation.h"
#include "chat/lookup.h"
#include "chat/loop_guard.h"
#include "chat/model.h"
#include "chat/session.h"
#include "chat/thought_text.h"
#include "chat/token_chooser.h"

namespace qwen35 {

/// What is fed before a reply.
struct Prompt {
  std::vector<TokenId> tokens;   ///< the whole history, this turn's included, up to where the model goes on
  bool thinking = false;         ///< they end inside <think>
  bool document = false;         ///< they are no chat: what is generated is text, thinking and calls not set apart
  nlohmann::ordered_json tools;  ///< the definitions the model was given, or null
  double prepare_ms = 0;         ///< what rendering and encoding took; counted in the reply's times
};

/// One reply being made, token by token: prefill, thinking within its budget, the answer, the reasons to end. Changes
/// the session and nothing else. Not movable; model, session and the flag behind `cancelled` must outlive it.
class Generation {
 public:
  /// Computes nothing yet. Throws invalid_argument for options out of range, context_limit when the prompt leaves no
  /// room for a token.
  Generation(Model& model, Session& session, Prompt prompt, const GenerateOptions& options, Cancellation cancelled);
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
  [[nodiscard]] Reply& reply() { return reply_; }
  /// A stop string ended the answer: the tokens hold more than its text.
  [[nodiscard]] bool stopped_by_string() const { return answer_.stopped_by().has_value(); }
  /// After the end: the prompt and the reply as they were (or would next be) fed, and what must follow to end the turn.
  [[nodiscard]] FedTurn& fed() { return fed_; }

 private:
  bool compute();
  bool prefill();
  bool decode();
  bool feed(std::span<const TokenId> pending, const Cancellation& cancelled);
  std::span<SampleRequest> ask(std::span<const TokenId> guesses);
  void settle();
  TokenId choose();
  /// What a token's place depends on.
  struct Standing {
    bool thinking;
    std::size_t thinking_budget;
    bool has_answer;
  };
  [[nodiscard]] Standing behind(Standing standing, TokenId guess) const;
  [[nodiscard]] TokenChooser::Place place(const Standing& standing) const;
  [[nodiscard]] TokenChooser::Place place() const;
  void take(TokenId token);
  void watch_for_loops(TokenId token, bool thought);
  void take_thought(TokenId token);
  void take_answer(TokenId token);
  void close_thinking();
  void open_call();
  void end_after_call();
  void tell_thought();
  void end(FinishReason reason);
  void note_text();
  [[nodiscard]] const std::vector<TokenId>& thinking_close() const;
  [[nodiscard]] std::size_t room() const { return context_ - fed_.tokens.size(); }
  [[nodiscard]] bool is_text(TokenId token) const;
  [[nodiscard]] bool ends_turn(TokenId token) const;
  [[nodiscard]] double elapsed_ms() const;

  Model& model_;
  Session& session_;
  const Cancellation cancelled_;
  const nlohmann::ordered_json tools_;
  const std::size_t context_;
  const std::size_t max_tokens_;
  const bool document_;
  const bool allow_empty_;
  const bool may_call_;
  const std::size_t max_tool_calls_;  ///< 0: any number
  const std::function<void(const ToolCall&)> on_tool_call_;
  const std::function<void(std::string_view)> on_thinking_;
  const std::function<void(const TokenLogprob&)> on_logprob_;
  TokenChooser chooser_;
  const bool samples_;                   ///< the backend can choose tokens sampled like this reply's
  std::optional<LoopGuard> loop_guard_;  ///< of the thinking, then of the answer

  std::optional<CallOpening> opening_;  ///< still to be written
  bool in_first_call_ = false;          ///< the one that opening_ began: the reply may not end in it

  FedTurn fed_;
  bool started_ = false;
  bool thinking_;
  bool ended_ = false;
  bool closing_form_ = false;        ///< the answer went in circles: its form is brought to an end
  bool has_answer_ = false;          ///< something but white space
  std::size_t thinking_budget_ = 0;  ///< tokens the model may still think

  std::optional<Lookup> lookup_;
  std::vector<TokenId> draft_;  ///< the tokens of the verifying pass in use: one that is certain, then guesses
  std::size_t row_ = 0;         ///< of its logits, the one to choose from; the tokens up to there were right
  bool draft_chosen_ = false;   ///< it has no logits: the backend has chosen the token behind each row
  /// Of the last token of the prompt, for a checkpoint that is made when the first token is out.
  std::shared_ptr<const std::vector<float>> prompt_logits_;

  bool chosen_ = false;                      ///< the backend has chosen the next token, and there are no logits
  std::vector<TokenChooser::Place> places_;  ///< scratch

  AnswerText answer_;
  std::string rest_;  ///< of the answer, known only at its end
  ThoughtText thought_;
  Reply reply_;

  // Times are those of the engine's own work: a slow consumer of a stream does not count.
  std::chrono::steady_clock::time_point resumed_;
  double worked_ms_;
  double first_token_ms_ = 0;
  double last_token_ms_ = 0;
  std::size_t sampled_ = 0;
};

}  // namespace qwen35
