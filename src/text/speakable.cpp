#include "text/speakable.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "text/utf8.h"

namespace qwen35 {
namespace {

constexpr std::size_t kMaxTag = 200;
constexpr std::size_t kMaxTarget = 2048;
constexpr std::size_t kMaxEntity = 8;
constexpr std::size_t kMaxInfo = 64;
constexpr std::size_t kMaxCombining = 16;  // no script stacks more; hostile text does
constexpr std::size_t kMaxListDigits = 3;

bool is_digit(char32_t c) { return c >= U'0' && c <= U'9'; }
bool is_ascii_letter(char32_t c) { return (c | 0x20U) >= U'a' && (c | 0x20U) <= U'z'; }

utf8proc_category_t category(char32_t c) {
  return static_cast<utf8proc_category_t>(utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->category);
}

bool is_word_char(char32_t c) {
  if (c < 0x80) return is_digit(c) || is_ascii_letter(c);
  const utf8proc_category_t kind = category(c);
  return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_NO;
}

bool is_space(char32_t c) {
  if (c == U' ' || c == U'\t' || c == U'\v' || c == U'\f') return true;
  if (c < 0x80) return false;
  const utf8proc_category_t kind = category(c);
  return c == 0x85 || (kind >= UTF8PROC_CATEGORY_ZS && kind <= UTF8PROC_CATEGORY_ZP);
}

/// What takes part in an emoji but is none alone: variation selectors, skin tones, tags, the keycap.
bool is_emoji_part(char32_t c) {
  return (c >= 0xFE00 && c <= 0xFE0F) || (c >= 0x1F3FB && c <= 0x1F3FF) || (c >= 0xE0000 && c <= 0xE0FFF) ||
         c == 0x20E3;
}

bool is_emoji(char32_t c) {
  if (c == 0xA9 || c == 0xAE || c == 0x2122 || c == 0x203C || c == 0x2049) return false;  // © ® ™ and two marks
  const auto bound = utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->boundclass;
  return bound == UTF8PROC_BOUNDCLASS_EXTENDED_PICTOGRAPHIC || bound == UTF8PROC_BOUNDCLASS_REGIONAL_INDICATOR;
}

/// Arrows, boxes, dingbats: a voice has no word for them. Letter-like symbols and squared words of CJK it does read.
bool is_drawing(char32_t c) {
  if (c >= 0x2190 && c <= 0x21FF) return true;
  return c >= 0x2300 && !(c >= 0x3000 && c <= 0x33FF) && category(c) == UTF8PROC_CATEGORY_SO;
}

bool is_bullet(char32_t c) {
  return c == 0x2022 || c == 0x2023 || c == 0x25E6 || c == 0x25AA || c == 0x25CF || c == 0x2043;
}

bool is_line_mark(char32_t c) { return std::u32string_view(U"#-*+_=~`").find(c) != std::u32string_view::npos; }

bool is_ascii_punctuation(char32_t c) { return c > 0x20 && c < 0x7F && !is_digit(c) && !is_ascii_letter(c); }

struct Entity {
  std::string_view name;
  char32_t code_point;
};
constexpr std::array<Entity, 13> kEntities = {{{"amp", U'&'},
                                               {"lt", U'<'},
                                               {"gt", U'>'},
                                               {"quot", U'"'},
                                               {"apos", U'\''},
                                               {"nbsp", U' '},
                                               {"mdash", 0x2014},
                                               {"ndash", 0x2013},
                                               {"hellip", 0x2026},
                                               {"lsquo", 0x2018},
                                               {"rsquo", 0x2019},
                                               {"ldquo", 0x201C},
                                               {"rdquo", 0x201D}}};

constexpr std::array<std::string_view, 14> kBreakingTags = {"br", "p",  "li", "div", "tr", "td", "th",
                                                            "hr", "h1", "h2", "h3",  "h4", "ul", "ol"};
constexpr std::array<std::string_view, 20> kTags = {"a",    "b",     "i",    "u",   "s",   "em",     "strong",
                                                    "code", "pre",   "span", "sub", "sup", "small",  "del",
                                                    "mark", "table", "img",  "kbd", "h5",  "details"};

}  // namespace

void Speakable::push(char32_t code_point, std::size_t begin, std::size_t end, Out& out) {
  if (code_point == U'\r') return;
  const SpokenChar c{code_point, begin, end};
  switch (line_) {
    case Line::start:
      return at_line_start(c, out);
    case Line::marks:
      return after_marks(c, out);
    case Line::number:
      return in_number(c, out);
    case Line::info:
      return in_info(c, out);
    case Line::fence:
      return in_fence(c, out);
    case Line::text:
      return in_text(c, out);
    case Line::skipped:
      if (code_point == U'\n') newline(c, out);
      return;
  }
}

void Speakable::at_line_start(const SpokenChar& c, Out& out) {
  if (c.code_point == U'\n') {
    code_ticks_ = 0;  // a blank line ends a paragraph with all that it left open
    line_is_block_ = true;
    return newline(c, out);
  }
  if (is_space(c.code_point) || c.code_point == U'>') return;
  if (is_line_mark(c.code_point)) {
    line_ = Line::marks;
    mark_ = c;
    mark_count_ = 1;
  } else if (c.code_point == U'|') {
    begin_block(c, out);
    line_ = Line::skipped;
  } else if (is_bullet(c.code_point)) {
    begin_block(c, out);
  } else if (is_digit(c.code_point)) {
    line_ = Line::number;
    held_.assign(1, c);
  } else {
    begin_text(c, out);
  }
}

/// After a run of one mark at the start of a line: the character behind the run says what it is.
void Speakable::after_marks(const SpokenChar& c, Out& out) {
  const char32_t mark = mark_.code_point;
  if (c.code_point == mark) {
    ++mark_count_;
    mark_.end = c.end;
    return;
  }
  const bool fence = (mark == U'`' || mark == U'~') && mark_count_ >= 3;
  if (c.code_point == U'\n') {  // a rule, an underline or an empty item: nothing to say
    if (fence) return open_fence(c, out);
    line_is_block_ = true;
    return newline(c, out);
  }
  if (fence) {
    held_.assign(1, c);
    line_ = Line::info;
    return;
  }
  if (is_space(c.code_point)) {
    const bool rule = mark_count_ >= 3 && mark != U'#' && mark != U'+';
    if (rule) return;  // what follows on the line decides; a rule has nothing more
    const bool item = mark_count_ == 1 && (mark == U'-' || mark == U'*' || mark == U'+');
    if (item || (mark == U'#' && mark_count_ <= 6)) {
      begin_block(c, out);
      return;
    }
  }
  line_ = Line::text;
  previous_ = mark;
  if (mark == U'`') {
    tick_run_ = mark_count_;
  } else if (mark == U'-' && mark_count_ > 1) {
    emit({0x2014, mark_.begin, mark_.end}, out);
  } else if (mark == U'-' || mark == U'+' || mark == U'=') {
    emit(mark_, out);
  }
  in_text(c, out);
}

/// Digits at the start of a line: the number of an item when a full stop or a bracket and a space follow.
void Speakable::in_number(const SpokenChar& c, Out& out) {
  const bool closed = !is_digit(held_.back().code_point);
  if (!closed && held_.size() <= kMaxListDigits &&
      (is_digit(c.code_point) || c.code_point == U'.' || c.code_point == U')')) {
    held_.push_back(c);
    return;
  }
  if (closed && is_space(c.code_point)) {
    begin_block(c, out);
    out.back().begin = out.back().end = held_.front().begin;
  }
  line_ = Line::text;
  release_held(out);
  in_text(c, out);
}

/// What stands behind the marks that open a block of code: its language. Ticks there mean that it is none.
void Speakable::in_info(const SpokenChar& c, Out& out) {
  if (c.code_point == U'\n') {
    held_.clear();
    return open_fence(c, out);
  }
  if (c.code_point == U'`' && mark_.code_point == U'`') {
    code_ticks_ = mark_count_;
    line_ = Line::text;
    release_held(out);
    return in_text(c, out);
  }
  if (held_.size() < kMaxInfo) held_.push_back(c);
}

void Speakable::open_fence(const SpokenChar& c, Out& out) {
  fence_ = mark_count_;
  fence_mark_ = mark_.code_point;
  out.push_back({block_end, mark_.begin, mark_.begin});
  for (std::size_t pos = 0; pos < code_block_.size();) {
    const char32_t code_point = next_code_point(code_block_, pos);
    out.push_back({is_space(code_point) || code_point == U'\n' ? U' ' : code_point, mark_.begin, c.begin});
  }
  out.push_back({block_end, c.begin, c.end});
  line_ = Line::fence;
  mark_count_ = 0;
  only_marks_ = true;
}

void Speakable::in_fence(const SpokenChar& c, Out& out) {
  if (c.code_point == U'\n') {
    if (only_marks_ && mark_count_ >= fence_) {
      fence_ = 0;
      line_is_block_ = true;
      return newline(c, out);
    }
    mark_count_ = 0;
    only_marks_ = true;
  } else if (c.code_point == fence_mark_) {
    ++mark_count_;
  } else if (!is_space(c.code_point)) {
    only_marks_ = false;
  }
}

void Speakable::in_text(const SpokenChar& c, Out& out) {
  if (inline_ != Inline::text && goes_on(c, out)) return;
  if (c.code_point == U'\n') return newline(c, out);
  if (c.code_point == U'`') {
    ++tick_run_;
    return;
  }
  if (tick_run_ > 0) {
    if (code_ticks_ == 0) {
      code_ticks_ = tick_run_;
    } else if (code_ticks_ == tick_run_) {
      code_ticks_ = 0;
    }
    tick_run_ = 0;
  }
  if (code_ticks_ > 0) return emit(c, out);
  switch (c.code_point) {
    case U'*':
    case U'_':
    case U'~':
      inline_ = Inline::run;
      run_ = c;
      run_count_ = 1;
      return;
    case U'\\':
      inline_ = Inline::escape;
      return;
    case U'!':
      inline_ = Inline::bang;
      held_.assign(1, c);
      return;
    case U'[':
      previous_ = U'[';
      return;
    case U']':
      inline_ = Inline::bracket;
      return;
    case U'<':
      inline_ = Inline::tag;
      held_.assign(1, c);
      return;
    case U'&':
      inline_ = Inline::entity;
      held_.assign(1, c);
      return;
    case U'|':
      return emit({U' ', c.begin, c.end}, out);
    default:
      return emit(c, out);
  }
}

/// Inside something that may be markup. False: that is over, and `c` is text.
bool Speakable::goes_on(const SpokenChar& c, Out& out) {
  switch (inline_) {
    case Inline::text:
      break;
    case Inline::run:
      if (c.code_point == run_.code_point) {
        ++run_count_;
        run_.end = c.end;
        return true;
      }
      end_run(c.code_point, out);
      break;
    case Inline::escape:
      if (is_ascii_punctuation(c.code_point)) {
        inline_ = Inline::text;
        emit(c, out);
        return true;
      }
      break;
    case Inline::bang:
      if (c.code_point != U'[' || !is_space(previous_)) {
        release_held(out);
      } else {
        held_.clear();  // the alternative text of an image follows
      }
      break;
    case Inline::bracket:
      if (c.code_point == U'(' || c.code_point == U'[') {
        inline_ = Inline::target;
        target_end_ = c.code_point == U'(' ? U')' : U']';
        depth_ = 1;
        length_ = 0;
        return true;
      }
      previous_ = U']';
      break;
    case Inline::target:
      if (c.code_point == U'\n' || ++length_ > kMaxTarget) break;
      if (c.code_point == U'(' && target_end_ == U')') ++depth_;
      if (c.code_point == target_end_ && --depth_ == 0) {
        inline_ = Inline::text;
        previous_ = c.code_point;
      }
      return true;
    case Inline::tag:
      if (in_tag(c, out)) return true;
      release_held(out);
      break;
    case Inline::entity:
      if (in_entity(c, out)) return true;
      release_held(out);
      break;
  }
  inline_ = Inline::text;
  return false;
}

/// A run of * _ or ~ in text is a mark of emphasis, but for "2 * 3", "2*3", "a_name" and "~5".
void Speakable::end_run(char32_t next, Out& out) {
  const char32_t c = run_.code_point;
  const bool space_around = is_space(previous_) && (is_space(next) || next == U'\n');
  if (c == U'*' && run_count_ == 1 && (space_around || (is_digit(previous_) && is_digit(next)))) {
    emit(run_, out);
  } else if (c == U'_' && is_word_char(previous_) && is_word_char(next)) {
    emit({U' ', run_.begin, run_.end}, out);
  } else if (c == U'~' && run_count_ == 1) {
    emit(run_, out);
  }
}

bool Speakable::in_tag(const SpokenChar& c, Out& out) {
  if (c.code_point == U'\n' || held_.size() >= kMaxTag) return false;
  if (held_.size() == 1 && !is_ascii_letter(c.code_point) && c.code_point != U'/') return false;
  if (c.code_point != U'>') {
    held_.push_back(c);
    return true;
  }
  std::string text;
  for (const SpokenChar& held : held_) append_utf8(text, held.code_point);
  text.erase(0, 1);
  if (text.find(' ') == std::string::npos &&
      (text.find("://") != std::string::npos || text.find('@') != std::string::npos)) {  // <https://example.org>
    held_.erase(held_.begin());
    release_held(out);
    inline_ = Inline::text;
    return true;
  }
  if (text.front() == '/') text.erase(0, 1);
  std::string name = text.substr(0, text.find_first_of(" /\t"));
  for (char& letter : name) {
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter + 32);
  }
  const bool breaks = std::ranges::find(kBreakingTags, name) != kBreakingTags.end();
  if (!breaks && std::ranges::find(kTags, name) == kTags.end()) return false;
  if (breaks) out.push_back({U' ', held_.front().begin, c.end});
  previous_ = breaks ? U' ' : U'>';
  held_.clear();
  inline_ = Inline::text;
  return true;
}

