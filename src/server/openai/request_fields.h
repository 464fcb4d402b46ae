#pragma once

#include <qwen35/options.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "json/fields.h"
#include "server/openai/errors.h"
#include "server/openai/request_limits.h"

namespace qwen35::server {

/// What chat and text requests have in common, as it is read field by field. What fields decide together waits for
/// the end.
struct RequestDraft {
  RequestDraft(const RequestLimits& given_limits, GenerateOptions defaults)
      : limits(given_limits), options(std::move(defaults)) {}

  const RequestLimits& limits;
  GenerateOptions options;
  std::string model;
  int n = 1;
  bool stream = false;
  bool include_usage = false;
  std::optional<double> timeout_seconds;

  // Chat
  std::optional<int> max_tokens;             ///< of the answer
  std::optional<int> max_completion_tokens;  ///< of thinking and answer together
  std::optional<bool> enable_thinking;
  std::optional<int> thinking_budget;
  std::optional<std::string> reasoning_effort;
  std::optional<int> top_logprobs;
  bool parallel_tool_calls = true;
  std::string form;  ///< the field that states the answer's form; "": none

  // Text
  bool echo = false;
  std::optional<int> best_of;
};

/// A field of a request and what it does.
struct RequestField {
  std::string_view name;
  void (*read)(RequestDraft& draft, const json::Field& field);
};

/// States that the answer follows the form of `field`: replaces that of the defaults; a second one is refused.
void state_form(RequestDraft& draft, const std::string& field);

/// The body of a request as an object. Throws ApiError.
json::Json request_object(std::string_view body, const RequestLimits& limits);

/// Reads every field of `object` that one of the tables knows; null counts as left out, and unknown fields are passed
/// over. Fields that would change the reply and that this server does not have are refused.
void read_fields(RequestDraft& draft, const json::Json& object, std::span<const RequestField> own);

/// An array of token ids, each at least 0. Throws FieldError.
std::vector<std::int32_t> token_ids(const json::Json& list, const std::string& path);

/// Calls `read` and turns what it throws into ApiErrors.
template <typename Read>
auto reading(Read&& read) {
  try {
    return read();
  } catch (const Error& error) {
    throw from_error(error);
  }
}

/// "messages[3]".
std::string at(std::string_view list, std::size_t index);

}  // namespace qwen35::server
