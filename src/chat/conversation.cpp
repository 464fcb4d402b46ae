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

/// The turns of a list of messages: where each user message stands that begins one.
std::vector<std::size_t> turn_begins(std::span<const Message> messages) {
  std::vector<std::size_t> begins;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].role == "user") begins.push_back(i);
  }
  return begins;
}

/// `messages` without the oldest `turns` turns; a system message stays.
std::vector<Message> without_turns(const std::vector<Message>& messages, std::size_t turns) {
  const std::vector<std::size_t> begins = turn_begins(messages);
  std::vector<Message> rest;
  if (messages.front().role == "system") rest.push_back(messages.front());
  rest.insert(rest.end(), messages.begin() + static_cast<std::ptrdiff_t>(begins[turns]), messages.end());
  return rest;
}

/// What a reply should find free: all it may take, but no more than a quarter of the context.
std::size_t reserve_for_reply(const GenerateOptions& options, std::size_t context) {
  const auto answer = static_cast<std::size_t>(std::max(options.max_tokens, 0));
  const auto thinking =
      static_cast<std::size_t>(options.enable_thinking ? std::max(options.max_thinking_tokens, 0) : 0);
  return std::min(answer + thinking, context / 4);
}

PrefixKey key_of(std::span<const TokenId> tokens) {
  TokenHash hash;
  hash.add(tokens);
  return hash.key();
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
  reply_begin_ = 0;
  answer_begin_ = 0;
}

void Conversation::set_tools(std::string tools) {
  static_cast<void>(parse_tools(tools));
  default_tools_ = std::move(tools);
}

Turn Conversation::next_turn(const Tokenizer& tokenizer, std::string_view prompt, const GenerateOptions& options,
                             std::size_t context) const {
  return plan(tokenizer, with_prompt(prompt, options), options, context);
}

Turn Conversation::next_turn(const Tokenizer& tokenizer, std::span<const Message> messages,
                             const GenerateOptions& options, std::size_t context) const {
  if (messages.empty()) {
    throw Error(ErrorCode::invalid_argument, "messages is empty; expected at least one user message to reply to");
  }
  if (const std::string& role = messages.back().role; role != "user" && role != "tool") {
    throw Error(ErrorCode::invalid_argument, "the last message has the role \"" + role +
                                                 "\"; expected user or tool, so that there is something to reply to");
  }
  std::vector<Message> all(messages.begin(), messages.end());
  apply_system_prompt(all, options);
  return plan(tokenizer, std::move(all), options, context);
}

Turn Conversation::same_turn(const Tokenizer& tokenizer, const GenerateOptions& options, std::size_t context) const {
  if (messages_.empty() || messages_.back().role != "assistant") {
    throw Error(ErrorCode::invalid_argument,
                "there is no reply to make anew: the last message is " +
                    (messages_.empty() ? "missing" : "of the role " + messages_.back().role));
  }
  return next_turn(tokenizer, std::span(messages_).first(messages_.size() - 1), options, context);
}

std::size_t Conversation::count_tokens(const Tokenizer& tokenizer, std::span<const Message> messages,
                                       const GenerateOptions& options, std::size_t context) const {
  Conversation fresh(replies_);
  fresh.default_tools_ = default_tools_;
  return fresh.next_turn(tokenizer, messages, options, context).tokens.size();
}

std::vector<TokenId> Conversation::beginning(const Tokenizer& tokenizer, std::string_view prompt,
                                             const GenerateOptions& options) const {
  Turn turn;
  turn.messages = with_prompt(prompt, options);
  fill_tokens(tokenizer, turn, options, false);
  // "<|im_end|>\n" ends what is not at its end; before it a word may still grow or be corrected.
  std::vector<TokenId>& tokens = turn.tokens;
  while (!tokens.empty() && !tokenizer.is_added(tokens.back())) tokens.pop_back();
  if (!tokens.empty()) tokens.pop_back();
  constexpr int kLongestWord = 4;  // tokens; scripts without spaces lose these
  for (int i = 0; i < kLongestWord && !tokens.empty(); ++i) {
    const std::string_view bytes = tokenizer.token_bytes(tokens.back());
    if (bytes.ends_with('\n')) break;  // the header "<|im_start|>user\n"
    const bool begins_word = bytes.starts_with(' ');
    tokens.pop_back();
    if (begins_word) break;
  }
  return std::move(tokens);
}

void Conversation::commit(const Tokenizer& tokenizer, Turn&& turn, Message&& reply, FedTurn&& fed) {
  const std::vector<TokenId> line_end = tokenizer.encode(std::string_view("\n"));
  // The template ends each message with a newline after <|im_end|>, which the model does not write.
  fed.closing.insert(fed.closing.end(), line_end.begin(), line_end.end());
  ReplyMemory::Reply memory{key_of(std::span(fed.tokens).first(turn.reply_begin)), reply, {}};
  memory.tokens.assign(fed.tokens.begin() + static_cast<std::ptrdiff_t>(turn.reply_begin), fed.tokens.end());
  memory.tokens.insert(memory.tokens.end(), fed.closing.begin(), fed.closing.end());
  replies_->remember(std::move(memory));
  turn.messages.push_back(std::move(reply));  // the last step that can fail
  messages_ = std::move(turn.messages);
  tools_ = std::move(turn.tools);
  tokens_ = std::move(fed.tokens);
  closing_ = std::move(fed.closing);
  reply_begin_ = turn.reply_begin;
  answer_begin_ = fed.answer_begin;
}

