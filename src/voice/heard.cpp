#include "voice/heard.h"

#include <algorithm>
#include <string>

namespace qwen35 {

std::size_t heard_bytes(const std::vector<Sentence>& sentences, const Playback& playback) {
  const std::size_t whole = std::min(playback.sentences, sentences.size());
  const std::size_t end = whole == 0 ? 0 : sentences[whole - 1].end;
  if (whole == sentences.size() || playback.bytes == 0) return end;
  const std::size_t part = sentences[whole].source_end(playback.bytes);
  return part == sentences[whole].begin ? end : part;  // not one word of it
}

void keep_heard(Chat& chat, std::string_view text, std::string_view heard) {
  if (!text.starts_with(heard)) {
    throw Error(ErrorCode::invalid_argument, "what was heard (\"" + std::string(heard) +
                                                 "\") is no prefix of the reply (\"" + std::string(text) +
                                                 "\"); pass the reply's own text up to the last word played");
  }
  if (heard.size() == text.size()) return;
  std::vector<Message> messages = chat.messages();
  if (messages.empty() || messages.back().role != "assistant") return;
  messages.back().content = heard;
  messages.back().tool_calls.clear();
  chat.set_messages(std::move(messages));
}

}  // namespace qwen35
