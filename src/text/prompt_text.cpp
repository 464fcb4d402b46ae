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

}  // namespace qwen35
