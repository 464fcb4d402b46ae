#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace qwen35 {

/// One character to say, with the bytes of the source that it stands for.
struct SpokenChar {
  char32_t code_point = 0;  ///< a space for any white space, `block_end` where a heading, an item or a paragraph ends
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// Ends what came before, like a full stop with a pause; never a character of text.
inline constexpr char32_t block_end = U'\n';

/// Makes the text of a language model speakable: drops the marks of markdown (emphasis, code ticks, headings, rules,
/// tables, link targets, HTML tags), blocks of code and emoji, and keeps the words.
///
/// It reads one code point at a time and looks ahead at most a few (a tag's 200), so the result does not depend on how
/// the text was cut.
class Speakable {
 public:
  /// `code_block`: what to say in place of a fenced block of code.
  explicit Speakable(std::string code_block) : code_block_(std::move(code_block)) {}

  /// Takes the next code point, which stands at the bytes [begin, end), and appends what is known to `out`.
  void push(char32_t code_point, std::size_t begin, std::size_t end, std::vector<SpokenChar>& out);
  /// Ends the text at byte `end`.
  void finish(std::size_t end, std::vector<SpokenChar>& out);

 private:
  /// What the line is; `start`, `marks`, `number` and `info` while that is open.
  enum class Line { start, marks, number, info, fence, skipped, text };
  enum class Inline { text, run, escape, bang, bracket, target, tag, entity };
  using Out = std::vector<SpokenChar>;

  void at_line_start(const SpokenChar& c, Out& out);
  void after_marks(const SpokenChar& c, Out& out);
  void in_number(const SpokenChar& c, Out& out);
  void in_info(const SpokenChar& c, Out& out);
  void in_fence(const SpokenChar& c, Out& out);
  void in_text(const SpokenChar& c, Out& out);
  bool goes_on(const SpokenChar& c, Out& out);
  bool in_tag(const SpokenChar& c, Out& out);
  bool in_entity(const SpokenChar& c, Out& out);
  void end_run(char32_t next, Out& out);
  void begin_text(const SpokenChar& c, Out& out);
  void begin_block(const SpokenChar& c, Out& out);
  void open_fence(const SpokenChar& c, Out& out);
  void newline(const SpokenChar& c, Out& out);
  void emit(const SpokenChar& c, Out& out);
  void release_held(Out& out);

  std::string code_block_;

  Line line_ = Line::start;
  bool line_is_block_ = false;    ///< a heading or an item: the line's end ends it
  SpokenChar mark_;               ///< the run at the start of a line: its character and bytes
  std::size_t mark_count_ = 0;    ///< its length
  std::size_t fence_ = 0;         ///< length of the marks that opened the block of code
  char32_t fence_mark_ = 0;       ///< ` or ~
  bool only_marks_ = true;        ///< this line of the code holds nothing else so far
  std::vector<SpokenChar> held_;  ///< what may turn out to be markup

  Inline inline_ = Inline::text;
  SpokenChar run_;              ///< a run of * _ or ~: its character and bytes
  std::size_t run_count_ = 0;   ///< its length
  std::size_t code_ticks_ = 0;  ///< of the open code span; 0: none
  std::size_t tick_run_ = 0;    ///< of the run of ticks that is going on
  std::size_t depth_ = 0;       ///< of brackets in a link's target
  std::size_t length_ = 0;      ///< of that target so far
  char32_t target_end_ = 0;     ///< what ends it
  char32_t previous_ = U' ';    ///< the code point before, as the source has it
  bool in_emoji_ = false;       ///< the character before was dropped as an emoji
  std::size_t combining_ = 0;   ///< marks on the present character
};

}  // namespace qwen35
