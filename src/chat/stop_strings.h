#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace qwen35 {

/// Ends a text where one of some strings comes in it, wherever the pieces that it arrives in are cut. Linear in the
/// text, times the number of strings. A plain value.
class StopStrings {
 public:
  static constexpr std::size_t kMostStrings = 16;
  static constexpr std::size_t kMostBytes = 256;  ///< of one string

  /// None: everything passes. Throws invalid_argument for an empty or too long string, one that is not well-formed
  /// UTF-8, or too many.
  explicit StopStrings(std::vector<std::string> strings = {});

  /// Adds a piece and returns what is certain now; what may be the beginning of a stop string is held back. Whole
  /// characters in, whole characters out. The string that is complete first ends the text (of several that end at the
  /// same byte, the longest): what stands before it is returned, it and all that follows never.
  std::string push(std::string_view piece);
  /// Ends the text: returns what was held back. What is pushed after it is a new text, unless a string was found.
  std::string finish();

  /// Which string ended the text.
  [[nodiscard]] const std::optional<std::string>& found() const { return found_; }
  [[nodiscard]] bool empty() const { return matchers_.empty(); }

 private:
  /// One string and how much of it the end of the text is (Knuth, Morris, Pratt).
  struct Matcher {
    std::string text;
    std::vector<std::uint16_t> border;  ///< of the first i + 1 bytes: the longest proper prefix that also ends them
    std::size_t matched = 0;

    void advance(char byte);
  };

  std::vector<Matcher> matchers_;
  std::string held_;
  std::optional<std::string> found_;
};

}  // namespace qwen35
