#include "chat/stop_strings.h"

#include <qwen35/error.h>

#include <algorithm>
#include <utility>

#include "text/utf8.h"

namespace qwen35 {
namespace {

[[noreturn]] void refuse(const std::string& found, const char* expected) {
  throw Error(ErrorCode::invalid_argument, "stop holds " + found + "; expected " + expected);
}

}  // namespace

StopStrings::StopStrings(std::vector<std::string> strings) {
  if (strings.size() > kMostStrings) {
    refuse(std::to_string(strings.size()) + " strings", "at most 16");
  }
  for (std::string& text : strings) {
    if (text.empty()) refuse("an empty string", "strings of 1 to 256 bytes");
    if (text.size() > kMostBytes) {
      refuse("a string of " + std::to_string(text.size()) + " bytes", "1 to 256 bytes");
    }
    if (!is_valid_utf8(text)) refuse("a string that is not well-formed UTF-8", "whole characters");
    Matcher matcher{.text = std::move(text), .border = {0}};
    for (std::size_t i = 1; i < matcher.text.size(); ++i) {
      std::size_t length = matcher.border[i - 1];
      while (length > 0 && matcher.text[i] != matcher.text[length]) length = matcher.border[length - 1];
      matcher.border.push_back(static_cast<std::uint16_t>(matcher.text[i] == matcher.text[length] ? length + 1 : 0));
    }
    matchers_.push_back(std::move(matcher));
  }
}

void StopStrings::Matcher::advance(char byte) {
  while (matched > 0 && text[matched] != byte) matched = border[matched - 1];
  if (text[matched] == byte) ++matched;
}

std::string StopStrings::push(std::string_view piece) {
  if (found_) return {};
  if (matchers_.empty()) return std::string(piece);
  for (std::size_t i = 0; i < piece.size(); ++i) {
    const Matcher* whole = nullptr;
    for (Matcher& matcher : matchers_) {
      matcher.advance(piece[i]);
      if (matcher.matched < matcher.text.size()) continue;
      if (whole == nullptr || matcher.text.size() > whole->text.size()) whole = &matcher;
    }
    if (whole == nullptr) continue;
    found_ = whole->text;
    held_.append(piece.substr(0, i + 1));
    held_.resize(held_.size() - whole->text.size());
    return std::exchange(held_, {});
  }
  std::size_t open = 0;
  for (const Matcher& matcher : matchers_) open = std::max(open, matcher.matched);
  held_.append(piece);
  std::string certain = held_.substr(0, held_.size() - open);
  held_.erase(0, certain.size());
  return certain;
}

std::string StopStrings::finish() {
  for (Matcher& matcher : matchers_) matcher.matched = 0;
  return std::exchange(held_, {});
}

}  // namespace qwen35
