#include "server/openai/request_fields.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>

#include "json/option_values.h"
#include "text/parse_json.h"

namespace qwen35::server {
namespace {

using json::Field;
using json::Json;
using json::refuse_field;

std::uint64_t seed_of(const Field& field) {
  json::expect(field.value.is_number_integer(), field.what, field.key, "an integer of at most 64 bits", field.value);
  // A negative seed is a seed like any other.
  return field.value.is_number_unsigned() ? field.value.get<std::uint64_t>()
                                          : static_cast<std::uint64_t>(field.value.get<std::int64_t>());
}

std::vector<std::string> stop_of(const Field& field, const RequestLimits& limits) {
  if (field.value.is_array() && field.value.size() > limits.stop) {
    refuse_field(
        field.what, field.key,
        "has " + std::to_string(field.value.size()) + " strings, expected at most " + std::to_string(limits.stop));
  }
  std::vector<std::string> list = field.texts();
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string name = field.value.is_array() ? at(field.key, i) : field.key;
    if (list[i].empty()) refuse_field(field.what, name, "is empty, expected some text to stop at");
    if (list[i].size() > limits.stop_bytes) {
      refuse_field(
          field.what, name,
          "has " + std::to_string(list[i].size()) + " bytes, expected at most " + std::to_string(limits.stop_bytes));
    }
  }
  return list;
}

double timeout_of(const Field& field, const RequestLimits& limits) {
  const auto seconds = static_cast<double>(field.real(0, limits.timeout_seconds));
  if (seconds <= 0) refuse_field(field.what, field.key, "is 0, expected a number of seconds greater than 0");
  return seconds;
}

std::string grammar_of(const Field& field, const RequestLimits& limits) {
  std::string text = field.text();
  if (text.size() > limits.schema_bytes) {
    refuse_field(
        field.what, field.key,
        "has " + std::to_string(text.size()) + " bytes, expected at most " + std::to_string(limits.schema_bytes));
  }
  return text;
}

constexpr int kMostWindow = 1048576;
constexpr float kMostPenalty = 100;

constexpr auto kCommon = std::to_array<RequestField>({
    {"model", [](auto& d, auto& f) { d.model = f.text(); }},
    {"temperature", [](auto& d, auto& f) { d.options.temperature = f.real(0, 100); }},
    {"top_p", [](auto& d, auto& f) { d.options.top_p = f.real(0, 1); }},
    {"top_k", [](auto& d, auto& f) { d.options.top_k = std::max(f.integer(-1, kMostWindow), 0); }},
    {"min_p",
     [](auto& d, auto& f) {
       d.options.min_p = f.real(0, 1);
       if (d.options.min_p >= 1) refuse_field(f.what, f.key, "is 1, expected a number less than 1");
     }},
    {"presence_penalty", [](auto& d, auto& f) { d.options.presence_penalty = f.real(-2, 2); }},
    {"frequency_penalty", [](auto& d, auto& f) { d.options.frequency_penalty = f.real(-2, 2); }},
    {"repetition_penalty",
     [](auto& d, auto& f) {
       d.options.repetition_penalty = f.real(0, kMostPenalty);
       if (d.options.repetition_penalty <= 0) refuse_field(f.what, f.key, "is 0, expected a number greater than 0");
     }},
    {"repetition_window", [](auto& d, auto& f) { d.options.repetition_window = f.integer(0, kMostWindow); }},
    {"no_repeat_ngram",
     [](auto& d, auto& f) {
       d.options.no_repeat_ngram = f.integer(0, kMostWindow);
       if (d.options.no_repeat_ngram == 1) refuse_field(f.what, f.key, "is 1, expected 0 (off) or at least 2");
     }},
    {"loop_guard", [](auto& d, auto& f) { d.options.loop_guard = f.boolean(); }},
    {"allow_empty", [](auto& d, auto& f) { d.options.allow_empty = f.boolean(); }},
    {"lookup", [](auto& d, auto& f) { d.options.lookup = f.boolean(); }},
    {"logit_bias",
     [](auto& d, auto& f) {
       if (f.value.size() > d.limits.logit_bias) {
         refuse_field(f.what, f.key,
                      "has " + std::to_string(f.value.size()) + " entries, expected at most " +
                          std::to_string(d.limits.logit_bias));
       }
       d.options.logit_bias = json::logit_biases(f);
     }},
    {"seed", [](auto& d, auto& f) { d.options.seed = seed_of(f); }},
    {"stop", [](auto& d, auto& f) { d.options.stop = stop_of(f, d.limits); }},
    {"n", [](auto& d, auto& f) { d.n = f.integer(1, d.limits.n); }},
    {"max_tokens", [](auto& d, auto& f) { d.max_tokens = f.integer(1, d.limits.max_tokens); }},
    {"stream", [](auto& d, auto& f) { d.stream = f.boolean(); }},
    {"stream_options",
     [](auto& d, auto& f) {
       json::expect(f.value.is_object(), f.what, f.key, "an object or null", f.value);
       const auto usage = f.value.find("include_usage");
       if (usage != f.value.end() && !usage->is_null()) {
         d.include_usage = Field{*usage, f.what, f.key + ".include_usage"}.boolean();
       }
     }},
    {"timeout", [](auto& d, auto& f) { d.timeout_seconds = timeout_of(f, d.limits); }},
    {"grammar",
     [](auto& d, auto& f) {
       std::string text = grammar_of(f, d.limits);
       if (text.empty()) return;
       state_form(d, f.key);
       d.options.grammar = std::move(text);
     }},
});

/// Fields of OpenAI's API and of other servers that change the reply and that there are none of here, with what to do.
struct Missing {
  std::string_view name;
  std::string_view remedy;
};
constexpr auto kMissing = std::to_array<Missing>({
    {"functions", "use tools"},
    {"function_call", "use tool_choice"},
    {"audio", "this model writes text only"},
    {"web_search_options", "this server reaches no network"},
    {"guided_json", "use response_format"},
    {"guided_regex", "use response_format or grammar"},
    {"guided_choice", "use response_format or grammar"},
    {"guided_grammar", "use grammar"},
    {"structured_outputs", "use response_format or grammar"},
    {"continue_final_message", "use /v1/completions"},
    {"use_beam_search", "leave it out"},
    {"ignore_eos", "leave it out"},
    {"min_tokens", "leave it out"},
    {"suffix", "this model continues text only"},
});

bool means_nothing(const Json& value) {
  return value.is_null() || value == false || value == 0 ||
         ((value.is_string() || value.is_structured()) && value.empty());
}

}  // namespace

