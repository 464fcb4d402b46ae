#include "text/unicode.h"

#include <qwen35/error.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <vector>

#include "text/utf8.h"

namespace qwen35 {
namespace {

struct CodeRange {
  char32_t first, last;
};

template <std::size_t N>
bool contains(const std::array<CodeRange, N>& ranges, char32_t c) {
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), c, [](char32_t v, auto& r) { return v < r.first; });
  return after != ranges.begin() && c <= std::prev(after)->last;
}

// The reference splits by Unicode 16 (Oniguruma 6.9.10), Debian's utf8proc 2.8 knows Unicode 15. These are the letters,
// marks and numbers that came between. A newer utf8proc is asked first and says the same.
constexpr std::array<CodeRange, 22> letters_of_unicode_16{{
    {0x1C89, 0x1C8A},   {0xA7CB, 0xA7CD},   {0xA7DA, 0xA7DC},   {0x105C0, 0x105F3}, {0x10D4A, 0x10D65},
    {0x10D6F, 0x10D85}, {0x10EC2, 0x10EC4}, {0x11380, 0x11389}, {0x1138B, 0x1138B}, {0x1138E, 0x1138E},
    {0x11390, 0x113B5}, {0x113B7, 0x113B7}, {0x113D1, 0x113D1}, {0x113D3, 0x113D3}, {0x11BC0, 0x11BE0},
    {0x13460, 0x143FA}, {0x16100, 0x1611D}, {0x16D40, 0x16D6C}, {0x18CFF, 0x18CFF}, {0x1E5D0, 0x1E5ED},
    {0x1E5F0, 0x1E5F0}, {0x2EBF0, 0x2EE5D},
}};
constexpr std::array<CodeRange, 13> marks_of_unicode_16{{
    {0x897, 0x897},
    {0x10D69, 0x10D6D},
    {0x10EFC, 0x10EFC},
    {0x113B8, 0x113C0},
    {0x113C2, 0x113C2},
    {0x113C5, 0x113C5},
    {0x113C7, 0x113CA},
    {0x113CC, 0x113D0},
    {0x113D2, 0x113D2},
    {0x113E1, 0x113E2},
    {0x11F5A, 0x11F5A},
    {0x1611E, 0x1612F},
    {0x1E5EE, 0x1E5EF},
}};
constexpr std::array<CodeRange, 7> numbers_of_unicode_16{{
    {0x10D40, 0x10D49},
    {0x116D0, 0x116E3},
    {0x11BF0, 0x11BF9},
    {0x16130, 0x16139},
    {0x16D70, 0x16D79},
    {0x1CCF0, 0x1CCF9},
    {0x1E5F1, 0x1E5FA},
}};

// The reference normalises by Unicode 9: to it these are unassigned, neither reordered nor composed. Characters with a
// combining class or a composition that came in Unicode 10 to 15; those of 16 are the tables above.
constexpr std::array<CodeRange, 37> normalized_since_unicode_10{{
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},     {0xC3C, 0xC3C},
    {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},   {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},
    {0xA82C, 0xA82C},   {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50},
    {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A},
    {0x11930, 0x11938}, {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0}, {0x11A34, 0x11A34},
    {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45}, {0x11D97, 0x11D97},
    {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE},
    {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF},
}};

bool is_white_space(char32_t c) {
  return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

CharClass class_from_table(char32_t c) {
  if (c == '\r' || c == '\n') return CharClass::newline;
  if (is_white_space(c)) return CharClass::space;
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) return CharClass::letter;
  if (category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME) return CharClass::mark;
  if (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO) return CharClass::number;
  if (category == UTF8PROC_CATEGORY_CN) {
    if (contains(letters_of_unicode_16, c)) return CharClass::letter;
    if (contains(marks_of_unicode_16, c)) return CharClass::mark;
    if (contains(numbers_of_unicode_16, c)) return CharClass::number;
  }
  return CharClass::other;
}

