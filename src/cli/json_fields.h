#pragma once

#include <qwen35/error.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace qwen35::cli {

/// Throws invalid_argument: `what` (the file or line), then the problem.
[[noreturn]] inline void refuse(std::string_view what, const std::string& problem) {
  throw Error(ErrorCode::invalid_argument, std::string(what) + ": " + problem);
}

/// refuse()s a field of the wrong type.
inline void expect(bool valid, std::string_view what, std::string_view field, const char* expected,
                   const nlohmann::ordered_json& found) {
  if (valid) return;
  refuse(what, std::string(field) + " is of type " + (found.is_number_integer() ? "integer" : found.type_name()) +
                   ", expected " + expected);
}

}  // namespace qwen35::cli
