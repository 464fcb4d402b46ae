#pragma once

#include <string>
#include <string_view>

namespace qwen35 {

/// What searching a text for a "pattern" of JSON Schema gave.
enum class PatternResult {
  found,
  absent,
  bad_pattern,  ///< it does not compile, or has more than 4096 bytes
  gave_up,      ///< it takes more steps or memory than allowed: a hostile pattern or text
};

/// Searches `text` (well-formed UTF-8) for `pattern`, unanchored, by PCRE2 with small limits.
PatternResult search_pattern(const std::string& pattern, std::string_view text);

}  // namespace qwen35
