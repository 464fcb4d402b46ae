#pragma once

#include <qwen35/message.h>
#include <qwen35/options.h>

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/token.h"
#include "text/tokenizer.h"

namespace qwen35 {

/// One turn, settled before anything is computed: what the conversation will be and what is fed for it.
struct Turn {
  std::vector<Message> messages;  ///< the conversation up to the reply
  std::string tools;              ///< the definitions as the caller wrote them
  nlohmann::ordered_json tools_json;
  std::vector<TokenId> tokens;  ///< of the whole history, up to where the model goes on
  bool thinking = false;        ///< they end inside <think>
};

/// The messages and the tokens that were really fed for them. The template drops earlier thinking when it renders a
/// history anew, so tokens once fed are kept and only new messages are rendered after them. Knows no model.
class Conversation {
 public:
  [[nodiscard]] const std::vector<Message>& messages() const { return messages_; }
  /// Replaces everything. Throws invalid_argument for an unknown role or arguments that are not a JSON object.
  void set_messages(std::vector<Message> messages);
  void clear();

  /// The turn that a user's `prompt` begins. Throws invalid_argument (options, tools); changes nothing.
  [[nodiscard]] Turn next_turn(const Tokenizer& tokenizer, std::string_view prompt,
                               const GenerateOptions& options) const;
  /// The turn that answers the last of `messages`, which may go on from the present ones: an assistant message counts
  /// as ours when content and tool calls are the same, and ours, with its thinking, is kept.
  [[nodiscard]] Turn next_turn(const Tokenizer& tokenizer, std::span<const Message> messages,
                               const GenerateOptions& options) const;

  /// Takes over a turn that has its reply. `tokens`: all that was fed, the reply included; `closing`: what must be fed
  /// before another turn.
  void commit(Turn&& turn, Message&& reply, std::vector<TokenId>&& tokens, std::vector<TokenId>&& closing);

 private:
  [[nodiscard]] Turn plan(const Tokenizer& tokenizer, std::vector<Message> messages,
                          const GenerateOptions& options) const;
  /// Whether `messages` begin with the present ones and have more.
  [[nodiscard]] bool continues(std::span<const Message> messages) const;

  std::vector<Message> messages_;
  std::string tools_;
  std::vector<TokenId> tokens_;   ///< fed for messages_; empty: not rendered yet
  std::vector<TokenId> closing_;  ///< what ends the last turn where the model did not
};

}  // namespace qwen35