void Conversation::commit_unanswered(Turn&& turn, FedTurn&& fed) {
  messages_ = std::move(turn.messages);
  tools_ = std::move(turn.tools);
  tokens_ = std::move(fed.tokens);
  tokens_.resize(turn.reply_begin);
  closing_.clear();
  reply_begin_ = turn.reply_begin;
  answer_begin_ = turn.reply_begin;
}

void Conversation::truncate_reply(const Tokenizer& tokenizer, std::string_view heard) {
  if (messages_.empty() || messages_.back().role != "assistant" || tokens_.empty()) {
    throw Error(ErrorCode::invalid_argument,
                "there is no reply to truncate: the last message must be a reply that this Chat made");
  }
  const std::string& text = messages_.back().content;
  heard = trimmed(heard);
  if (heard == trimmed(text)) return;
  if (!std::string_view(text).starts_with(heard)) {
    const auto apart = std::mismatch(heard.begin(), heard.end(), text.begin(), text.end());
    throw Error(ErrorCode::invalid_argument,
                "what was heard is not the beginning of the last reply: they part at byte " +
                    std::to_string(apart.first - heard.begin()) +
                    "; give the reply's own text up to where the speaker was stopped");
  }
  cut_to(tokenizer, heard);
}

/// `heard`: a beginning of the last reply's text. Keeps the tokens that lie wholly in it, and has the rest of it in
/// tokens of its own.
void Conversation::cut_to(const Tokenizer& tokenizer, std::string_view heard) {
  std::size_t bytes = 0;  // of the answer in the tokens passed
  std::size_t kept = answer_begin_;
  bool begun = false;
  for (std::size_t i = answer_begin_; i < tokens_.size() && !heard.empty(); ++i) {
    if (tokenizer.is_added(tokens_[i])) continue;
    std::string_view piece = tokenizer.token_bytes(tokens_[i]);
    if (!begun) {
      const std::string_view inside = piece.substr(std::min(piece.find_first_not_of(" \t\n\v\f\r"), piece.size()));
      begun = !inside.empty();
      piece = inside;
    }
    if (bytes + piece.size() > heard.size()) break;
    bytes += piece.size();
    kept = i + 1;
    if (bytes == heard.size()) break;
  }
  cut_reply(tokenizer, kept, std::string(heard.substr(std::min(bytes, heard.size()))));
}

void Conversation::truncate_reply(const Tokenizer& tokenizer, std::size_t answer_tokens) {
  if (messages_.empty() || messages_.back().role != "assistant" || tokens_.empty()) {
    throw Error(ErrorCode::invalid_argument,
                "there is no reply to truncate: the last message must be a reply that this Chat made");
  }
  std::size_t kept = answer_begin_;
  std::size_t text_tokens = 0;
  while (kept < tokens_.size() && text_tokens < answer_tokens) {
    if (!tokenizer.is_added(tokens_[kept])) ++text_tokens;
    ++kept;
  }
  if (kept >= tokens_.size() || (kept + 1 == tokens_.size() && tokenizer.is_added(tokens_[kept]))) return;
  cut_reply(tokenizer, kept, {});
}

/// The last reply becomes its first tokens up to `tokens` of the history, and `rest`.
void Conversation::cut_reply(const Tokenizer& tokenizer, std::size_t tokens, std::string_view rest) {
  const std::vector<TokenId> tail = tokenizer.encode(rest);
  std::vector<TokenId> cut(tokens_.begin(), tokens_.begin() + static_cast<std::ptrdiff_t>(tokens));
  cut.insert(cut.end(), tail.begin(), tail.end());
  std::string text;
  for (std::size_t i = answer_begin_; i < cut.size(); ++i) {
    if (!tokenizer.is_added(cut[i])) text += tokenizer.token_bytes(cut[i]);
  }
  if (trimmed(text).empty()) {  // nothing was heard: there was no reply
    messages_.pop_back();
    tokens_.resize(reply_begin_);
    closing_.clear();
    answer_begin_ = reply_begin_;
    return;
  }
  Message reply = messages_.back();
  reply.content = std::string(trimmed(text));
  reply.tool_calls.clear();
  std::vector<TokenId> closing = tokenizer.encode_with_special("<|im_end|>\n");
  ReplyMemory::Reply memory{key_of(std::span(cut).first(reply_begin_)), reply, {}};
  memory.tokens.assign(cut.begin() + static_cast<std::ptrdiff_t>(reply_begin_), cut.end());
  memory.tokens.insert(memory.tokens.end(), closing.begin(), closing.end());
  replies_->remember(std::move(memory));
  messages_.back() = std::move(reply);
  tokens_ = std::move(cut);
  closing_ = std::move(closing);
}

