#pragma once

#include <qwen35/sentences.h>

#include <cstddef>
#include <vector>

namespace qwen35 {

/// How far a player has come in the sentences of one reply.
struct Playback {
  std::size_t sentences = 0;  ///< played to the end
  std::size_t bytes = 0;      ///< of the text of the next one
};

/// Bytes of the reply's text that were heard.
std::size_t heard_bytes(const std::vector<Sentence>& sentences, const Playback& playback);

}  // namespace qwen35
