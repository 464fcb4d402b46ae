#pragma once

#include <string>
#include <string_view>

#include "json/fields.h"
#include "server/openai/request_limits.h"

namespace qwen35::server {

/// Throws ApiError (code "control_token") when a string or key anywhere in `value` spells a control token; nothing when
/// the limits let them pass. `path`: of the value, for the error's param.
void refuse_control_tokens(const json::Json& value, const std::string& path, const RequestLimits& limits);

}  // namespace qwen35::server