bool Speakable::in_entity(const SpokenChar& c, Out& out) {
  if (c.code_point != U';') {
    const bool fits = is_ascii_letter(c.code_point) || is_digit(c.code_point) || c.code_point == U'#';
    if (!fits || held_.size() >= kMaxEntity) return false;
    held_.push_back(c);
    return true;
  }
  std::string name;
  for (const SpokenChar& held : held_) append_utf8(name, held.code_point);
  name.erase(0, 1);
  const auto* const entity = std::ranges::find(kEntities, std::string_view(name), &Entity::name);
  if (entity == kEntities.end()) return false;
  const std::size_t begin = held_.front().begin;
  held_.clear();
  inline_ = Inline::text;
  emit({entity->code_point, begin, c.end}, out);
  return true;
}

void Speakable::begin_text(const SpokenChar& c, Out& out) {
  line_ = Line::text;
  in_text(c, out);
}

void Speakable::begin_block(const SpokenChar& c, Out& out) {
  out.push_back({block_end, c.begin, c.begin});
  line_is_block_ = true;
  line_ = Line::start;  // an item may begin with marks of its own
}

void Speakable::newline(const SpokenChar& c, Out& out) {
  out.push_back({line_is_block_ ? block_end : U' ', c.begin, c.end});
  line_ = Line::start;
  line_is_block_ = false;
  previous_ = U' ';
  in_emoji_ = false;
}

