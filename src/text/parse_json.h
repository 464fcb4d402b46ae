#pragma once

#include <qwen35/error.h>

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "text/python_json.h"

namespace qwen35 {

/// What parse_json() lets pass.
struct JsonRules {
  std::size_t depth = json_depth_limit;  ///< levels of arrays and objects
  bool repeated_keys = true;             ///< the last value stands
  bool nul = true;                       ///< "\u0000" in strings and keys
};

/// JSON text that cannot be read.
class JsonError : public Error {
 public:
  JsonError(const std::string& message, std::string path)
      : Error(ErrorCode::invalid_argument, message), path_(std::move(path)) {}
  /// Of the value that breaks a rule, e.g. "messages[0].content"; "": the text is not JSON.
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Parses JSON text for the template as Python would: key order kept, a repeated key has its last value, integers
/// beyond 64 bits keep their digits (see text/python_json.h). Throws JsonError naming `what`.
nlohmann::ordered_json parse_json(std::string_view text, std::string_view what, const JsonRules& rules = {});

}  // namespace qwen35
