#include "chat/thought_text.h"

#include "chat/answer_text.h"

namespace qwen35 {

void ThoughtText::close() {
  append(utf8_.finish());
  text_.resize(solid_);
  append("\n");
}

std::string ThoughtText::take() {
  std::string piece = text_.substr(given_, solid_ - given_);
  given_ = solid_;
  return piece;
}

void ThoughtText::append(std::string_view text) {
  const std::string_view inside = trimmed(text);
  if (text_.empty()) {
    if (inside.empty()) return;
    text.remove_prefix(static_cast<std::size_t>(inside.data() - text.data()));
  }
  if (!inside.empty()) solid_ = text_.size() + static_cast<std::size_t>(inside.data() - text.data()) + inside.size();
  text_ += text;
}

}  // namespace qwen35
