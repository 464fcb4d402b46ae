#include "chat/answer_text.h"

#include <algorithm>
#include <utility>

#include "text/tool_calls.h"

namespace qwen35 {
namespace {

constexpr std::string_view kToolCall = "<tool_call>";
constexpr std::string_view kWhiteSpace = " \t\n\v\f\r";

/// Length of the longest end of `text` that begins "<tool_call>".
std::size_t unfinished_tag(std::string_view text) {
  for (std::size_t length = std::min(text.size(), kToolCall.size() - 1); length > 0; --length) {
    if (text.ends_with(kToolCall.substr(0, length))) return length;
  }
  return 0;
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kWhiteSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kWhiteSpace) + 1 - first);
}

void AnswerText::push(std::string_view bytes) { append(utf8_.push(bytes)); }

std::string AnswerText::take() {
  if (in_tool_call_) return {};
  const std::string_view text = text_;
  std::size_t certain = text.find(kToolCall, searched_);
  in_tool_call_ = certain != std::string_view::npos;
  if (!in_tool_call_) {
    certain = text.size() - unfinished_tag(text);
    searched_ = certain;
  }
  // npos + 1 is 0: nothing but white space.
  certain = certain == 0 ? 0 : text.find_last_not_of(kWhiteSpace, certain - 1) + 1;
  if (certain <= given_) return {};
  std::string piece(text.substr(given_, certain - given_));
  given_ = certain;
  return piece;
}

std::string AnswerText::finish() {
  append(utf8_.finish());
  if (text_.find(kToolCall) != std::string::npos) {
    ParsedAnswer parsed = parse_tool_calls(text_, tools_);
    tool_calls_ = std::move(parsed.tool_calls);
    // What was given cannot be taken back: prose only ever grows.
    if (parsed.text.compare(0, given_, text_, 0, given_) == 0) {
      text_ = std::move(parsed.text);
    } else {
      text_.resize(given_);
    }
  }
  text_ = std::string(trimmed(text_));
  std::string rest = text_.substr(std::min(given_, text_.size()));
  given_ = text_.size();
  return rest;
}

void AnswerText::append(std::string_view piece) {
  if (text_.empty()) {  // the model puts newlines between its thinking and the answer
    const std::size_t first = piece.find_first_not_of(kWhiteSpace);
    if (first == std::string_view::npos) return;
    piece.remove_prefix(first);
  }
  text_ += piece;
}

}  // namespace qwen35