void Speakable::release_held(Out& out) {
  std::vector<SpokenChar> held;
  held.swap(held_);
  for (const SpokenChar& c : held) emit(c, out);
}

void Speakable::emit(const SpokenChar& c, Out& out) {
  const char32_t code_point = c.code_point;
  previous_ = code_point;
  if (is_space(code_point)) {
    in_emoji_ = false;
    out.push_back({U' ', c.begin, c.end});
    return;
  }
  if (code_point >= 0x80) {
    if (is_emoji_part(code_point)) return;
    const utf8proc_category_t kind = category(code_point);
    const bool joiner = code_point == 0x200C || code_point == 0x200D;
    if (kind == UTF8PROC_CATEGORY_MN || kind == UTF8PROC_CATEGORY_ME || kind == UTF8PROC_CATEGORY_MC || joiner) {
      if (!in_emoji_ && ++combining_ <= kMaxCombining) out.push_back(c);
      return;
    }
    in_emoji_ = is_emoji(code_point);
    const bool silent = kind == UTF8PROC_CATEGORY_CC || kind == UTF8PROC_CATEGORY_CF || kind == UTF8PROC_CATEGORY_CO ||
                        kind == UTF8PROC_CATEGORY_CN || code_point == 0xFFFD;
    if (in_emoji_ || silent || is_drawing(code_point)) return;
  } else if (code_point < 0x20 || code_point == 0x7F) {
    return;
  }
  in_emoji_ = false;
  combining_ = 0;
  out.push_back(c);
}

void Speakable::finish(std::size_t end, Out& out) {
  if (line_ == Line::number) release_held(out);
  if (line_ == Line::text) {
    if (inline_ == Inline::run) end_run(U'\n', out);
    if (inline_ == Inline::bang || inline_ == Inline::tag || inline_ == Inline::entity) release_held(out);
  }
  out.push_back({block_end, end, end});
  *this = Speakable(std::move(code_block_));
}

}  // namespace qwen35
