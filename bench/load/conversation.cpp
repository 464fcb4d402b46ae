#include "conversation.h"

#include <array>
#include <string_view>
#include <utility>

namespace qwen35::load {
namespace {

constexpr auto kQuestions = std::to_array<std::string_view>({
    "What is the capital of France?",
    "Tell me a joke about computers.",
    "Why is the sky blue?",
    "Set a timer for five minutes and tell me when it is done.",
    "How many minutes are there in an hour?",
    "What should I cook for dinner today?",
    "My favourite colour is green, please remember that.",
    "Write one sentence about the ocean.",
    "What is gravity?",
    "How is the weather in Oslo tomorrow?",
    "Name three cities in Europe.",
    "Please answer in a few words only.",
    "What is ten plus seven?",
    "I live in a small town near the mountains.",
    "Can you help me with my homework?",
    "Which animal is the fastest one on land?",
});

}  // namespace

Conversation::Conversation(const ConversationShape& shape, std::size_t number, std::uint64_t seed)
    : shape_(shape),
      random_(seed * 0x9E3779B97F4A7C15U + number),
      number_(number),
      turns_left_(std::uniform_int_distribution<std::size_t>(1, shape.turns)(random_)) {
  if (!shape.system.empty()) messages_.push_back({{"role", "system"}, {"content", shape.system}});
}

std::string Conversation::question() {
  const bool first = messages_.empty() || messages_.back()["role"] == "system";
  std::string text = first ? "This is conversation number " + std::to_string(number_) + "." : std::string();
  const auto count = std::uniform_int_distribution<std::size_t>(1, shape_.sentences)(random_);
  std::uniform_int_distribution<std::size_t> any(0, kQuestions.size() - 1);
  for (std::size_t i = 0; i < count; ++i) {
    if (!text.empty()) text += ' ';
    text += kQuestions[any(random_)];
  }
  return text;
}

const nlohmann::json& Conversation::ask() {
  messages_.push_back({{"role", "user"}, {"content", question()}});
  return messages_;
}

void Conversation::answer(std::string text) {
  if (text.empty()) {
    messages_.erase(messages_.size() - 1);
    turns_left_ = 0;
    return;
  }
  messages_.push_back({{"role", "assistant"}, {"content", std::move(text)}});
  --turns_left_;
}

}  // namespace qwen35::load
