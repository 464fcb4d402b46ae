#include "json/fields.h"

#include <limits>

#include "text/utf8.h"

namespace qwen35::json {
namespace {

std::string behind(std::string_view what, const std::string& problem) {
  return what.empty() ? problem : std::string(what) + ": " + problem;
}

/// parse_json() keeps an integer beyond 64 bits as its digits.
const char* type_name(const Json& value) {
  if (value.is_binary()) return "integer beyond 64 bits";
  return value.is_number_integer() ? "integer" : value.type_name();
}

std::string to_text(double value) { return Json(value).dump(); }

}  // namespace

FieldError::FieldError(std::string_view what, std::string field, const std::string& problem)
    : Error(ErrorCode::invalid_argument, behind(what, field + " " + problem)),
      field_(std::move(field)),
      problem_(field_ + " " + problem) {}

void refuse(std::string_view what, const std::string& problem) {
  throw Error(ErrorCode::invalid_argument, behind(what, problem));
}

void refuse_field(std::string_view what, std::string_view field, const std::string& problem) {
  throw FieldError(what, std::string(field), problem);
}

void expect(bool valid, std::string_view what, std::string_view field, const char* expected, const Json& found) {
  if (valid) return;
  refuse_field(what, field, std::string("is of type ") + type_name(found) + ", expected " + expected);
}

std::string quoted(const Json& value) {
  if (value.is_binary()) return type_name(value);
  if (value.is_structured()) return std::string("an ") + value.type_name();
  constexpr std::size_t longest = 64;
  std::string line = to_line(value);
  if (line.size() > longest) {
    line.resize(longest);
    while (!line.empty() && !is_valid_utf8(line)) line.pop_back();
    line += "...";
  }
  return line;
}

std::string to_line(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

int Field::integer(int least, int most) const {
  expect(value.is_number_integer() || value.is_binary(), what, key, "an integer", value);
  const bool fits =
      !value.is_binary() &&
      (value.is_number_unsigned() ? value.get<std::uint64_t>() <= std::uint64_t{0x7FFFFFFFFFFFFFFF} : true) &&
      value.get<std::int64_t>() >= least && value.get<std::int64_t>() <= most;
  if (!fits) {
    refuse_field(
        what, key,
        "is " + quoted(value) + ", expected a number from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return value.get<int>();
}

int Field::count() const { return integer(0, std::numeric_limits<int>::max()); }

float Field::real(double least, double most) const {
  expect(value.is_number(), what, key, "a number", value);
  const auto number = value.get<double>();
  if (!(number >= least && number <= most)) {
    refuse_field(what, key,
                 "is " + quoted(value) + ", expected a number from " + to_text(least) + " to " + to_text(most));
  }
  return static_cast<float>(number);
}

float Field::real() const {
  constexpr auto most = static_cast<double>(std::numeric_limits<float>::max());
  return real(-most, most);
}

bool Field::boolean() const {
  expect(value.is_boolean(), what, key, "true or false", value);
  return value.get<bool>();
}

std::string Field::text() const {
  expect(value.is_string() || value.is_null(), what, key, "a string or null", value);
  return value.is_null() ? std::string() : value.get<std::string>();
}

std::vector<std::string> Field::texts() const {
  if (value.is_null()) return {};
  if (value.is_string()) return {value.get<std::string>()};
  expect(value.is_array(), what, key, "a string, an array of strings or null", value);
  std::vector<std::string> list;
  for (const Json& entry : value) {
    expect(entry.is_string(), what, key + "[" + std::to_string(list.size()) + "]", "a string", entry);
    list.push_back(entry.get<std::string>());
  }
  return list;
}

bool Field::second_of(const char* first, const char* second) const {
  const std::string word = text();
  if (word != first && word != second) {
    refuse_field(what, key, "is " + quoted(value) + ", expected \"" + first + "\" or \"" + second + "\"");
  }
  return word == second;
}

}  // namespace qwen35::json
