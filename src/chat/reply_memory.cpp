#include "chat/reply_memory.h"

#include <qwen35/error.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <random>
#include <utility>

#include "chat/answer_text.h"
#include "text/chat_template.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace qwen35 {
namespace {

bool same_arguments(const std::string& a, const std::string& b) {
  if (a == b) return true;
  try {
    return nlohmann::json(parse_json(a, "arguments")) == nlohmann::json(parse_json(b, "arguments"));
  } catch (const Error&) {
    return false;
  }
}

bool same_calls(const std::vector<ToolCall>& a, const std::vector<ToolCall>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const ToolCall& x, const ToolCall& y) {
    return x.name == y.name && same_arguments(x.arguments, y.arguments);
  });
}

/// Drawn anew by each process.
const std::array<std::uint32_t, XXH3_SECRET_DEFAULT_SIZE / sizeof(std::uint32_t)>& secret_words() {
  static const auto words = [] {
    std::array<std::uint32_t, XXH3_SECRET_DEFAULT_SIZE / sizeof(std::uint32_t)> drawn{};
    std::random_device device;
    for (std::uint32_t& word : drawn) word = device();
    return drawn;
  }();
  return words;
}

std::span<const std::byte> secret() { return std::as_bytes(std::span(secret_words())); }

}  // namespace

struct TokenHash::State {
  XXH3_state_t hash;
};

bool same_message(const Message& kept, const Message& given) {
  if (kept.role != given.role) return false;
  if (kept.role != "assistant") return kept.content == given.content;
  return trimmed(kept.content) == trimmed(given.content) && same_calls(kept.tool_calls, given.tool_calls);
}

TokenHash::TokenHash() : state_(std::make_unique<State>()) {
  XXH3_128bits_reset_withSecret(&state_->hash, secret().data(), secret().size());
}

TokenHash::~TokenHash() = default;

void TokenHash::add(std::span<const TokenId> tokens) {
  XXH3_128bits_update(&state_->hash, tokens.data(), tokens.size_bytes());
  count_ += tokens.size();
}

PrefixKey TokenHash::key() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(&state_->hash);
  return {hash.low64, hash.high64, count_};
}

void ReplyMemory::remember(Reply reply) {
  const auto kept = std::make_shared<const Reply>(std::move(reply));
  const std::lock_guard hold(mutex_);
  if (const auto known = place(kept->before, kept->message); known != replies_.end()) drop(known);
  const auto last = replies_.insert(replies_.end(), kept);
  try {
    places_.emplace(kept->before, last);
  } catch (...) {
    replies_.erase(last);
    throw;
  }
  tokens_ += kept->tokens.size();
  while (tokens_ > most_tokens_ && replies_.size() > 1) drop(replies_.begin());
}

std::shared_ptr<const ReplyMemory::Reply> ReplyMemory::find(const PrefixKey& before, const Message& given) {
  const std::lock_guard hold(mutex_);
  const auto found = place(before, given);
  if (found == replies_.end()) return nullptr;
  replies_.splice(replies_.end(), replies_, found);
  return *found;
}

void ReplyMemory::clear() {
  const std::lock_guard hold(mutex_);
  places_.clear();
  replies_.clear();
  tokens_ = 0;
}

std::size_t ReplyMemory::tokens() const {
  const std::lock_guard hold(mutex_);
  return tokens_;
}

ReplyMemory::Replies::iterator ReplyMemory::place(const PrefixKey& before, const Message& given) {
  const auto [begin, end] = places_.equal_range(before);
  const auto found =
      std::find_if(begin, end, [&](const auto& entry) { return same_message((*entry.second)->message, given); });
  return found == end ? replies_.end() : found->second;
}

void ReplyMemory::drop(Replies::iterator reply) {
  const auto [begin, end] = places_.equal_range((*reply)->before);
  places_.erase(std::find_if(begin, end, [&](const auto& entry) { return entry.second == reply; }));
  tokens_ -= (*reply)->tokens.size();
  replies_.erase(reply);
}

}  // namespace qwen35
