#pragma once

#include <cstdint>
#include <vector>

namespace qwen35::constraint {

struct CodePointRange {
  char32_t first = 0;
  char32_t last = 0;
};

/// A set of Unicode scalar values: sorted, disjoint, not adjacent ranges. Surrogates are never in it.
class CodePoints {
 public:
  CodePoints() = default;
  /// Any order, overlaps allowed.
  explicit CodePoints(std::vector<CodePointRange> ranges);
  static CodePoints all();

  [[nodiscard]] CodePoints complement() const;
  [[nodiscard]] CodePoints minus(const CodePoints& other) const;
  [[nodiscard]] CodePoints with(const CodePoints& other) const;
  [[nodiscard]] bool contains(char32_t c) const;
  [[nodiscard]] bool empty() const { return ranges_.empty(); }
  [[nodiscard]] const std::vector<CodePointRange>& ranges() const { return ranges_; }

 private:
  std::vector<CodePointRange> ranges_;
};

struct ByteRange {
  std::uint8_t lo = 0;
  std::uint8_t hi = 0;
  bool operator==(const ByteRange&) const = default;
};

/// One to four ranges of bytes, one behind the other: every choice of a byte from each is well-formed UTF-8.
using ByteRanges = std::vector<ByteRange>;

/// The UTF-8 of a set as byte ranges: exactly its members' encodings.
std::vector<ByteRanges> utf8_ranges(const CodePoints& set);

}  // namespace qwen35::constraint
