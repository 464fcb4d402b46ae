#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

namespace qwen35::load {

/// What conversations are like.
struct ConversationShape {
  std::size_t turns = 4;      ///< of the longest; each has from 1 to this many
  std::size_t sentences = 4;  ///< of the longest question
  std::string system;         ///< "": none
};

/// A conversation whose questions are drawn from a seed. No two begin alike, so that what a server knows of one is of
/// no use to another; within one, each turn repeats all before it.
class Conversation {
 public:
  Conversation(const ConversationShape& shape, std::size_t number, std::uint64_t seed);

  /// The messages of the next turn, the last one a new question.
  const nlohmann::json& ask();
  /// What came of it: an answer, or "" for none; then the question is taken back and the conversation is over.
  void answer(std::string text);
  [[nodiscard]] bool over() const { return turns_left_ == 0; }

 private:
  std::string question();

  const ConversationShape& shape_;
  std::mt19937_64 random_;
  std::size_t number_;
  std::size_t turns_left_;
  nlohmann::json messages_ = nlohmann::json::array();
};

}  // namespace qwen35::load
