#include <algorithm>

#include "text/tokenizer.h"

namespace qwen35 {

void PromptText::append_control(std::string_view piece) {
  if (piece.empty()) return;
  const std::size_t begin = text.size();
  text.append(piece);
  if (!control.empty() && control.back().end == begin) {
    control.back().end = text.size();
  } else {
    control.push_back({begin, text.size()});
  }
}

void PromptText::append_plain(std::string_view piece) { text.append(piece); }

void PromptText::append_part(const PromptText& source, std::size_t begin, std::size_t end) {
  const std::string_view from = source.text;
  std::size_t pos = begin;
  for (const Range& range : source.control) {
    const std::size_t first = std::max(range.begin, begin);
    const std::size_t last = std::min(range.end, end);
    if (first >= last) continue;
    append_plain(from.substr(pos, first - pos));
    append_control(from.substr(first, last - first));
    pos = last;
  }
  append_plain(from.substr(pos, end - pos));
}

}  // namespace qwen35
