#pragma once

#include <qwen35/message.h>

#include <cstddef>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace qwen35 {

struct TemplateOptions {
  bool add_generation_prompt = false;
  bool enable_thinking = false;
  bool add_vision_id = false;
};

/// Qwen3.5's chat template, in code. `messages` is an array of objects {role, content, reasoning_content, tool_calls}
/// as the OpenAI API has them, `tools` an array or null. Only what the template itself writes is control text. Throws
/// invalid_argument with the template's own message ("No user query found in messages." and so on).
///
/// `first_message` > 0 renders only what messages from that index on contribute (the earlier ones decide how): the text
/// to feed after a history that has been fed already.
PromptText render_chat(const nlohmann::ordered_json& messages, const nlohmann::ordered_json& tools,
                       const TemplateOptions& options, std::size_t first_message = 0);

/// The JSON form of public messages, for render_chat.
nlohmann::ordered_json to_json(std::span<const Message> messages);

/// Parses JSON text for the template: key order kept, at most 200 levels deep, numbers kept as written where Python
/// would. Throws invalid_argument naming `what`.
nlohmann::ordered_json parse_json(std::string_view text, std::string_view what);

}  // namespace qwen35
