#include "server/openai/text_request.h"

#include <array>
#include <limits>

#include "server/openai/control_text.h"
#include "server/openai/request_fields.h"

namespace qwen35::server {
namespace {

using json::Field;
using json::Json;
using json::refuse_field;

constexpr auto kFields = std::to_array<RequestField>({
    {"logprobs",
     [](auto& d, auto& f) {
       d.options.logprobs = true;
       d.options.top_logprobs = f.integer(0, 5);
     }},
    {"echo", [](auto& d, auto& f) { d.echo = f.boolean(); }},
    {"best_of", [](auto& d, auto& f) { d.best_of = f.integer(1, std::numeric_limits<int>::max()); }},
});

TextRequest::Prompt one_prompt(const Json& value, const std::string& path, const RequestLimits& limits) {
  if (!value.is_array()) {
    json::expect(value.is_string(), "", path, "a string or token ids", value);
    if (value.get_ref<const std::string&>().empty()) {
      refuse_field("", path, "is empty, expected some text for the model to continue");
    }
    refuse_control_tokens(value, path, limits);
    return value.get<std::string>();
  }
  if (value.empty()) refuse_field("", path, "is empty, expected some tokens for the model to continue");
  return token_ids(value, path);
}

std::vector<TextRequest::Prompt> read_prompts(const Json& request, const RequestLimits& limits) {
  const auto found = request.find("prompt");
  if (found == request.end() || found->is_null()) {
    throw bad_request("prompt", "missing_required_parameter",
                      "prompt is missing, expected a string, a list of strings, token ids or a list of those");
  }
  const Json& value = *found;
  const bool several = value.is_array() && !value.empty() && !value[0].is_number();
  if (!several) return {one_prompt(value, "prompt", limits)};
  if (value.size() > limits.prompts) {
    refuse_field(
        "", "prompt",
        "has " + std::to_string(value.size()) + " entries, expected at most " + std::to_string(limits.prompts));
  }
  std::vector<TextRequest::Prompt> prompts;
  for (std::size_t i = 0; i < value.size(); ++i) prompts.push_back(one_prompt(value[i], at("prompt", i), limits));
  return prompts;
}

}  // namespace

TextRequest parse_text_request(std::string_view body, const RequestLimits& limits, const GenerateOptions& defaults) {
  const Json request = request_object(body, limits);
  return reading([&] {
    RequestDraft draft(limits, defaults);
    read_fields(draft, request, kFields);
    if (draft.max_tokens) draft.options.max_tokens = *draft.max_tokens;
    if (draft.best_of && *draft.best_of != draft.n) {
      throw bad_request("best_of", "unsupported_parameter",
                        "best_of is not supported by this server; leave it out, or make it the same as n.");
    }
    if (draft.echo && draft.options.logprobs) {
      throw bad_request("echo", "unsupported_parameter",
                        "echo with logprobs is not supported by this server: it has no log-probabilities of prompts.");
    }
    TextRequest result;
    result.prompts = read_prompts(request, limits);
    result.model = std::move(draft.model);
    result.options = std::move(draft.options);
    result.n = draft.n;
    result.stream = draft.stream;
    result.include_usage = draft.include_usage;
    result.echo = draft.echo;
    result.timeout_seconds = draft.timeout_seconds;
    return result;
  });
}

}  // namespace qwen35::server
