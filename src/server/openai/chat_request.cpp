#include "server/openai/chat_request.h"

#include <algorithm>
#include <array>

#include "json/messages.h"
#include "server/openai/control_text.h"
#include "server/openai/conversation_order.h"
#include "server/openai/request_fields.h"
#include "server/openai/tool_fields.h"
#include "text/python_json.h"

namespace qwen35::server {
namespace {

using json::Field;
using json::Json;
using json::refuse_field;

/// Tokens of thinking that an effort stands for.
struct Effort {
  std::string_view name;
  int budget;  ///< 0: no thinking
};
constexpr auto kEfforts =
    std::to_array<Effort>({{"none", 0}, {"minimal", 32}, {"low", 64}, {"medium", 128}, {"high", 512}, {"xhigh", 2048}});

void read_response_format(RequestDraft& draft, const Field& field) {
  json::expect(field.value.is_object(), field.what, field.key, "an object or null", field.value);
  const auto type = field.value.find("type");
  if (type == field.value.end()) {
    refuse_field(field.what, field.key + ".type", "is missing, expected text, json_object or json_schema");
  }
  if (*type == "text") {
    draft.options.json_schema.clear();
    draft.options.json_object = false;
  } else if (*type == "json_object") {
    state_form(draft, field.key);
    draft.options.json_object = true;
  } else if (*type == "json_schema") {
    state_form(draft, field.key);
    const std::string path = field.key + ".json_schema";
    const auto wrapped = field.value.find("json_schema");
    if (wrapped == field.value.end()) refuse_field(field.what, path, "is missing, expected {\"name\", \"schema\"}");
    json::expect(wrapped->is_object(), field.what, path, "an object", *wrapped);
    const auto schema = wrapped->find("schema");
    if (schema == wrapped->end()) refuse_field(field.what, path + ".schema", "is missing, expected a JSON Schema");
    json::expect(schema->is_object(), field.what, path + ".schema", "an object", *schema);
    draft.options.json_schema = python_json(*schema);
    if (draft.options.json_schema.size() > draft.limits.schema_bytes) {
      refuse_field(field.what, path + ".schema",
                   "has " + std::to_string(draft.options.json_schema.size()) + " bytes, expected at most " +
                       std::to_string(draft.limits.schema_bytes));
    }
  } else {
    refuse_field(field.what, field.key + ".type",
                 "is " + json::quoted(*type) + ", expected text, json_object or json_schema");
  }
}

void read_effort(RequestDraft& draft, const Field& field) {
  const std::string word = field.text();
  const auto known = [&](const Effort& effort) { return effort.name == word; };
  if (std::none_of(kEfforts.begin(), kEfforts.end(), known)) {
    refuse_field(field.what, field.key,
                 "is " + json::quoted(field.value) + ", expected none, minimal, low, medium, high or xhigh");
  }
  draft.reasoning_effort = word;
}

void read_modalities(RequestDraft&, const Field& field) {
  for (const std::string& word : field.texts()) {
    if (word != "text") {
      throw bad_request(field.key, "unsupported_parameter",
                        field.key + " asks for " + json::quoted(Json(word)) + "; this model writes text only.");
    }
  }
}

void read_template_arguments(RequestDraft& draft, const Field& field) {
  json::expect(field.value.is_object(), field.what, field.key, "an object or null", field.value);
  const auto thinking = field.value.find("enable_thinking");
  if (thinking == field.value.end() || thinking->is_null()) return;
  draft.enable_thinking = Field{*thinking, field.what, field.key + ".enable_thinking"}.boolean();
}

constexpr auto kFields = std::to_array<RequestField>({
    {"max_completion_tokens", [](auto& d, auto& f) { d.max_completion_tokens = f.integer(1, d.limits.max_tokens); }},
    {"logprobs", [](auto& d, auto& f) { d.options.logprobs = f.boolean(); }},
    {"top_logprobs", [](auto& d, auto& f) { d.top_logprobs = f.integer(0, 20); }},
    {"response_format", read_response_format},
    {"tools", read_tools},
    {"tool_choice", read_tool_choice},
    {"parallel_tool_calls", [](auto& d, auto& f) { d.parallel_tool_calls = f.boolean(); }},
    {"reasoning_effort", read_effort},
    {"enable_thinking", [](auto& d, auto& f) { d.enable_thinking = f.boolean(); }},
    {"chat_template_kwargs", read_template_arguments},
    {"thinking_budget", [](auto& d, auto& f) { d.thinking_budget = f.integer(0, d.limits.max_tokens); }},
    {"max_thinking_tokens", [](auto& d, auto& f) { d.thinking_budget = f.integer(0, d.limits.max_tokens); }},
    {"modalities", read_modalities},
});

/// What the effort, the budget and the switch say together; the most exact one counts.
void settle_thinking(RequestDraft& draft) {
  GenerateOptions& options = draft.options;
  if (draft.reasoning_effort) {
    const auto* const effort = std::find_if(kEfforts.begin(), kEfforts.end(),
                                            [&](const Effort& each) { return each.name == *draft.reasoning_effort; });
    options.enable_thinking = effort->budget > 0;
    if (effort->budget > 0) options.max_thinking_tokens = effort->budget;
  }
  if (draft.thinking_budget) {
    options.enable_thinking = *draft.thinking_budget > 0 && draft.reasoning_effort != "none";
    options.max_thinking_tokens = *draft.thinking_budget;
  }
  if (draft.enable_thinking) options.enable_thinking = *draft.enable_thinking;
}

/// max_tokens is of the answer alone. max_completion_tokens is of everything generated: thinking gets its budget but at
/// most half, the answer the rest.
void settle_lengths(RequestDraft& draft) {
  GenerateOptions& options = draft.options;
  if (draft.max_tokens) options.max_tokens = *draft.max_tokens;
  if (!draft.max_completion_tokens) return;
  constexpr int kClosing = 4;    // what closing the thinking may take beyond its budget
  constexpr int kShortest = 16;  // with less there is no room to think
  int answer = *draft.max_completion_tokens;
  if (answer < kShortest) options.enable_thinking = false;
  if (options.enable_thinking) {
    options.max_thinking_tokens = std::min(options.max_thinking_tokens, (answer - kClosing) / 2);
    answer -= options.max_thinking_tokens + kClosing;
  }
  options.max_tokens = draft.max_tokens ? std::min(*draft.max_tokens, answer) : answer;
}

void settle_logprobs(RequestDraft& draft) {
  if (!draft.top_logprobs) return;
  if (!draft.options.logprobs && *draft.top_logprobs > 0) {
    refuse_field("", "top_logprobs", "is given without logprobs; set logprobs to true");
  }
  draft.options.top_logprobs = *draft.top_logprobs;
}

/// Only what an assistant wrote may spell control tokens: a reply of ours may hold them as plain text.
void check_control_tokens(const Json& list, const std::vector<Message>& messages, const RequestLimits& limits) {
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].role != "assistant") refuse_control_tokens(list[i], at("messages", i), limits);
  }
}

