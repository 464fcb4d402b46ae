#pragma once

#include <qwen35/chat.h>
#include <qwen35/sentences.h>

#include <cstddef>
#include <string_view>
#include <vector>

namespace qwen35 {

/// How far a player has come in the sentences of one reply.
struct Playback {
  std::size_t sentences = 0;  ///< played to the end
  std::size_t bytes = 0;      ///< of the text of the next one
};

/// Bytes of the reply's text that were heard.
std::size_t heard_bytes(const std::vector<Sentence>& sentences, const Playback& playback);

/// Cuts the last reply in the history of `chat` down to `heard`, a prefix of its text; `text` is all of it.
void keep_heard(Chat& chat, std::string_view text, std::string_view heard);

}  // namespace qwen35
