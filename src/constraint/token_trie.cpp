#include "constraint/token_trie.h"

#include <algorithm>

namespace qwen35 {
namespace {

/// A longer token is left out: no grammar needs it, and depths fit into a byte.
constexpr std::size_t longest_token = 255;

}  // namespace

TokenTrie::TokenTrie(const Tokenizer& tokenizer) : vocabulary_size_(tokenizer.size()) {
  build([&](TokenId id) { return tokenizer.is_added(id) ? std::string_view() : tokenizer.token_bytes(id); });
}

TokenTrie::TokenTrie(std::size_t size, const std::function<std::string_view(TokenId)>& bytes_of)
    : vocabulary_size_(size) {
  build(bytes_of);
}

void TokenTrie::build(const std::function<std::string_view(TokenId)>& bytes_of) {
  text_at_.reserve(vocabulary_size_ + 1);
  for (std::size_t id = 0; id < vocabulary_size_; ++id) {
    text_at_.push_back(static_cast<std::uint32_t>(text_.size()));
    const std::string_view text = bytes_of(static_cast<TokenId>(id));
    if (text.empty() || text.size() > longest_token) continue;
    text_.insert(text_.end(), text.begin(), text.end());
    tokens_.push_back(static_cast<TokenId>(id));
    longest_ = std::max(longest_, text.size());
  }
  text_at_.push_back(static_cast<std::uint32_t>(text_.size()));
  std::sort(tokens_.begin(), tokens_.end(), [this](TokenId a, TokenId b) {
    const int order = bytes(a).compare(bytes(b));
    return order != 0 ? order < 0 : a < b;
  });
  // Each token shares the path of its common prefix with the one before it.
  std::vector<std::uint32_t> path{0};
  const auto add = [this](std::uint8_t byte, std::size_t depth, std::size_t first) {
    bytes_.push_back(byte);
    depths_.push_back(static_cast<std::uint8_t>(depth));
    ends_.push_back(0);
    first_token_.push_back(static_cast<std::uint32_t>(first));
  };
  const auto close_to = [&](std::size_t depth) {
    while (path.size() > depth + 1) {
      ends_[path.back()] = static_cast<std::uint32_t>(bytes_.size());
      path.pop_back();
    }
  };
  add(0, 0, 0);
  std::string_view before;
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const std::string_view text = bytes(tokens_[i]);
    const auto same = std::mismatch(before.begin(), before.end(), text.begin(), text.end());
    const auto common = static_cast<std::size_t>(same.second - text.begin());
    close_to(common);
    for (std::size_t k = common; k < text.size(); ++k) {
      path.push_back(static_cast<std::uint32_t>(bytes_.size()));
      add(static_cast<std::uint8_t>(text[k]), k + 1, i);
    }
    before = text;
  }
  close_to(0);
  ends_[0] = static_cast<std::uint32_t>(bytes_.size());
  first_token_.push_back(static_cast<std::uint32_t>(tokens_.size()));
  root_children_.assign(256, 0);
  for (std::uint32_t n = 1; n < ends_[0]; n = ends_[n]) root_children_[bytes_[n]] = n;
  for (auto* column : {&bytes_, &depths_}) column->shrink_to_fit();
  for (auto* column : {&ends_, &first_token_}) column->shrink_to_fit();
  text_.shrink_to_fit();
}

std::string_view TokenTrie::bytes(TokenId id) const {
  if (id < 0 || static_cast<std::size_t>(id) >= vocabulary_size_) return {};
  const auto i = static_cast<std::size_t>(id);
  return {text_.data() + text_at_[i], text_at_[i + 1] - text_at_[i]};
}

std::optional<std::uint32_t> TokenTrie::child(std::uint32_t node, std::uint8_t byte) const {
  if (node == 0) {
    const std::uint32_t found = root_children_[byte];
    return found == 0 ? std::nullopt : std::optional(found);
  }
  for (std::uint32_t n = node + 1; n < ends_[node]; n = ends_[n]) {
    if (bytes_[n] == byte) return n;
    if (bytes_[n] > byte) break;
  }
  return std::nullopt;
}

std::size_t TokenTrie::memory_bytes() const {
  return bytes_.capacity() + depths_.capacity() + text_.capacity() + tokens_.capacity() * sizeof(TokenId) +
         (ends_.capacity() + first_token_.capacity() + text_at_.capacity()) * sizeof(std::uint32_t);
}

}  // namespace qwen35
