#pragma once

#include <qwen35/message.h>
#include <qwen35/options.h>

#include <cstddef>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/token.h"
#include "chat/reply_memory.h"
#include "text/tokenizer.h"

namespace qwen35 {

/// One turn, settled before anything is computed: what the conversation will be and what is fed for it.
struct Turn {
  std::vector<Message> messages;  ///< the conversation up to the reply
  std::string tools;              ///< the definitions as the caller wrote them
  nlohmann::ordered_json tools_json;
  std::vector<TokenId> tokens;  ///< of the whole history, up to where the model goes on
  std::size_t reply_begin = 0;  ///< of these, before the reply's <|im_start|>assistant
  bool thinking = false;        ///< they end inside <think>
  std::size_t dropped = 0;      ///< messages left out to make room
};

/// What was fed in a turn, once it has its reply.
struct FedTurn {
  std::vector<TokenId> tokens;   ///< all of the history, the reply included
  std::vector<TokenId> closing;  ///< what must be fed before another turn
  std::size_t answer_begin = 0;  ///< where in `tokens` the thinking is over; their number when it is not
};

/// The messages and the tokens that were really fed for them. The template drops earlier thinking when it renders a
/// history anew, so tokens once sampled are kept, also those of replies on other branches of the conversation and of
/// other conversations that remember in the same place. Knows no model. A value: copies go their own ways.
class Conversation {
 public:
  /// `replies`: what this and other conversations over one model remember together; not null.
  explicit Conversation(std::shared_ptr<ReplyMemory> replies = std::make_shared<ReplyMemory>())
      : replies_(std::move(replies)) {}

  [[nodiscard]] const std::vector<Message>& messages() const { return messages_; }
  /// Replaces everything. Throws invalid_argument for an unknown role or arguments that are not a JSON object.
  void set_messages(std::vector<Message> messages);
  void clear();
  /// Definitions for turns whose options name none. Throws invalid_argument.
  void set_tools(std::string tools);

  /// The turn that a user's `prompt` begins. `context`: most tokens a conversation may hold. Throws invalid_argument
  /// (options, tools); changes nothing.
  [[nodiscard]] Turn next_turn(const Tokenizer& tokenizer, std::string_view prompt, const GenerateOptions& options,
                               std::size_t context) const;
  /// The turn that answers the last of `messages`, which may share a beginning with the present ones or with any
  /// branch before: an assistant message counts as ours when content and tool calls are the same, and ours, with its
  /// thinking, is kept.
  [[nodiscard]] Turn next_turn(const Tokenizer& tokenizer, std::span<const Message> messages,
                               const GenerateOptions& options, std::size_t context) const;
  /// The turn that makes the last reply anew. Throws invalid_argument when the last message is not one.
  [[nodiscard]] Turn same_turn(const Tokenizer& tokenizer, const GenerateOptions& options, std::size_t context) const;
  /// Tokens that next_turn() of these messages has. Reads nothing that a turn changes.
  [[nodiscard]] std::size_t count_tokens(const Tokenizer& tokenizer, std::span<const Message> messages,
                                         const GenerateOptions& options, std::size_t context) const;
  /// The tokens of a turn whose `prompt` is not whole yet, as far as they are likely to stay: without its last word.
  [[nodiscard]] std::vector<TokenId> beginning(const Tokenizer& tokenizer, std::string_view prompt,
                                               const GenerateOptions& options) const;

  /// Takes over a turn that has its reply.
  void commit(const Tokenizer& tokenizer, Turn&& turn, Message&& reply, FedTurn&& fed);

  /// Takes over a turn that was stopped before its reply had any text: the user's message stays, without a reply.
  void commit_unanswered(Turn&& turn, FedTurn&& fed);

  /// Cuts the last reply back; see Chat::truncate_reply.
  void truncate_reply(const Tokenizer& tokenizer, std::string_view heard);
  void truncate_reply(const Tokenizer& tokenizer, std::size_t answer_tokens);
  /// Cuts the last reply's tokens back to its text, where more was sampled (a stop string).
  void cut_reply_to_text(const Tokenizer& tokenizer) { cut_to(tokenizer, messages_.back().content); }

 private:
  friend class SessionFile;  ///< stores and brings back the fields below

  [[nodiscard]] Turn plan(const Tokenizer& tokenizer, std::vector<Message> messages, const GenerateOptions& options,
                          std::size_t context) const;
  void fill_tokens(const Tokenizer& tokenizer, Turn& turn, const GenerateOptions& options, bool whole_turn) const;
  /// Whether `messages` begin with the present ones and have more.
  [[nodiscard]] bool continues(std::span<const Message> messages) const;
  [[nodiscard]] std::vector<Message> with_prompt(std::string_view prompt, const GenerateOptions& options) const;
  void cut_to(const Tokenizer& tokenizer, std::string_view text);
  void cut_reply(const Tokenizer& tokenizer, std::size_t tokens, std::string_view rest);

  std::vector<Message> messages_;
  std::string default_tools_;
  std::string tools_;             ///< that tokens_ were rendered with
  std::vector<TokenId> tokens_;   ///< fed for messages_; empty: not rendered yet
  std::vector<TokenId> closing_;  ///< what ends the last turn: <|im_end|> where the model did not, and the line end
  std::size_t reply_begin_ = 0;   ///< where in tokens_ the last reply's <|im_start|>assistant stands
  std::size_t answer_begin_ = 0;  ///< where its thinking is over
  std::shared_ptr<ReplyMemory> replies_;
};

}  // namespace qwen35
