#pragma once

#include <qwen35/error.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "text/parse_json.h"

namespace qwen35::json {

using Json = nlohmann::ordered_json;

/// A field that cannot be used. what(): the file or line, if there is one, then problem().
class FieldError : public Error {
 public:
  FieldError(std::string_view what, std::string field, const std::string& problem);
  [[nodiscard]] const std::string& field() const { return field_; }      ///< its path, e.g. "messages[0].content"
  [[nodiscard]] const std::string& problem() const { return problem_; }  ///< e.g. "messages[0].content is missing"

 private:
  std::string field_;
  std::string problem_;
};

/// Throws invalid_argument: `what` (the file or line; "": none), then the problem.
[[noreturn]] void refuse(std::string_view what, const std::string& problem);

/// Throws a FieldError; `problem` follows the field's name in the message.
[[noreturn]] void refuse_field(std::string_view what, std::string_view field, const std::string& problem);

/// refuse_field()s a field of the wrong type.
void expect(bool valid, std::string_view what, std::string_view field, const char* expected, const Json& found);

/// A value as it may stand in an error: one line, cut where it is long.
std::string quoted(const Json& value);

/// One line of JSON; ill-formed UTF-8 becomes U+FFFD.
std::string to_line(const Json& json);

/// A field of a request and how it is named in errors. Each of these throws a FieldError for anything else.
struct Field {
  const Json& value;
  std::string_view what;  ///< the file or line; "": none
  std::string key;

  /// An integer in [least, most].
  [[nodiscard]] int integer(int least, int most) const;
  /// An integer from 0 on.
  [[nodiscard]] int count() const;
  /// A number in [least, most].
  [[nodiscard]] float real(double least, double most) const;
  /// A number that a float can hold.
  [[nodiscard]] float real() const;
  [[nodiscard]] bool boolean() const;
  /// null: "".
  [[nodiscard]] std::string text() const;
  /// A string or a list of them; null: empty.
  [[nodiscard]] std::vector<std::string> texts() const;
  /// Which of two words it is.
  [[nodiscard]] bool second_of(const char* first, const char* second) const;
};

}  // namespace qwen35::json
