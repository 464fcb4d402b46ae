#include "constraint/code_points.h"

#include <algorithm>
#include <string>

#include "text/utf8.h"

namespace qwen35::constraint {
namespace {

constexpr char32_t last_code_point = 0x10FFFF;
constexpr char32_t first_surrogate = 0xD800;
constexpr char32_t last_surrogate = 0xDFFF;

/// Cuts [first, last], all of one encoded length, where the leading bytes would not be free of the trailing ones.
void split_utf8(char32_t first, char32_t last, std::vector<ByteRanges>& out) {
  for (unsigned bits = 6; bits <= 18; bits += 6) {
    const char32_t low = (char32_t{1} << bits) - 1;
    if ((first & ~low) == (last & ~low)) continue;
    if ((first & low) != 0) {
      split_utf8(first, first | low, out);
      split_utf8((first | low) + 1, last, out);
      return;
    }
    if ((last & low) != low) {
      split_utf8(first, (last & ~low) - 1, out);
      split_utf8(last & ~low, last, out);
      return;
    }
  }
  std::string a;
  std::string b;
  append_utf8(a, first);
  append_utf8(b, last);
  ByteRanges ranges(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    ranges[i] = {static_cast<std::uint8_t>(a[i]), static_cast<std::uint8_t>(b[i])};
  }
  out.push_back(std::move(ranges));
}

}  // namespace

CodePoints::CodePoints(std::vector<CodePointRange> ranges) {
  std::vector<CodePointRange> scalar;
  for (const CodePointRange& range : ranges) {
    const char32_t last = std::min(range.last, last_code_point);
    if (range.first > last) continue;
    if (range.first < first_surrogate) scalar.push_back({range.first, std::min<char32_t>(last, first_surrogate - 1)});
    if (last > last_surrogate) scalar.push_back({std::max<char32_t>(range.first, last_surrogate + 1), last});
  }
  std::sort(scalar.begin(), scalar.end(), [](auto& a, auto& b) { return a.first < b.first; });
  for (const CodePointRange& range : scalar) {
    if (!ranges_.empty() && range.first <= ranges_.back().last + 1) {
      ranges_.back().last = std::max(ranges_.back().last, range.last);
    } else {
      ranges_.push_back(range);
    }
  }
}

CodePoints CodePoints::all() { return CodePoints({{0, last_code_point}}); }

CodePoints CodePoints::complement() const {
  std::vector<CodePointRange> gaps;
  char32_t next = 0;
  for (const CodePointRange& range : ranges_) {
    if (range.first > next) gaps.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= last_code_point) gaps.push_back({next, last_code_point});
  return CodePoints(std::move(gaps));
}

CodePoints CodePoints::with(const CodePoints& other) const {
  std::vector<CodePointRange> both = ranges_;
  both.insert(both.end(), other.ranges_.begin(), other.ranges_.end());
  return CodePoints(std::move(both));
}

CodePoints CodePoints::minus(const CodePoints& other) const { return complement().with(other).complement(); }

bool CodePoints::contains(char32_t c) const {
  return std::any_of(ranges_.begin(), ranges_.end(), [c](auto& r) { return r.first <= c && c <= r.last; });
}

std::vector<ByteRanges> utf8_ranges(const CodePoints& set) {
  constexpr char32_t last_of_length[] = {0x7F, 0x7FF, 0xFFFF, last_code_point};
  std::vector<ByteRanges> out;
  for (const CodePointRange& range : set.ranges()) {
    char32_t first = range.first;
    for (const char32_t end : last_of_length) {
      if (first > range.last) break;
      if (first > end) continue;
      split_utf8(first, std::min(range.last, end), out);
      first = end + 1;
    }
  }
  return out;
}

}  // namespace qwen35::constraint
