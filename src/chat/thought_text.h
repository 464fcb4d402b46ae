#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "text/utf8_stream.h"

namespace qwen35 {

/// The thinking as its tokens come: well-formed UTF-8, trimmed. Several thoughts of one reply stand on lines of their
/// own. What take() gave, put together, is text() after finish().
class ThoughtText {
 public:
  /// Adds the bytes of one token.
  void push(std::string_view bytes) { append(utf8_.push(bytes)); }
  /// A thought is over; another one may follow.
  void close();
  /// What is new and certain: an unfinished character and white space that may be the last are held back.
  std::string take();
  /// After close(): the whole of it.
  [[nodiscard]] std::string text() const { return text_.substr(0, solid_); }

 private:
  void append(std::string_view text);

  Utf8Stream utf8_;
  std::string text_;       ///< without white space before it
  std::size_t solid_ = 0;  ///< bytes of text_ up to its last character that is no white space
  std::size_t given_ = 0;  ///< bytes of text_ that were returned
};

}  // namespace qwen35
