#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "constraint/expression.h"

namespace qwen35::constraint {

/// JSON texts as expressions. White space: at most one space behind ':' and ',', none elsewhere, so that a model cannot
/// go round in it.
///
/// Strings come in two forms. Free: every escape JSON knows may stand for every character. Plain: each character has
/// one form, itself where that is legal, otherwise the shortest escape; used where a string's content is constrained.
class JsonValues {
 public:
  explicit JsonValues(Expressions& out) : out_(out) {}

  ExprId any_value();
  ExprId any_object();
  ExprId any_array();
  ExprId any_string();
  /// One character in free form.
  ExprId free_character();
  /// One character of the set in plain form.
  ExprId plain_character(const CodePoints& set);
  /// The content of any string in plain form.
  ExprId plain_content();
  ExprId quoted(ExprId content);
  ExprId boolean();
  ExprId null();
  /// Exactly this value, strings in plain form.
  ExprId constant(const nlohmann::ordered_json& value);
  /// A string's content in plain form.
  static std::string plain(std::string_view text);
  /// `key` (with its quotes), a colon and the value.
  ExprId member(ExprId key, ExprId value);

  /// Integers and other numbers between bounds, see json_numbers.cpp.
  struct Bound {
    std::string integer = "0";  ///< digits of the absolute value, no leading zeros
    std::string fraction;       ///< digits, no trailing zeros
    bool negative = false;
    bool inclusive = true;
  };
  ExprId integer(const std::optional<Bound>& low, const std::optional<Bound>& high);
  ExprId number(const std::optional<Bound>& low, const std::optional<Bound>& high, std::size_t fraction_digits);
  ExprId any_integer();
  ExprId any_number();
  static constexpr std::size_t integer_digits = 18;
  static constexpr std::size_t number_digits = 15;  ///< before the point, and at most behind it

 private:
  ExprId digits(std::uint32_t min, std::uint32_t max);
  ExprId one_of(std::string_view bytes);
  Expressions& out_;
  std::optional<RuleId> any_;
};

}  // namespace qwen35::constraint
