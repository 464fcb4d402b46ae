// Bytes as a reply to speak: whole or in pieces the same sentences, well-formed, in order, within the limits.

#include <qwen35/sentences.h>

#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "text/utf8.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  qwen35::SentenceOptions options;
  options.max_bytes = 16 + data[0] % 64;
  const std::size_t step = 1 + data[1] % 16;
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::vector<qwen35::Sentence> whole = qwen35::split_sentences(text, options);
  std::vector<qwen35::Sentence> pieces;
  qwen35::SentenceStream stream(options);
  for (std::size_t pos = 0; pos < text.size(); pos += step) {
    for (auto& sentence : stream.push(text.substr(pos, step))) pieces.push_back(std::move(sentence));
  }
  for (auto& sentence : stream.finish()) pieces.push_back(std::move(sentence));
  require(whole.size() == pieces.size());
  std::size_t end = 0;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    require(whole[i].text == pieces[i].text && whole[i].end == pieces[i].end);
    require(qwen35::is_valid_utf8(whole[i].text) && whole[i].text.size() <= 5 * options.max_bytes);
    require(whole[i].begin >= end && whole[i].begin < whole[i].end && whole[i].end <= text.size());
    require(!whole[i].words.empty() && whole[i].words.back().source_end == whole[i].end);
    end = whole[i].end;
  }
  return 0;
}
