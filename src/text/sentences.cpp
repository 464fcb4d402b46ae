#include <qwen35/error.h>
#include <qwen35/sentences.h>

#include <algorithm>

#include "text/sentence_splitter.h"
#include "text/speakable.h"
#include "text/utf8.h"

namespace qwen35 {

std::size_t Sentence::source_end(std::size_t spoken) const {
  const auto next = std::ranges::upper_bound(words, spoken, {}, &Word::text_end);
  return next == words.begin() ? begin : std::prev(next)->source_end;
}

struct SentenceStream::Impl {
  explicit Impl(const SentenceOptions& options) : speakable(to_valid_utf8(options.code_block)), splitter(options) {}

  Speakable speakable;
  SentenceSplitter splitter;
  std::string unfinished;         ///< bytes of a character whose rest is to come
  std::size_t taken = 0;          ///< bytes of the source before them
  std::vector<SpokenChar> chars;  ///< kept for its memory

  void say(std::vector<Sentence>& out) {
    for (const SpokenChar& c : chars) splitter.push(c, out);
    chars.clear();
  }
};

SentenceStream::SentenceStream(SentenceOptions options) {
  constexpr std::size_t kShortest = 16;
  if (options.max_bytes < kShortest) {
    throw Error(ErrorCode::invalid_argument, "SentenceOptions::max_bytes is " + std::to_string(options.max_bytes) +
                                                 "; it should be at least " + std::to_string(kShortest));
  }
  impl_ = std::make_unique<Impl>(options);
}
SentenceStream::SentenceStream(SentenceStream&&) noexcept = default;
SentenceStream& SentenceStream::operator=(SentenceStream&&) noexcept = default;
SentenceStream::~SentenceStream() = default;

std::vector<Sentence> SentenceStream::push(std::string_view piece) {
  std::vector<Sentence> out;
  std::string joined;
  if (!impl_->unfinished.empty()) {
    joined = impl_->unfinished;
    joined += piece;
    piece = joined;
    impl_->unfinished.clear();
  }
  while (!piece.empty()) {
    const Utf8Step step = decode_utf8(piece);
    if (step.kind == Utf8Step::Kind::cut) {
      impl_->unfinished = piece;
      break;
    }
    if (step.kind == Utf8Step::Kind::valid) {
      impl_->speakable.push(step.code_point, impl_->taken, impl_->taken + step.length, impl_->chars);
      impl_->say(out);
    }
    impl_->taken += step.length;
    piece.remove_prefix(step.length);
  }
  return out;
}

std::vector<Sentence> SentenceStream::finish() {
  std::vector<Sentence> out;
  impl_->speakable.finish(impl_->taken + impl_->unfinished.size(), impl_->chars);
  impl_->say(out);
  impl_->splitter.finish(out);
  impl_->unfinished.clear();
  impl_->taken = 0;
  return out;
}

std::vector<Sentence> split_sentences(std::string_view text, const SentenceOptions& options) {
  SentenceStream stream(options);
  std::vector<Sentence> out = stream.push(text);
  std::vector<Sentence> rest = stream.finish();
  out.insert(out.end(), std::make_move_iterator(rest.begin()), std::make_move_iterator(rest.end()));
  return out;
}

}  // namespace qwen35
