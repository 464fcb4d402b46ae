#include "chat/answer_text.h"

#include <algorithm>
#include <utility>

namespace qwen35 {
namespace {

constexpr std::string_view kWhiteSpace = " \t\n\v\f\r";

}  // namespace

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kWhiteSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kWhiteSpace) + 1 - first);
}

void AnswerText::push(std::string_view bytes) {
  if (!stopped_by()) add_text(utf8_.push(bytes));
}

std::string AnswerText::take() {
  std::string piece = text_.substr(given_, solid_ - given_);
  given_ = solid_;
  return piece;
}

std::vector<ToolCall> AnswerText::take_calls() {
  std::vector<ToolCall> calls(tool_calls_.begin() + static_cast<std::ptrdiff_t>(calls_given_), tool_calls_.end());
  calls_given_ = tool_calls_.size();
  return calls;
}

std::string AnswerText::finish() {
  if (!stopped_by()) {
    add_text(utf8_.finish());
    add(calls_in_text_.finish());
    append(stop_.finish());
  }
  text_.resize(solid_);
  return take();
}

void AnswerText::add_text(std::string_view text) {
  if (calls_) {
    add(calls_in_text_.push(text));
  } else if (!text.empty()) {
    add({{.kind = ToolCallEvent::Kind::text, .text = std::string(text), .call = {}, .unfinished = {}}});
  }
}

void AnswerText::add(std::vector<ToolCallEvent> events) {
  for (ToolCallEvent& event : events) {
    if (stopped_by()) return;
    if (event.kind == ToolCallEvent::Kind::text) {
      std::string_view prose = event.text;
      if (!begun_) {  // the model puts newlines between its thinking and the answer
        prose.remove_prefix(std::min(prose.size(), prose.find_first_not_of(kWhiteSpace)));
        if (prose.empty()) continue;
        begun_ = true;
      }
      append(stop_.push(prose));
      continue;
    }
    append(stop_.finish());  // a stop string does not reach across a call
    if (event.kind == ToolCallEvent::Kind::call) {
      tool_calls_.push_back(std::move(event.call));
    } else {
      unfinished_ = std::move(event.unfinished);
    }
  }
}

void AnswerText::append(std::string_view prose) {
  const std::size_t last = prose.find_last_not_of(kWhiteSpace);
  if (last != std::string_view::npos) solid_ = text_.size() + last + 1;
  text_ += prose;
  if (!trim_) solid_ = text_.size();
}

}  // namespace qwen35
