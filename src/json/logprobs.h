#pragma once

#include <qwen35/chat.h>

#include <span>

#include "json/fields.h"

namespace qwen35::json {

/// A log-probability as JSON can hold it: six digits, and -9999, the OpenAI API's word for it, where it is infinite.
double written_logprob(float logprob);

/// {"content": [{"token", "logprob", "bytes", "top_logprobs"}]}, as the OpenAI API has it.
Json logprobs_to_json(std::span<const TokenLogprob> logprobs);

}  // namespace qwen35::json
