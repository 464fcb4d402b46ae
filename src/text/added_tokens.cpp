#include "text/added_tokens.h"

#include <algorithm>

namespace qwen35 {
namespace {

unsigned char byte_at(std::string_view text, std::size_t i) { return static_cast<unsigned char>(text[i]); }

}  // namespace

void AddedTokenMatcher::add(std::string content, TokenId id) { tokens_.push_back({std::move(content), id}); }

void AddedTokenMatcher::finish() {
  std::sort(tokens_.begin(), tokens_.end(), [](const Token& a, const Token& b) { return a.content < b.content; });
  first_byte_.assign(256, false);
  for (const Token& token : tokens_) first_byte_[byte_at(token.content, 0)] = true;
}

std::optional<AddedTokenMatcher::Match> AddedTokenMatcher::find(std::string_view text, std::size_t from,
                                                                std::size_t end) const {
  if (tokens_.empty()) return std::nullopt;
  for (std::size_t begin = from; begin < end; ++begin) {
    if (!first_byte_[byte_at(text, begin)]) continue;
    // Narrow the sorted tokens to those that share one more byte with the text, as in a trie.
    auto first = tokens_.begin();
    auto last = tokens_.end();
    std::optional<Match> longest;
    for (std::size_t length = 0; first != last; ++length) {
      if (first->content.size() == length) {  // the shortest sorts first
        longest = Match{begin, begin + length, first->id};
        ++first;
      }
      if (begin + length == end) break;
      const unsigned char next = byte_at(text, begin + length);
      first = std::partition_point(first, last, [&](const Token& t) { return byte_at(t.content, length) < next; });
      last = std::partition_point(first, last, [&](const Token& t) { return byte_at(t.content, length) == next; });
    }
    if (longest) return longest;
  }
  return std::nullopt;
}

std::optional<TokenId> AddedTokenMatcher::exact(std::string_view content) const {
  const auto found = std::lower_bound(tokens_.begin(), tokens_.end(), content,
                                      [](const Token& token, std::string_view text) { return token.content < text; });
  if (found == tokens_.end() || found->content != content) return std::nullopt;
  return found->id;
}

std::size_t AddedTokenMatcher::memory_bytes() const {
  std::size_t bytes = tokens_.capacity() * sizeof(Token);
  for (const Token& token : tokens_) bytes += token.content.capacity();
  return bytes;
}

}  // namespace qwen35