/// Splits are mostly of ASCII: these classes are read from a table made once.
const std::array<CharClass, 128>& ascii_classes() {
  static const auto table = [] {
    std::array<CharClass, 128> classes{};
    for (std::size_t c = 0; c < classes.size(); ++c) classes[c] = class_from_table(static_cast<char32_t>(c));
    return classes;
  }();
  return table;
}

int combining_class(utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; }

/// Whether `c` takes no part in the reference's normalisation, as a character unassigned in Unicode 9.
bool is_inert(char32_t c) {
  return c >= 0x7FD && (contains(normalized_since_unicode_10, c) || contains(letters_of_unicode_16, c) ||
                        contains(marks_of_unicode_16, c));
}

void append_decomposition(std::vector<utf8proc_int32_t>& points, char32_t c) {
  std::array<utf8proc_int32_t, 16> parts{};  // no canonical decomposition is longer than four
  int boundary = 0;
  const auto count =
      utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts.data(),
                              static_cast<utf8proc_ssize_t>(parts.size()), UTF8PROC_DECOMPOSE, &boundary);
  if (count < 0 || static_cast<std::size_t>(count) > parts.size()) {
    throw Error(ErrorCode::internal, std::string("utf8proc cannot decompose a character: ") + utf8proc_errmsg(count));
  }
  points.insert(points.end(), parts.begin(), parts.begin() + count);
}

/// Sorts each run of combining marks, composes, appends to `out` and empties `points`.
/// utf8proc's own ordering exchanges neighbours, quadratic in a run's length: only its composition is used.
void flush_composed(std::vector<utf8proc_int32_t>& points, std::string& out) {
  for (auto first = points.begin(); first != points.end();) {
    if (combining_class(*first) == 0) {
      ++first;
      continue;
    }
    const auto last = std::find_if(first, points.end(), [](auto c) { return combining_class(c) == 0; });
    std::stable_sort(first, last, [](auto a, auto b) { return combining_class(a) < combining_class(b); });
    first = last;
  }
  const auto count = utf8proc_normalize_utf32(points.data(), static_cast<utf8proc_ssize_t>(points.size()),
                                              static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  if (count < 0) throw Error(ErrorCode::internal, std::string("utf8proc cannot compose: ") + utf8proc_errmsg(count));
  points.resize(static_cast<std::size_t>(count));
  for (const auto c : points) append_utf8(out, static_cast<char32_t>(c));
  points.clear();
}

/// Below U+0300 everything is its own NFC and nothing composes with what stands before it.
bool is_surely_nfc(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0xCC; });
}

}  // namespace

CharClass char_class(char32_t code_point) {
  return code_point < 128 ? ascii_classes()[code_point] : class_from_table(code_point);
}

std::string to_nfc(std::string_view well_formed) {
  if (is_surely_nfc(well_formed)) return std::string(well_formed);
  std::vector<utf8proc_int32_t> points;
  points.reserve(well_formed.size() / 2 + 16);
  std::string out;
  out.reserve(well_formed.size());
  for (std::size_t pos = 0; pos < well_formed.size();) {
    const char32_t c = next_code_point(well_formed, pos);
    if (is_inert(c)) {
      flush_composed(points, out);
      append_utf8(out, c);
    } else {
      append_decomposition(points, c);
    }
  }
  flush_composed(points, out);
  return out;
}

bool is_python_space(char32_t c) { return is_white_space(c) || (c >= 0x1C && c <= 0x1F); }

std::string_view strip_left(std::string_view text) {
  std::size_t pos = 0;
  while (pos < text.size()) {
    std::size_t next = pos;
    if (!is_python_space(next_code_point(text, next))) break;
    pos = next;
  }
  return text.substr(pos);
}

std::string_view strip_right(std::string_view text) {
  while (!text.empty()) {
    std::size_t start = text.size() - 1;
    while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0U) == 0x80) --start;
    std::size_t pos = start;
    if (!is_python_space(next_code_point(text, pos))) break;
    text = text.substr(0, start);
  }
  return text;
}

std::string_view strip(std::string_view text) { return strip_left(strip_right(text)); }

}  // namespace qwen35
