#include "chat/conversation.h"

#include <qwen35/error.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "chat/answer_text.h"
#include "text/chat_template.h"

namespace qwen35 {
namespace {

bool same_arguments(const std::string& a, const std::string& b) {
  if (a == b) return true;
  try {
    return nlohmann::json(parse_json(a, "arguments")) == nlohmann::json(parse_json(b, "arguments"));
  } catch (const Error&) {
    return false;
  }
}

bool same_calls(const std::vector<ToolCall>& a, const std::vector<ToolCall>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const ToolCall& x, const ToolCall& y) {
    return x.name == y.name && same_arguments(x.arguments, y.arguments);
  });
}

/// Whether a caller that gives `given` back means the message we kept.
bool same_message(const Message& kept, const Message& given) {
  if (kept.role != given.role) return false;
  if (kept.role != "assistant") return kept.content == given.content;
  return trimmed(kept.content) == trimmed(given.content) && same_calls(kept.tool_calls, given.tool_calls);
}

/// GenerateOptions::system_prompt: nullopt keeps, an empty one removes.
void apply_system_prompt(std::vector<Message>& messages, const GenerateOptions& options) {
  if (!options.system_prompt) return;
  const bool present = !messages.empty() && messages.front().role == "system";
  if (options.system_prompt->empty()) {
    if (present) messages.erase(messages.begin());
  } else if (present) {
    messages.front().content = *options.system_prompt;
  } else {
    messages.insert(messages.begin(), Message{.role = "system", .content = *options.system_prompt});
  }
}

nlohmann::ordered_json parse_tools(const std::string& text) {
  if (trimmed(text).empty()) return nullptr;
  nlohmann::ordered_json tools = parse_json(text, "tools");
  if (!tools.is_array()) {
    throw Error(ErrorCode::invalid_argument, std::string("tools is a JSON ") + tools.type_name() +
                                                 "; expected an array of tool definitions in the OpenAI form");
  }
  for (std::size_t i = 0; i < tools.size(); ++i) {
    if (tools[i].is_object()) continue;
    throw Error(ErrorCode::invalid_argument, "tools[" + std::to_string(i) + "] is a JSON " + tools[i].type_name() +
                                                 "; expected an object, a tool definition in the OpenAI form");
  }
  if (tools.empty()) return nullptr;
  return tools;
}

}  // namespace

void Conversation::set_messages(std::vector<Message> messages) {
  constexpr std::array<std::string_view, 4> kRoles = {"system", "user", "assistant", "tool"};
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (std::find(kRoles.begin(), kRoles.end(), role) == kRoles.end()) {
      throw Error(ErrorCode::invalid_argument, "messages[" + std::to_string(i) + "] has the role \"" + role +
                                                   "\"; expected system, user, assistant or tool");
    }
    if (role == "system" && i != 0) {
      throw Error(ErrorCode::invalid_argument,
                  "messages[" + std::to_string(i) + "] has the role \"system\"; only the first message may have it");
    }
  }
  static_cast<void>(to_json(messages));  // throws for arguments that are not a JSON object
  clear();
  messages_ = std::move(messages);
}

void Conversation::clear() {
  messages_.clear();
  tools_.clear();
  tokens_.clear();
  closing_.clear();
}

Turn Conversation::next_turn(const Tokenizer& tokenizer, std::string_view prompt,
                             const GenerateOptions& options) const {
  std::vector<Message> messages;
  messages.reserve(messages_.size() + 3);  // system message, this turn, the reply
  messages = messages_;
  apply_system_prompt(messages, options);
  messages.push_back({.role = "user", .content = std::string(prompt)});
  return plan(tokenizer, std::move(messages), options);
}

Turn Conversation::next_turn(const Tokenizer& tokenizer, std::span<const Message> messages,
                             const GenerateOptions& options) const {
  if (messages.empty()) {
    throw Error(ErrorCode::invalid_argument, "messages is empty; expected at least one user message to reply to");
  }
  if (const std::string& role = messages.back().role; role != "user" && role != "tool") {
    throw Error(ErrorCode::invalid_argument, "the last message has the role \"" + role +
                                                 "\"; expected user or tool, so that there is something to reply to");
  }
  std::vector<Message> all(messages.begin(), messages.end());
  apply_system_prompt(all, options);
  if (continues(all)) std::copy(messages_.begin(), messages_.end(), all.begin());
  return plan(tokenizer, std::move(all), options);
}

void Conversation::commit(Turn&& turn, Message&& reply, std::vector<TokenId>&& tokens, std::vector<TokenId>&& closing) {
  turn.messages.push_back(std::move(reply));  // the one step that can fail
  messages_ = std::move(turn.messages);
  tools_ = std::move(turn.tools);
  tokens_ = std::move(tokens);
  closing_ = std::move(closing);
}

Turn Conversation::plan(const Tokenizer& tokenizer, std::vector<Message> messages,
                        const GenerateOptions& options) const {
  Turn turn;
  turn.tools = options.tools;
  turn.tools_json = parse_tools(options.tools);
  // No budget is the same as no thinking, and the template has its own form for that.
  turn.thinking = options.enable_thinking && options.max_thinking_tokens > 0;

  std::size_t first_new = 0;
  if (!tokens_.empty() && turn.tools == tools_ && continues(messages)) {
    first_new = messages_.size();
    turn.tokens = tokens_;
    turn.tokens.insert(turn.tokens.end(), closing_.begin(), closing_.end());
    // The template ends each message with a newline after <|im_end|>, which the model does not write.
    const std::vector<TokenId> new_line = tokenizer.encode(std::string_view("\n"));
    turn.tokens.insert(turn.tokens.end(), new_line.begin(), new_line.end());
  }
  const PromptText text = render_chat(to_json(messages), turn.tools_json,
                                      {.add_generation_prompt = true, .enable_thinking = turn.thinking}, first_new);
  const std::vector<TokenId> encoded = tokenizer.encode(text);
  turn.tokens.insert(turn.tokens.end(), encoded.begin(), encoded.end());
  turn.messages = std::move(messages);
  return turn;
}

bool Conversation::continues(std::span<const Message> messages) const {
  return !messages_.empty() && messages.size() > messages_.size() &&
         std::equal(messages_.begin(), messages_.end(), messages.begin(), same_message);
}

}  // namespace qwen35