std::string at(std::string_view list, std::size_t index) {
  return std::string(list) + "[" + std::to_string(index) + "]";
}

std::vector<std::int32_t> token_ids(const Json& list, const std::string& path) {
  json::expect(list.is_array(), "", path, "an array of token ids", list);
  std::vector<std::int32_t> ids;
  ids.reserve(list.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    // The path is only written for a value that is wrong: a prompt may have many thousands.
    const Json& value = list[i];
    const bool fits = value.is_number_unsigned() &&
                      value.get<std::uint64_t>() <= std::uint64_t{std::numeric_limits<std::int32_t>::max()};
    ids.push_back(fits ? value.get<std::int32_t>()
                       : Field{value, "", at(path, i)}.integer(0, std::numeric_limits<std::int32_t>::max()));
  }
  return ids;
}

void state_form(RequestDraft& draft, const std::string& field) {
  if (!draft.form.empty()) {
    refuse_field("", field, "and " + draft.form + " exclude each other; state one of them");
  }
  draft.form = field;
  draft.options.json_schema.clear();
  draft.options.json_object = false;
  draft.options.grammar.clear();
}

Json request_object(std::string_view body, const RequestLimits& limits) {
  try {
    Json object = parse_json(body, "The body", {.depth = limits.depth, .repeated_keys = false, .nul = false});
    if (!object.is_object()) {
      throw bad_request("", "invalid_json",
                        std::string("The body is a JSON ") + object.type_name() + ", expected an object.");
    }
    return object;
  } catch (const JsonError& error) {
    throw bad_request(error.path(), "invalid_json", error.what());
  }
}

void read_fields(RequestDraft& draft, const Json& object, std::span<const RequestField> own) {
  for (const auto& [key, value] : object.items()) {
    if (value.is_null()) continue;
    const auto named = [&name = key](const auto& known) { return known.name == name; };
    const Field field{value, "", key};
    if (const auto mine = std::find_if(own.begin(), own.end(), named); mine != own.end()) {
      mine->read(draft, field);
    } else if (const auto* common = std::find_if(kCommon.begin(), kCommon.end(), named); common != kCommon.end()) {
      common->read(draft, field);
    } else if (const auto* missing = std::find_if(kMissing.begin(), kMissing.end(), named);
               missing != kMissing.end() && !means_nothing(value)) {
      throw bad_request(key, "unsupported_parameter",
                        key + " is not supported by this server; " + std::string(missing->remedy) + ".");
    }
  }
  // 0 is what some clients write for the likeliest token alone.
  if (draft.options.top_p == 0) {
    draft.options.top_k = 1;
    draft.options.top_p = 1;
  }
}

}  // namespace qwen35::server
