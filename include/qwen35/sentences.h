#pragma once

/// A stream of text turned into what a voice can say: sentence by sentence, as early as sound allows.
///
///     qwen35::SentenceStream sentences;
///     for (std::string_view piece : chat.stream("Tell me about rain"))
///       for (const qwen35::Sentence& sentence : sentences.push(piece)) speak(sentence.text);
///     for (const qwen35::Sentence& sentence : sentences.finish()) speak(sentence.text);

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace qwen35 {

struct SentenceOptions {
  /// The first chunk may end before its sentence does, so that sound starts early: at a clause mark (, ; : or a dash)
  /// once it has this many words, 0: never. A character of a script without spaces counts as a word.
  std::size_t first_clause_words = 3;
  /// ... or between two words once it has this many, 0: never.
  std::size_t first_words = 14;
  /// Most bytes of UTF-8 in a chunk, at least 16: a longer sentence is cut at a clause mark, else between words, else
  /// between characters. A single number or character may run to five times as much before it is cut.
  std::size_t max_bytes = 400;
  /// What is said in place of a fenced block of code, e.g. "The code is on the screen."; empty: nothing.
  std::string code_block;
};

/// Something to say: a sentence, a heading, an item of a list, or a part of a long sentence.
struct Sentence {
  std::string text;  ///< what to say: no markdown, no emoji, single spaces
  /// The bytes [begin, end) of everything pushed so far that it was made from. What was pushed, cut at `end`, is what a
  /// listener has heard once this has been said: right for Chat::truncate_reply.
  std::size_t begin = 0;
  std::size_t end = 0;
  bool complete = true;  ///< false: the sentence goes on in the next chunk

  struct Word {
    std::size_t text_end;    ///< bytes of `text` up to the end of this word
    std::size_t source_end;  ///< as `end`, for the end of this word
  };
  std::vector<Word> words;  ///< in order; a character of a script without spaces is a word

  /// The `end` of what was heard when only the first `spoken` bytes of `text` were said: that of the last word that is
  /// whole by then, or `begin`.
  [[nodiscard]] std::size_t source_end(std::size_t spoken) const;
};

/// Splits a stream of UTF-8. However the text is cut into pieces, the sentences are the same. Time is linear in the
/// text; memory is bounded by the options. Ill-formed bytes are dropped. Not thread-safe; movable.
class SentenceStream {
 public:
  /// Throws invalid_argument for a max_bytes under 16.
  explicit SentenceStream(SentenceOptions options = {});
  SentenceStream(SentenceStream&&) noexcept;
  SentenceStream& operator=(SentenceStream&&) noexcept;
  ~SentenceStream();

  /// The sentences that `piece` completes.
  std::vector<Sentence> push(std::string_view piece);
  /// Ends the text: what is left. The stream is then as new.
  std::vector<Sentence> finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// All sentences of a whole text.
std::vector<Sentence> split_sentences(std::string_view text, const SentenceOptions& options = {});

}  // namespace qwen35
