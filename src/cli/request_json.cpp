#include "cli/request_json.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "cli/chat_options.h"
#include "json/fields.h"
#include "json/messages.h"
#include "json/option_values.h"
#include "text/parse_json.h"

namespace qwen35::cli {
namespace {

using json::expect;
using json::Field;
using json::Json;
using json::json_text;
using json::logit_biases;
using json::refuse;
using json::refuse_field;

/// "auto", "none", "required", or {"type": "function", "function": {"name": ...}}, as the OpenAI API has it.
ToolChoice tool_choice(const Field& field) {
  if (field.value.is_null()) return {};
  if (field.value.is_string()) {
    const auto& word = field.value.get_ref<const std::string&>();
    if (word == "auto" || word == "none" || word == "required") return tool_choice_of(word);
    refuse(field.what, "tool_choice is \"" + word +
                           "\", expected \"auto\", \"none\", \"required\" or {\"type\": \"function\", \"function\": "
                           "{\"name\": ...}}");
  }
  expect(field.value.is_object(), field.what, field.key, "a string, an object or null", field.value);
  const Json function = field.value.value("function", Json());
  const Json name = function.is_object() ? function.value("name", Json()) : Json();
  expect(name.is_string(), field.what, "tool_choice.function.name", "a string", name);
  return ToolChoice::function(name.get<std::string>());
}

struct OptionField {
  std::string_view name;
  void (*set)(GenerateOptions& options, const Field& field);
};

constexpr auto kOptions = std::to_array<OptionField>({
    {"tools", [](auto& o, auto& f) { o.tools = json_text(f, f.value.is_array(), "an array or null"); }},
    {"tool_choice", [](auto& o, auto& f) { o.tool_choice = tool_choice(f); }},
    {"max_tool_calls", [](auto& o, auto& f) { o.max_tool_calls = f.count(); }},
    {"enable_thinking", [](auto& o, auto& f) { o.enable_thinking = f.boolean(); }},
    {"max_thinking_tokens", [](auto& o, auto& f) { o.max_thinking_tokens = f.count(); }},
    {"max_tokens", [](auto& o, auto& f) { o.max_tokens = f.count(); }},
    {"temperature", [](auto& o, auto& f) { o.temperature = f.real(); }},
    {"top_k", [](auto& o, auto& f) { o.top_k = f.count(); }},
    {"top_p", [](auto& o, auto& f) { o.top_p = f.real(); }},
    {"min_p", [](auto& o, auto& f) { o.min_p = f.real(); }},
    {"repetition_penalty", [](auto& o, auto& f) { o.repetition_penalty = f.real(); }},
    {"repetition_window", [](auto& o, auto& f) { o.repetition_window = f.count(); }},
    {"presence_penalty", [](auto& o, auto& f) { o.presence_penalty = f.real(); }},
    {"frequency_penalty", [](auto& o, auto& f) { o.frequency_penalty = f.real(); }},
    {"logit_bias", [](auto& o, auto& f) { o.logit_bias = logit_biases(f); }},
    {"no_repeat_ngram", [](auto& o, auto& f) { o.no_repeat_ngram = f.count(); }},
    {"loop_guard", [](auto& o, auto& f) { o.loop_guard = f.boolean(); }},
    {"allow_empty", [](auto& o, auto& f) { o.allow_empty = f.boolean(); }},
    {"stop", [](auto& o, auto& f) { o.stop = f.texts(); }},
    {"logprobs", [](auto& o, auto& f) { o.logprobs = f.boolean(); }},
    {"top_logprobs", [](auto& o, auto& f) { o.top_logprobs = f.count(); }},
    {"json_schema", [](auto& o, auto& f) { o.json_schema = json_text(f, f.value.is_object(), "an object or null"); }},
    {"json_object", [](auto& o, auto& f) { o.json_object = f.boolean(); }},
    {"grammar", [](auto& o, auto& f) { o.grammar = f.text(); }},
    {"lookup", [](auto& o, auto& f) { o.lookup = f.boolean(); }},
    {"context_policy",
     [](auto& o, auto& f) {
       o.context_policy = f.second_of("error", "drop") ? ContextPolicy::drop_oldest : ContextPolicy::error;
     }},
    {"history",
     [](auto& o, auto& f) {
       o.history = f.second_of("sampled", "rendered") ? HistoryForm::rendered : HistoryForm::sampled;
     }},
    {"seed",
     [](auto& o, auto& f) {
       if (!f.value.is_number_unsigned())
         refuse_field(f.what, f.key, "is " + json::quoted(f.value) + ", expected an integer from 0 to 2^64-1");
       o.seed = f.value.template get<std::uint64_t>();
     }},
});

/// A form that the request states replaces that of the defaults; two of them are refused.
void settle_form(GenerateOptions& options, const Json& request, std::string_view what) {
  const char* stated = nullptr;
  for (const char* key : {"json_schema", "json_object", "grammar"}) {
    const auto found = request.find(key);
    if (found == request.end() || found->is_null() || *found == false) continue;
    if (stated != nullptr) refuse(what, std::string(stated) + " and " + key + " exclude each other; state one of them");
    stated = key;
  }
  if (stated == nullptr) return;
  options.json_schema.clear();
  options.json_object = false;
  options.grammar.clear();
}

}  // namespace

Request parse_request(std::string_view text, std::string_view what, const GenerateOptions& defaults) {
  const Json object = parse_json(text, what);
  expect(object.is_object(), what, "the request", "an object", object);
  Request request;
  request.options = defaults;
  if (!object.contains("messages")) refuse(what, "there is no \"messages\"");
  settle_form(request.options, object, what);
  for (const auto& [key, value] : object.items()) {
    if (key == "messages") {
      request.messages = json::messages_from_json(value, what);
    } else if (key == "id") {
      request.id = value;
    } else {
      const auto* const option = std::find_if(kOptions.begin(), kOptions.end(),
                                              [&name = key](const OptionField& known) { return known.name == name; });
      if (option == kOptions.end()) {
        refuse(what, "unknown field \"" + key + "\"; known are id, messages, " + request_options());
      }
      option->set(request.options, Field{value, what, key});
    }
  }
  return request;
}

std::string request_options() {
  std::string list;
  for (const OptionField& option : kOptions) {
    if (!list.empty()) list += ", ";
    list += option.name;
  }
  return list;
}

}  // namespace qwen35::cli
