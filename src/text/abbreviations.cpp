#include "text/abbreviations.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>

#include "text/unicode.h"

namespace qwen35 {
namespace {

using Words = std::string_view;

// Each list is one string of words between spaces, so that a look-up is a search for " word ".
constexpr Words kTitles =
    " mr mrs ms mx dr prof st ste mt ft gen sen rep gov capt cpt cmdr lt col maj sgt rev hon pres supt fr messrs mme "
    "mlle "
    "e.g i.e vs v cf al approx ca viz resp incl excl esp dept univ assn bros ave blvd rd est min max avg tel ext "
    "z.b d.h u.a o.g bzw p.ej b.sc m.sc ";
constexpr Words kNumbered =
    " no nos nr fig figs eq eqs vol vols ch sec pp p art ex pt jan feb mar apr jun jul aug sep sept oct nov dec ";
constexpr Words kClosing = " etc a.m p.m inc ltd co corp jr sr ph.d m.d b.a m.a b.c a.d b.c.e c.e usw ";
constexpr Words kStarters =
    " the this that these those it its it's he she they we you i in on at by for from but and or so if when while "
    "after "
    "before there here what who why how where which an as also however then now yes no not please his her their our my "
    "your some many most all each every once since because although do does did is are was were will would can could "
    "should let to with of i'm i'll he's she's they're we're you're that's there's what's don't ";

bool contains(Words list, const std::string& word) {
  return !word.empty() && list.find(" " + word + " ") != Words::npos;
}

/// In small letters; empty unless all of it is ASCII.
std::string to_lower_ascii(std::u32string_view word) {
  std::string lower;
  for (const char32_t c : word) {
    if (c == 0x2019) {
      lower += '\'';
    } else if (c >= 0x80 || c == U' ') {
      return {};
    } else {
      lower += static_cast<char>(c >= U'A' && c <= U'Z' ? c + 32 : c);
    }
  }
  return lower;
}

bool is_letter(char32_t c) { return char_class(c) == CharClass::letter; }

/// "U.S" or "J": single letters with full stops between them.
bool is_initials(std::u32string_view word) {
  for (std::size_t i = 0; i < word.size(); ++i) {
    if (i % 2 == 0 ? !is_letter(word[i]) : word[i] != U'.') return false;
  }
  return word.size() % 2 == 1;
}

}  // namespace

Abbreviation classify_abbreviation(std::u32string_view word) {
  constexpr std::size_t kLong = 4;
  const std::string lower = to_lower_ascii(word);
  if (contains(kTitles, lower)) return Abbreviation::title;
  if (contains(kNumbered, lower)) return Abbreviation::numbered;
  if (contains(kClosing, lower)) return Abbreviation::closing;
  const bool capital = word.size() == 1 && word[0] >= U'A' && word[0] <= U'Z' && word[0] != U'I';
  if (capital || (word.size() > 1 && is_initials(word))) return Abbreviation::initials;
  std::size_t letters = 0;
  for (const char32_t c : word) {
    if (is_letter(c)) ++letters;
    if (char_class(c) == CharClass::number) return Abbreviation::none;
  }
  return letters >= kLong ? Abbreviation::none : Abbreviation::short_word;
}

bool starts_sentences(std::u32string_view word) { return contains(kStarters, to_lower_ascii(word)); }

}  // namespace qwen35
