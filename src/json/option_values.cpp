#include "json/option_values.h"

#include <charconv>
#include <system_error>

#include "text/python_json.h"

namespace qwen35::json {

std::vector<LogitBias> logit_biases(const Field& field) {
  if (field.value.is_null()) return {};
  expect(field.value.is_object(), field.what, field.key, "an object of token ids and numbers, or null", field.value);
  std::vector<LogitBias> list;
  for (const auto& [name, value] : field.value.items()) {
    LogitBias bias;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), bias.token);
    if (error != std::errc() || end != name.data() + name.size() || bias.token < 0) {
      refuse_field(field.what, field.key, "names the token " + quoted(Json(name)) + ", expected a token's id");
    }
    bias.bias = Field{value, field.what, field.key + "." + name}.real(-100, 100);
    list.push_back(bias);
  }
  return list;
}

std::string json_text(const Field& field, bool right_type, const char* expected) {
  expect(right_type || field.value.is_null(), field.what, field.key, expected, field.value);
  return field.value.is_null() || field.value.empty() ? std::string() : python_json(field.value);
}

}  // namespace qwen35::json
