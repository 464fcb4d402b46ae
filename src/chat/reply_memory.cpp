#include "chat/reply_memory.h"

#include <qwen35/error.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "chat/answer_text.h"
#include "text/chat_template.h"

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

}  // namespace

bool same_message(const Message& kept, const Message& given) {
  if (kept.role != given.role) return false;
  if (kept.role != "assistant") return kept.content == given.content;
  return trimmed(kept.content) == trimmed(given.content) && same_calls(kept.tool_calls, given.tool_calls);
}

void ReplyMemory::remember(Reply reply) {
  const auto known = std::find_if(replies_.begin(), replies_.end(), [&](const Reply& other) {
    return other.before == reply.before && same_message(other.message, reply.message);
  });
  if (known != replies_.end()) {
    tokens_ -= known->tokens.size();
    replies_.erase(known);
  }
  tokens_ += reply.tokens.size();
  replies_.push_back(std::move(reply));
  while (tokens_ > kMostTokens && replies_.size() > 1) {
    tokens_ -= replies_.front().tokens.size();
    replies_.pop_front();
  }
}

const ReplyMemory::Reply* ReplyMemory::find(const TokenHash& before, const Message& given) const {
  const auto found = std::find_if(replies_.rbegin(), replies_.rend(), [&](const Reply& reply) {
    return reply.before == before && same_message(reply.message, given);
  });
  return found == replies_.rend() ? nullptr : &*found;
}

void ReplyMemory::clear() {
  replies_.clear();
  tokens_ = 0;
}

}  // namespace qwen35
