#pragma once

#include <qwen35/message.h>

#include <vector>

#include "json/fields.h"

namespace qwen35::server {

/// Brings messages read from `list` (an array of as many objects) into the form that the model's template takes: system
/// messages at the beginning become one, with a blank line between; results of tools go into the order of their calls,
/// by tool_call_id. Throws FieldError: nothing to reply to, a system message further on, a result for no call.
void order_messages(std::vector<Message>& messages, const json::Json& list);

}  // namespace qwen35::server
