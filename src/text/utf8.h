#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace qwen35 {

/// What stands at the front of some bytes.
struct Utf8Step {
  char32_t code_point = 0;  ///< U+FFFD when ill-formed
  std::size_t length = 0;   ///< bytes to move on by: at least 1
  enum class Kind {
    valid,
    invalid,  ///< a maximal subpart of an ill-formed sequence (Unicode 15, section 3.9, table 3-8)
    cut,      ///< the bytes end inside a sequence that is well-formed so far
  } kind = Kind::valid;
};

/// Decodes the first character of `bytes`, which must not be empty.
Utf8Step decode_utf8(std::string_view bytes);

/// Decodes the character at `pos` of text known to be well-formed and moves `pos` behind it.
char32_t next_code_point(std::string_view well_formed, std::size_t& pos);

/// Appends `code_point`, a Unicode scalar value.
void append_utf8(std::string& out, char32_t code_point);

bool is_valid_utf8(std::string_view bytes);

/// `bytes` with each maximal ill-formed subpart replaced by U+FFFD.
std::string to_valid_utf8(std::string_view bytes);

inline constexpr std::string_view replacement_character = "\xEF\xBF\xBD";

}  // namespace qwen35
