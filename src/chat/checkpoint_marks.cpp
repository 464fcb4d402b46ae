#include "chat/checkpoint_marks.h"

#include <algorithm>

namespace qwen35 {

std::vector<std::size_t> checkpoint_marks(std::span<const TokenId> tokens, std::size_t from, TokenId im_start) {
  std::vector<std::size_t> messages;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] == im_start) messages.push_back(i);
  }
  std::vector<std::size_t> marks;
  std::size_t last = from;
  const auto mark = [&](std::size_t position) {
    marks.push_back(position);
    last = position;
  };
  for (std::size_t i = 1; i + 1 < messages.size(); ++i) {
    const std::size_t begin = messages[i];
    if (begin <= last) continue;
    while (begin - last > 2 * kCheckpointSpacing) mark(last + kCheckpointSpacing);
    const bool shared_or_edited = i == 1 || i + 2 == messages.size();
    if (begin - last >= (shared_or_edited ? kCheckpointLeast : kCheckpointSpacing)) mark(begin);
  }
  while (tokens.size() - last > 2 * kCheckpointSpacing) mark(last + kCheckpointSpacing);
  return marks;
}

}  // namespace qwen35
