#include "voice/heard.h"

#include <algorithm>

namespace qwen35 {

std::size_t heard_bytes(const std::vector<Sentence>& sentences, const Playback& playback) {
  const std::size_t whole = std::min(playback.sentences, sentences.size());
  const std::size_t end = whole == 0 ? 0 : sentences[whole - 1].end;
  if (whole == sentences.size() || playback.bytes == 0) return end;
  const std::size_t part = sentences[whole].source_end(playback.bytes);
  return part == sentences[whole].begin ? end : part;  // not one word of it
}

}  // namespace qwen35
