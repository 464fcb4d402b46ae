#pragma once

#include <qwen35/message.h>

#include <cstddef>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/parse_json.h"
#include "text/tokenizer.h"

namespace qwen35 {

struct TemplateOptions {
  bool add_generation_prompt = false;
  bool enable_thinking = false;
  bool add_vision_id = false;
};

/// Qwen3.5's chat template, in code. `messages` is an array of objects {role, content, reasoning_content, tool_calls}
/// as the OpenAI API has them (a call's arguments are an object, or an object as JSON text), `tools` an array or null.
/// Only what the template itself writes is control text: content, tool definitions, names and arguments are plain. Text
/// that is not well-formed UTF-8 is read with U+FFFD. Throws invalid_argument with the template's own message ("No user
/// query found in messages." and so on), or one that names the field of a wrong type.
///
/// `first_message` > 0 renders only what messages from that index on contribute (the earlier ones decide how): the text
/// to feed after a history that has been fed already. Behind an assistant's message, rendering messages[0, i) and then
/// the rest from i gives the whole, but for one thing: the template keeps thinking only after the last query of the
/// user, so a later query takes it out of the earlier part. A message's part ends with the "\n" behind its
/// <|im_end|>: whoever fed a reply up to <|im_end|> feeds that line end too.
PromptText render_chat(const nlohmann::ordered_json& messages, const nlohmann::ordered_json& tools,
                       const TemplateOptions& options, std::size_t first_message = 0);

/// A rendered chat and where its messages lie in it.
struct ChatText {
  PromptText text;
  /// First byte of each message's part, and behind them where the generation prompt begins (or the text ends). The
  /// system message and the tools stand before messages[0] or in its place: its part begins at their end.
  std::vector<std::size_t> message_begin;
};

/// render_chat() of the whole list, with the places.
ChatText render_chat_parts(const nlohmann::ordered_json& messages, const nlohmann::ordered_json& tools,
                           const TemplateOptions& options);

/// The JSON form of public messages, for render_chat.
nlohmann::ordered_json to_json(std::span<const Message> messages);

}  // namespace qwen35
