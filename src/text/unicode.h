#pragma once

#include <string>
#include <string_view>

namespace qwen35 {

/// Character classes of the split regex, as the reference's regex engine (Oniguruma) has them.
enum class CharClass : unsigned char {
  other,    ///< none of the below: punctuation, symbols, controls, unassigned
  letter,   ///< \p{L}
  mark,     ///< \p{M}
  number,   ///< \p{N}
  space,    ///< \s other than line ends: the White_Space property (U+180E and U+001C..1F are not in it)
  newline,  ///< \r or \n
};
CharClass char_class(char32_t code_point);

/// Normalization form C of well-formed UTF-8, in time linear but for sorting each run of combining marks.
std::string to_nfc(std::string_view well_formed);

/// Python's str.isspace(), which its strip() goes by: unlike White_Space it holds U+001C..1F.
bool is_python_space(char32_t code_point);

/// Python's str.strip() and its one-sided forms, on well-formed UTF-8.
std::string_view strip(std::string_view text);
std::string_view strip_left(std::string_view text);
std::string_view strip_right(std::string_view text);

}  // namespace qwen35