std::vector<Message> read_messages(const Json& request, const RequestLimits& limits) {
  const auto list = request.find("messages");
  if (list == request.end()) {
    throw bad_request("messages", "missing_required_parameter", "messages is missing, expected an array of messages");
  }
  json::expect(list->is_array(), "", "messages", "an array", *list);
  if (list->size() > limits.messages) {
    refuse_field(
        "", "messages",
        "has " + std::to_string(list->size()) + " entries, expected at most " + std::to_string(limits.messages));
  }
  std::vector<Message> messages = json::messages_from_json(*list, "");
  check_control_tokens(*list, messages, limits);
  order_messages(messages, *list);
  return messages;
}

}  // namespace

ChatRequest parse_chat_request(std::string_view body, const RequestLimits& limits, const GenerateOptions& defaults) {
  const Json request = request_object(body, limits);
  return reading([&] {
    RequestDraft draft(limits, defaults);
    read_fields(draft, request, kFields);
    settle_thinking(draft);
    settle_lengths(draft);
    settle_logprobs(draft);
    settle_tools(draft, request);
    ChatRequest result;
    result.messages = read_messages(request, limits);
    // The system prompt of the server stands in for one that the client leaves out.
    if (result.messages.front().role == "system") draft.options.system_prompt.reset();
    result.model = std::move(draft.model);
    result.options = std::move(draft.options);
    result.n = draft.n;
    result.stream = draft.stream;
    result.include_usage = draft.include_usage;
    result.timeout_seconds = draft.timeout_seconds;
    return result;
  });
}

GenerateOptions options_of_choice(const GenerateOptions& options, int index) {
  GenerateOptions result = options;
  if (result.seed) *result.seed += static_cast<std::uint64_t>(index);
  return result;
}

}  // namespace qwen35::server
