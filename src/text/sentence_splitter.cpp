#include "text/sentence_splitter.h"

#include <utf8proc.h>

#include <algorithm>

#include "text/unicode.h"
#include "text/utf8.h"

namespace qwen35 {
namespace {

constexpr std::size_t kMaxAbbreviation = 16;
constexpr std::size_t kMaxStarter = 12;
constexpr std::size_t kMaxItemDigits = 3;
/// A number or a character may make a chunk this many times as long as it should be; then it is cut all the same.
constexpr std::size_t kHardFactor = 4;

bool is_one_of(char32_t c, std::u32string_view set) { return set.find(c) != std::u32string_view::npos; }
bool is_digit(char32_t c) { return c >= U'0' && c <= U'9'; }
bool is_closer(char32_t c) { return is_one_of(c, U"\"')]}”’»«›‹」』）】》〉＂"); }
bool is_opener(char32_t c) { return is_one_of(c, U"\"'([{“‘«‹„‚「『（【《〈"); }

bool is_lower(char32_t c) {
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->category == UTF8PROC_CATEGORY_LL;
}

bool is_word_char(char32_t c) {
  const CharClass kind = char_class(c);
  return kind == CharClass::letter || kind == CharClass::number || kind == CharClass::mark;
}

/// Han, kana and bopomofo: scripts that put no space between words.
bool is_spaceless(char32_t c) {
  return (c >= 0x2E80 && c <= 0x2FDF) || (c >= 0x3005 && c <= 0x3007) || (c >= 0x3040 && c <= 0x312F) ||
         (c >= 0x31A0 && c <= 0x31FF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x4E00 && c <= 0x9FFF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x20000 && c <= 0x3FFFF);
}

std::size_t utf8_length(char32_t c) { return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4; }

/// Whether a cut between the two would cut a number: "1|2", "3|.14", "3.|14".
bool joins_number(char32_t before, char32_t after) {
  const auto part = [](char32_t c) { return is_digit(c) || c == U'.' || c == U','; };
  return char_class(before) == CharClass::number && char_class(after) == CharClass::number
             ? true
             : part(before) && part(after) && (is_digit(before) || is_digit(after));
}

}  // namespace

std::optional<SentenceSplitter::Mark> SentenceSplitter::mark_of(char32_t c) {
  if (c == U'.') return Mark::full_stop;
  if (is_one_of(c, U"…⋯")) return Mark::ellipsis;
  if (is_one_of(c, U"!?‼⁇⁈⁉‽؟۔⸮\x037E")) return Mark::strong;
  if (is_one_of(c, U"。！？｡．।॥။។៕።")) return Mark::wide;
  if (is_one_of(c, U",;:،؛，、；：—–")) return Mark::clause;
  return std::nullopt;
}

void SentenceSplitter::push(const SpokenChar& c, Out& out) {
  if (c.code_point == block_end) {
    if (!pending_.empty()) cut(pending_.size(), true, &c, out);
    return;
  }
  const bool space = c.code_point == U' ';
  if (space && (pending_.empty() || pending_.back().code_point == U' ')) return;
  if (stage_ != Stage::none && judge(c.code_point) == Verdict::ends) {
    cut(mark_end_, mark_ != Mark::clause, &c, out);
    return push(c, out);
  }
  const bool by_words = space && first_ && stage_ == Stage::none && options_.first_words > 0 &&
                        words_ >= options_.first_words && !is_digit(pending_.back().code_point);
  if (by_words) return cut(pending_.size(), false, &c, out);
  append(c);
  if (bytes_ > std::max(options_.max_bytes, next_check_)) cut_long(out);
}

void SentenceSplitter::append(const SpokenChar& c) {
  const char32_t code_point = c.code_point;
  const std::optional<Mark> mark = mark_of(code_point);
  const bool within_run = stage_ == Stage::mark && mark_ != Mark::clause;
  if (within_run && mark && *mark != Mark::clause) {
    const bool dots = mark_ <= Mark::ellipsis && *mark <= Mark::ellipsis;
    mark_ = dots ? Mark::ellipsis : std::max(mark_, *mark);
    mark_end_ = pending_.size() + 1;
  } else if (within_run && is_closer(code_point)) {
    closed_ = true;
    mark_end_ = pending_.size() + 1;
  } else if (mark && stage_ != Stage::word && (*mark != Mark::clause || clause_may_end())) {
    stage_ = Stage::mark;
    mark_ = *mark;
    closed_ = false;
    mark_begin_ = pending_.size();
    mark_end_ = mark_begin_ + 1;
  }
  if (is_spaceless(code_point)) {
    ++words_;
    in_word_ = false;
  } else if (code_point == U' ') {
    in_word_ = false;
  } else if (!in_word_ && is_word_char(code_point)) {
    ++words_;
    in_word_ = true;
  }
  pending_.push_back(c);
  bytes_ += utf8_length(code_point);
}

SentenceSplitter::Verdict SentenceSplitter::judge(char32_t c) {
  Verdict verdict = Verdict::open;
  switch (stage_) {
    case Stage::none:
      break;
    case Stage::mark:
      verdict = judge_after_mark(c);
      break;
    case Stage::space:
      verdict = judge_after_space(c);
      break;
    case Stage::word:
      if (is_word_char(c) || c == U'\'' || c == 0x2019) {
        if (pending_.size() - word_begin_ >= kMaxStarter) verdict = Verdict::goes_on;
      } else {
        std::u32string word;
        for (std::size_t i = word_begin_; i < pending_.size(); ++i) word += pending_[i].code_point;
        verdict = starts_sentences(word) ? Verdict::ends : Verdict::goes_on;
      }
      break;
  }
  if (verdict == Verdict::goes_on) stage_ = Stage::none;
  return verdict;
}

SentenceSplitter::Verdict SentenceSplitter::judge_after_mark(char32_t c) {
  if (mark_ == Mark::clause) {
    const char32_t mark = pending_[mark_begin_].code_point;
    if (is_one_of(mark, U"，、；：—")) return Verdict::ends;
    return c == U' ' ? Verdict::ends : Verdict::goes_on;
  }
  const std::optional<Mark> more = mark_of(c);
  if ((more && *more != Mark::clause) || is_closer(c)) return Verdict::open;
  if (mark_ == Mark::wide) return more ? Verdict::goes_on : Verdict::ends;
  if (c != U' ') return mark_ == Mark::strong && is_spaceless(c) ? Verdict::ends : Verdict::goes_on;
  stage_ = Stage::space;
  if (mark_ == Mark::strong && !closed_) return Verdict::ends;
  if (mark_ != Mark::full_stop) return Verdict::open;
  const std::u32string word = word_before_mark();
  const bool digits = !word.empty() && std::ranges::all_of(word, is_digit);
  if (digits && word.size() <= kMaxItemDigits && word.size() == mark_begin_) return Verdict::goes_on;  // "1. First"
  word_kind_ = classify_abbreviation(word);
  if (word_kind_ == Abbreviation::title) return Verdict::goes_on;
  return word_kind_ == Abbreviation::none && !closed_ ? Verdict::ends : Verdict::open;
}

SentenceSplitter::Verdict SentenceSplitter::judge_after_space(char32_t c) {
  if (is_lower(c)) return Verdict::goes_on;
  if (is_digit(c) && (mark_ == Mark::ellipsis || (mark_ == Mark::full_stop && word_kind_ == Abbreviation::numbered))) {
    return Verdict::goes_on;
  }
  if (mark_ == Mark::full_stop && word_kind_ == Abbreviation::initials && !closed_ && is_word_char(c)) {
    stage_ = Stage::word;
    word_begin_ = pending_.size();
    return Verdict::open;
  }
  return Verdict::ends;
}

bool SentenceSplitter::clause_may_end() const {
  return stage_ == Stage::none && first_ && options_.first_clause_words > 0 && words_ >= options_.first_clause_words;
}

std::u32string SentenceSplitter::word_before_mark() const {
  std::u32string word;
  for (std::size_t i = mark_begin_; i > 0 && word.size() < kMaxAbbreviation; --i) {
    const char32_t c = pending_[i - 1].code_point;
    if (c == U' ' || is_opener(c) || is_one_of(c, U"-—–/")) break;
    word += c;
  }
  std::ranges::reverse(word);
  return word;
}

/// Says the first `count` characters; the rest stays. `next`: what comes after all that is pending, if known.
void SentenceSplitter::cut(std::size_t count, bool complete, const SpokenChar* next, Out& out) {
  std::vector<SpokenChar> all;
  all.swap(pending_);
  clear();
  if (count < all.size()) next = &all[count];
  const std::vector<SpokenChar> rest(all.begin() + static_cast<std::ptrdiff_t>(count), all.end());
  const bool before_space = next != nullptr && (next->code_point == U' ' || next->code_point == block_end);
  std::size_t end = before_space ? next->begin : 0;
  all.resize(count);
  while (!all.empty() && all.back().code_point == U' ') {
    end = all.back().begin;
    all.pop_back();
  }
  if (std::ranges::any_of(all, [](const SpokenChar& c) { return is_word_char(c.code_point); })) {
    Sentence sentence;
    sentence.begin = all.front().begin;
    sentence.end = std::max(end, all.back().end);
    sentence.complete = complete;
    for (std::size_t i = 0; i < all.size(); ++i) {
      append_utf8(sentence.text, all[i].code_point);
      const bool last = i + 1 == all.size();
      const char32_t after = last ? U' ' : all[i + 1].code_point;
      const bool ends =
          all[i].code_point != U' ' &&
          (after == U' ' || is_spaceless(after) ||
           (is_spaceless(all[i].code_point) && is_word_char(after) && char_class(after) != CharClass::mark));
      if (ends) sentence.words.push_back({sentence.text.size(), last ? sentence.end : all[i].end});
    }
    out.push_back(std::move(sentence));
    first_ = false;
  }
  for (const SpokenChar& c : rest) push(c, out);
}

void SentenceSplitter::cut_long(Out& out) {
  const bool hard = bytes_ > kHardFactor * options_.max_bytes;
  const std::size_t count = best_cut(hard);
  if (count == 0) {
    next_check_ = bytes_ + options_.max_bytes / 4;
    return;
  }
  cut(count, false, nullptr, out);
}

/// The best place to cut what is too long: behind a clause mark, else a space, else a character, each in the second
/// half of it and not inside a number. 0: there is none; with `anywhere` the last character at least.
std::size_t SentenceSplitter::best_cut(bool anywhere) const {
  std::size_t clause = 0;
  std::size_t space = 0;
  std::size_t character = 0;
  std::size_t bytes = utf8_length(pending_[0].code_point);
  utf8proc_int32_t state = 0;
  for (std::size_t i = 1; i < pending_.size(); ++i) {
    const char32_t before = pending_[i - 1].code_point;
    const char32_t after = pending_[i].code_point;
    const bool boundary = utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(before),
                                                           static_cast<utf8proc_int32_t>(after), &state);
    const bool allowed = boundary && bytes * 2 >= options_.max_bytes && bytes <= bytes_ && !joins_number(before, after);
    bytes += utf8_length(after);
    if (!allowed) continue;
    const std::optional<Mark> mark = mark_of(before);
    if (mark && (after == U' ' || *mark == Mark::wide || is_one_of(before, U"，、；：—"))) clause = i;
    if (after == U' ' && !(is_digit(before) && i + 1 < pending_.size() && is_digit(pending_[i + 1].code_point)))
      space = i;
    character = i;
  }
  if (clause > 0) return clause;
  if (space > 0) return space;
  if (character > 0 || !anywhere) return character;
  return pending_.size() - 1;
}

void SentenceSplitter::clear() {
  pending_.clear();
  bytes_ = next_check_ = words_ = 0;
  in_word_ = closed_ = false;
  stage_ = Stage::none;
}

void SentenceSplitter::finish(Out& out) {
  if (!pending_.empty()) cut(pending_.size(), true, nullptr, out);
  clear();
  first_ = true;
}

}  // namespace qwen35
