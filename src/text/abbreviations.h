#pragma once

#include <string_view>

namespace qwen35 {

/// What the word before a full stop says about that stop.
enum class Abbreviation {
  none,        ///< a long word: a sentence ends here
  short_word,  ///< may be one that is not listed: small letters after it mean that the sentence goes on
  title,       ///< "Mr.", "e.g.": never ends a sentence
  numbered,    ///< "No. 5", "Jan. 3": goes on when a digit follows
  closing,     ///< "etc.", "p.m.": ends a sentence unless small letters follow
  initials,    ///< "U.S.", "J.": the next word decides
};

/// `word`: what stands between white space and the full stop, without that stop.
Abbreviation classify_abbreviation(std::u32string_view word);

/// Whether a sentence is likely to begin with `word`, first letter large: "The", "It" …
bool starts_sentences(std::u32string_view word);

}  // namespace qwen35
