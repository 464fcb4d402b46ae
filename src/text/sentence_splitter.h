#pragma once

#include <qwen35/sentences.h>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "text/abbreviations.h"
#include "text/speakable.h"

namespace qwen35 {

/// Cuts speakable characters into sentences. Decides one character at a time, so the cuts do not depend on how the text
/// came in; it waits for no more than the character after a mark (the word after it, where an initialism ends).
class SentenceSplitter {
 public:
  explicit SentenceSplitter(const SentenceOptions& options) : options_(options) {}

  void push(const SpokenChar& c, std::vector<Sentence>& out);
  void finish(std::vector<Sentence>& out);

 private:
  /// How much is known about a possible end at `mark_end_`.
  enum class Stage {
    none,
    mark,   ///< a mark and what closes with it; the next character tells more
    space,  ///< white space came after it; the next letter decides
    word,   ///< the next word decides
  };
  /// In the order in which a run of marks goes by the strongest.
  enum class Mark { clause, full_stop, ellipsis, strong, wide };
  enum class Verdict { goes_on, ends, open };
  using Out = std::vector<Sentence>;

  static std::optional<Mark> mark_of(char32_t c);
  /// What `c` says about the mark before it; moves the stage on.
  Verdict judge(char32_t c);
  Verdict judge_after_mark(char32_t c);
  Verdict judge_after_space(char32_t c);
  [[nodiscard]] bool clause_may_end() const;
  [[nodiscard]] std::u32string word_before_mark() const;
  void append(const SpokenChar& c);
  void cut(std::size_t count, bool complete, const SpokenChar* next, Out& out);
  void cut_long(Out& out);
  [[nodiscard]] std::size_t best_cut(bool anywhere) const;
  void clear();

  SentenceOptions options_;
  std::vector<SpokenChar> pending_;  ///< since the last cut, without white space before it
  std::size_t bytes_ = 0;            ///< of `pending_` as UTF-8
  std::size_t next_check_ = 0;       ///< `bytes_` from which a cut is looked for; 0: options_.max_bytes
  std::size_t words_ = 0;            ///< in `pending_`; a character of a script without spaces counts as one
  bool in_word_ = false;
  bool first_ = true;  ///< nothing was said yet
  Stage stage_ = Stage::none;
  Mark mark_ = Mark::clause;
  bool closed_ = false;                          ///< a quote or a bracket closed behind the mark
  std::size_t mark_begin_ = 0;                   ///< where in `pending_` the run of marks begins
  std::size_t mark_end_ = 0;                     ///< where it ends, what closes included
  std::size_t word_begin_ = 0;                   ///< where the word after it begins
  Abbreviation word_kind_ = Abbreviation::none;  ///< of the word before a full stop
};

}  // namespace qwen35
