#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace qwen35 {

// The template was written for Python; these are the Python forms of values it prints.
//
// An integer beyond 64 bits has no type in nlohmann::json: parse_json() (chat_template.h) keeps it as a binary value
// holding its decimal digits, and these print it back.

/// json.dumps(value, ensure_ascii=False): ", " and ": " between items, keys in their order. Throws invalid_argument for
/// a value nested more than `json_depth_limit` deep.
std::string python_json(const nlohmann::ordered_json& value);
/// str(value): text as it is, True, False, None, numbers as repr() gives them; arrays and objects as python_json.
std::string python_str(const nlohmann::ordered_json& value);
/// repr() of a float: the shortest digits that read back, exponent form outside 1e-4 <= |x| < 1e16.
std::string python_repr(double value);

inline constexpr std::size_t json_depth_limit = 200;

}  // namespace qwen35
