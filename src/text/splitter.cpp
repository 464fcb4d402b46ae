#include "text/splitter.h"

#include "text/regex.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace qwen35 {
namespace {

/// The scanner for
///   (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}|
///   ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
/// Each alternative is tried in turn and every one advances, so there is no backtracking beyond a run of white space.
class Scanner {
 public:
  Scanner(std::string_view text, bool marks_join_letters) : text_(text), marks_join_letters_(marks_join_letters) {}

  /// The end of the word that begins at `start` < text size.
  std::size_t word_end(std::size_t start) const {
    const Char first = at(start);
    if (text_[start] == '\'') {
      if (const std::size_t length = contraction(text_.substr(start + 1)); length != 0) return start + 1 + length;
    }
    if (first.kind == CharClass::letter) return run_of(CharClass::letter, first.end);
    if (first.kind == CharClass::number) return first.end;
    if (first.kind != CharClass::newline && first.end < text_.size() && at(first.end).kind == CharClass::letter) {
      return run_of(CharClass::letter, first.end);
    }
    if (first.kind == CharClass::other) return newlines(run_of(CharClass::other, first.end));
    if (text_[start] == ' ' && first.end < text_.size() && at(first.end).kind == CharClass::other) {
      return newlines(run_of(CharClass::other, first.end));
    }
    return white_space(start);
  }

 private:
  struct Char {
    CharClass kind;
    std::size_t end;
  };

  Char at(std::size_t pos) const {
    CharClass kind = char_class(next_code_point(text_, pos));
    if (kind == CharClass::mark) kind = marks_join_letters_ ? CharClass::letter : CharClass::other;
    return {kind, pos};
  }

  std::size_t run_of(CharClass kind, std::size_t pos) const {
    while (pos < text_.size()) {
      const Char c = at(pos);
      if (c.kind != kind) break;
      pos = c.end;
    }
    return pos;
  }

  std::size_t newlines(std::size_t pos) const {
    while (pos < text_.size() && (text_[pos] == '\r' || text_[pos] == '\n')) ++pos;
    return pos;
  }

  /// The length of what follows an apostrophe in 's 't 're 've 'm 'll 'd, whatever the case, else 0.
  static std::size_t contraction(std::string_view after) {
    const auto lower = [&](std::size_t i) -> char {
      if (i >= after.size()) return 0;
      return after[i] >= 'A' && after[i] <= 'Z' ? static_cast<char>(after[i] - 'A' + 'a') : after[i];
    };
    switch (lower(0)) {
      case 's':
      case 't':
      case 'm':
      case 'd':
        return 1;
      case 'r':
      case 'v':
        return lower(1) == 'e' ? 2 : 0;
      case 'l':
        return lower(1) == 'l' ? 2 : 0;
      default:
        return after.starts_with("\u017F") ? 2 : 0;  // long s, which case folding makes an s
    }
  }

  /// The last three alternatives: up to the last line end of the run, else all of it but the character before a word.
  std::size_t white_space(std::size_t start) const {
    std::size_t pos = start;
    std::size_t last_begin = start;
    std::size_t after_newline = start;
    while (pos < text_.size()) {
      const Char c = at(pos);
      if (c.kind != CharClass::space && c.kind != CharClass::newline) break;
      last_begin = pos;
      pos = c.end;
      if (c.kind == CharClass::newline) after_newline = pos;
    }
    if (after_newline != start) return after_newline;
    return pos == text_.size() || last_begin == start ? pos : last_begin;
  }

  std::string_view text_;
  bool marks_join_letters_;
};

}  // namespace

const std::string_view Splitter::qwen2_regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string_view Splitter::qwen35_regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

Splitter::Splitter() = default;

Splitter::Splitter(const std::string& regex, const std::string& source) : marks_join_letters_(regex == qwen35_regex) {
  if (regex != qwen2_regex && regex != qwen35_regex) pattern_ = std::make_unique<Regex>(regex, source);
}

Splitter Splitter::with_pcre2(const std::string& regex, const std::string& source) {
  Splitter splitter;
  splitter.pattern_ = std::make_unique<Regex>(regex, source);
  return splitter;
}

Splitter::Splitter(Splitter&&) noexcept = default;
Splitter& Splitter::operator=(Splitter&&) noexcept = default;
Splitter::~Splitter() = default;

void Splitter::split(std::string_view text, const Visitor& visit) const {
  if (pattern_ != nullptr) {
    pattern_->split(text, visit);
    return;
  }
  const Scanner scanner(text, marks_join_letters_);
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = scanner.word_end(begin);
    visit(text.substr(begin, end - begin));
    begin = end;
  }
}

}  // namespace qwen35