std::vector<Message> Conversation::with_prompt(std::string_view prompt, const GenerateOptions& options) const {
  std::vector<Message> messages;
  messages.reserve(messages_.size() + 3);  // system message, this turn, the reply
  messages = messages_;
  apply_system_prompt(messages, options);
  messages.push_back({.role = "user", .content = std::string(prompt)});
  return messages;
}

Turn Conversation::plan(const Tokenizer& tokenizer, std::vector<Message> messages, const GenerateOptions& options,
                        std::size_t context) const {
  Turn turn;
  turn.messages = std::move(messages);
  fill_tokens(tokenizer, turn, options, true);
  const std::size_t needed = turn.tokens.size() + reserve_for_reply(options, context);
  if (options.context_policy == ContextPolicy::error || needed <= context) return turn;

  // The fewest turns whose absence leaves a quarter of the context free: what follows is computed anew, so room is made
  // for several turns at once.
  const std::vector<Message> all = turn.messages;
  const std::size_t turns = turn_begins(all).size();
  std::size_t low = 1;
  std::size_t high = turns > 0 ? turns - 1 : 0;  // the last turn is the one to answer
  if (high == 0) return turn;
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    Turn attempt;
    attempt.messages = without_turns(all, middle);
    fill_tokens(tokenizer, attempt, options, true);
    if (attempt.tokens.size() <= context - context / 4) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  Turn shorter;
  shorter.messages = without_turns(all, high);
  shorter.dropped = all.size() - shorter.messages.size();
  fill_tokens(tokenizer, shorter, options, true);
  return shorter;
}

/// Renders and encodes `turn.messages`, each reply of ours in the tokens that it was sampled as. `whole_turn`: with the
/// beginning of the reply.
void Conversation::fill_tokens(const Tokenizer& tokenizer, Turn& turn, const GenerateOptions& options,
                               bool whole_turn) const {
  turn.tools = options.tools.empty() ? default_tools_ : options.tools;
  turn.tools_json = parse_tools(turn.tools);
  if (turn.tools_json.is_null()) turn.tools.clear();
  // No budget is the same as no thinking, and the template has its own form for that.
  turn.thinking = options.enable_thinking && options.max_thinking_tokens > 0;
  const TemplateOptions form{.add_generation_prompt = whole_turn, .enable_thinking = turn.thinking};
  std::vector<TokenId>& tokens = turn.tokens;
  const auto append = [&tokens](const std::vector<TokenId>& more) {
    tokens.insert(tokens.end(), more.begin(), more.end());
  };
  const bool sampled = options.history == HistoryForm::sampled;

  std::size_t first = 0;  // messages that have their tokens
  if (sampled && !tokens_.empty() && turn.tools == tools_ && continues(turn.messages)) {
    std::copy(messages_.begin(), messages_.end(), turn.messages.begin());
    tokens = tokens_;
    append(closing_);
    first = messages_.size();
  }
  const auto is_reply = [](const Message& message) { return message.role == "assistant"; };
  if (first > 0 &&
      std::none_of(turn.messages.begin() + static_cast<std::ptrdiff_t>(first), turn.messages.end(), is_reply)) {
    // Most turns go on from the last one: only what is new is rendered.
    append(tokenizer.encode(render_chat(to_json(turn.messages), turn.tools_json, form, first)));
  } else {
    // Another conversation may have gone on from this one, so the rest may hold replies of ours too.
    const ChatText chat = render_chat_parts(to_json(turn.messages), turn.tools_json, form);
    TokenHash before;
    before.add(tokens);
    std::size_t done = first > 0 ? chat.message_begin[first] : 0;  // bytes of the text that have their tokens
    const auto advance = [&](std::size_t end) {
      PromptText part;
      part.append_part(chat.text, done, end);
      const std::vector<TokenId> encoded = tokenizer.encode(part);
      before.add(encoded);
      append(encoded);
      done = end;
    };
    for (std::size_t i = first; sampled && i < turn.messages.size(); ++i) {
      if (!is_reply(turn.messages[i])) continue;
      advance(chat.message_begin[i]);
      const std::shared_ptr<const ReplyMemory::Reply> reply = replies_->find(before.key(), turn.messages[i]);
      if (reply == nullptr) continue;
      before.add(reply->tokens);
      append(reply->tokens);
      turn.messages[i] = reply->message;
      done = chat.message_begin[i + 1];
    }
    advance(chat.text.text.size());
  }
  // Control tokens come from the template alone, so the last <|im_start|> is the reply's.
  turn.reply_begin = tokens.size();
  if (!whole_turn) return;
  const std::optional<TokenId> im_start = tokenizer.added_token("<|im_start|>");
  while (turn.reply_begin > 0 && tokens[turn.reply_begin - 1] != im_start) --turn.reply_begin;
  if (turn.reply_begin > 0) --turn.reply_begin;
}

bool Conversation::continues(std::span<const Message> messages) const {
  return !messages_.empty() && messages.size() > messages_.size() &&
         std::equal(messages_.begin(), messages_.end(), messages.begin(), same_message);
}

}  // namespace qwen35
