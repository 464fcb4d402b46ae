// What steers a reply: stop strings, forms, loops, penalties, log-probabilities, guesses from the context.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/chat.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "chat/fakes.h"
#include "chat/lookup.h"

namespace qwen35 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing_doubles::greedy;
using testing_doubles::make_chat;
using testing_doubles::Stage;

constexpr const char* kNoThought = "<think>\n\n</think>\n\n";

class ControlTest : public testing::Test {
 protected:
  void answers(const std::vector<std::string>& texts) {
    stage_->script.clear();
    for (const std::string& text : texts) stage_->script.push_back(kNoThought + text + "<|im_end|>");
  }
  static std::string refusal(const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      return error.what();
    }
    return "no error";
  }

  std::shared_ptr<Stage> stage_ = std::make_shared<Stage>();
  Chat chat_ = make_chat(stage_);
};

TEST_F(ControlTest, AStopStringEndsTheReplyAndTheHistoryEndsThereToo) {
  answers({"one two three", "next"});
  GenerateOptions options = greedy();
  options.stop = {"tw", "zzz"};
  std::string streamed;
  for (const std::string_view piece : chat_.stream("Hi", options)) streamed += piece;
  EXPECT_EQ(streamed, "one");
  EXPECT_EQ(chat_.last_reply().text, "one");
  EXPECT_EQ(chat_.last_reply().finish_reason, FinishReason::stop);
  EXPECT_EQ(chat_.generate("More", greedy()), "next");
  EXPECT_THAT(stage_->text(), HasSubstr("</think>\n\none<|im_end|>\n<|im_start|>user\nMore"));
}

TEST_F(ControlTest, ALoopEndsTheReplyByName) {
  answers({std::string(3000, 'a')});
  GenerateOptions options = greedy();
  options.max_tokens = 3000;
  chat_.generate("Hi", options);
  EXPECT_EQ(chat_.last_reply().finish_reason, FinishReason::loop);
  EXPECT_EQ(to_string(FinishReason::loop), "loop");
  EXPECT_LT(chat_.last_reply().text.size(), 600U);
  options.loop_guard = false;
  EXPECT_EQ(chat_.regenerate(options).size(), 3000U);
}

TEST_F(ControlTest, AThoughtInCirclesIsEndedAndTheAnswerComes) {
  std::string thought;
  while (thought.size() < 3000) thought += "wait, ";
  stage_->script = {"<think>\n" + thought + "\n</think>\n\nok<|im_end|>"};
  GenerateOptions options = greedy(true);
  options.max_thinking_tokens = 2900;
  EXPECT_EQ(chat_.generate("Hi", options), "ok");
  EXPECT_EQ(chat_.last_reply().finish_reason, FinishReason::stop);
  EXPECT_LT(chat_.last_reply().metrics.thinking_tokens, 1000U);
}

TEST_F(ControlTest, NgramsAndBiasesBarTokens) {
  answers({"ababab"});
  GenerateOptions options = greedy();
  options.no_repeat_ngram = 2;
  options.max_tokens = 6;
  EXPECT_THAT(chat_.generate("Hi", options), Not(HasSubstr("abab")));
  options = greedy();
  options.max_tokens = 3;
  options.logit_bias = {{'a', -100}};
  EXPECT_THAT(chat_.regenerate(options), Not(HasSubstr("a")));
  options.logit_bias = {{100000, 1}};
  EXPECT_THAT(refusal([&] { chat_.regenerate(options); }), HasSubstr("logit_bias[0] names token 100000"));
}

TEST_F(ControlTest, LogprobsAreTheModelsOwn) {
  answers({"ab"});
  GenerateOptions options = greedy();
  options.logprobs = true;
  options.top_logprobs = 3;
  const Reply reply = chat_.stream("Hi", options, {});
  ASSERT_EQ(reply.logprobs.size(), 2U) << "one a token of the text";
  EXPECT_EQ(reply.logprobs[0].bytes, "a");
  EXPECT_EQ(reply.logprobs[1].id, 'b');
  ASSERT_EQ(reply.logprobs[0].top.size(), 3U);
  EXPECT_GT(reply.logprobs[0].top[0].logprob, reply.logprobs[0].top[1].logprob);
  EXPECT_LE(reply.logprobs[0].logprob, 0);
  options.top_logprobs = 21;
  EXPECT_THAT(refusal([&] { chat_.regenerate(options); }), HasSubstr("top_logprobs"));
}

/// 200 replies of a model whose logits are noise: every one parses, however short its budget.
TEST_F(ControlTest, EveryConstrainedReplyParses) {
  const std::string schema = R"({"type": "object", "properties": {
      "name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "minimum": 0, "maximum": 130},
      "tags": {"type": "array", "items": {"enum": ["red", "green"]}, "maxItems": 4}},
      "required": ["name", "age"], "additionalProperties": false})";
  stage_->script.assign(300, "");  // what it would say is never legal, so that its noise decides
  int whole = 0;
  for (int i = 0; i < 200; ++i) {
    GenerateOptions options;
    options.temperature = 1;
    options.seed = static_cast<std::uint64_t>(i);
    options.enable_thinking = i % 2 == 0;
    options.max_thinking_tokens = 5;
    options.max_tokens = 20 + i % 60;
    options.json_schema = schema;
    options.stop = {};
    chat_.reset_conversation();
    const std::string text = chat_.generate("Who?", options);
    const auto json = nlohmann::json::parse(text, nullptr, false);
    EXPECT_TRUE(json.is_object() && json.contains("name") && json.contains("age")) << text;
    EXPECT_LE(chat_.last_reply().metrics.reply_tokens, static_cast<std::size_t>(options.max_tokens));
    if (chat_.last_reply().finish_reason == FinishReason::stop) ++whole;
  }
  EXPECT_GT(whole, 100);
}

TEST_F(ControlTest, FormsThatCannotBeKeptAreRefused) {
  answers({"x"});
  GenerateOptions options = greedy();
  options.json_schema = R"({"type": "object", "minProperties": 3})";
  EXPECT_THAT(refusal([&] { chat_.generate("Hi", options); }), HasSubstr("minProperties"));
  options.json_schema = R"({"type": "string", "minLength": 50})";
  options.max_tokens = 20;
  EXPECT_THAT(refusal([&] { chat_.generate("Hi", options); }), HasSubstr("max_tokens is 20"));
  options.json_object = true;
  EXPECT_THAT(refusal([&] { chat_.generate("Hi", options); }), HasSubstr("more than one"));
  options = greedy();
  options.grammar = "root ::= missing";
  EXPECT_NE(refusal([&] { chat_.generate("Hi", options); }), "no error");
  EXPECT_TRUE(chat_.messages().empty());
}

TEST_F(ControlTest, AGrammarShapesTheAnswerAfterTheThinking) {
  stage_->script = {"<think>\nhm\n</think>\n\nyes<|im_end|>"};
  GenerateOptions options = greedy(true);
  options.grammar = R"(root ::= "yes" | "no")";
  EXPECT_EQ(chat_.generate("Well?", options), "yes");
  EXPECT_EQ(chat_.last_reply().thinking, "hm");
  EXPECT_EQ(chat_.last_reply().finish_reason, FinishReason::stop);
  EXPECT_THAT(stage_->text(), HasSubstr("hm\n</think>\n\nye"));
}

TEST_F(ControlTest, GuessesChangeNothingButTheNumberOfPasses) {
  const std::string said = "the cat sat on the mat and the dog sat on the mat and the cat sat on the mat.";
  for (const float temperature : {0.0F, 1.0F}) {
    for (const bool thinking : {false, true}) {
      GenerateOptions options = greedy(thinking);
      options.temperature = temperature;
      options.top_k = 3;
      options.seed = 5;
      options.max_tokens = 120;
      std::vector<std::string> replies;
      std::vector<std::size_t> passes;
      for (const std::size_t most : {1U, 4U, 8U}) {
        auto stage = std::make_shared<Stage>();
        stage->max_verify = most;
        stage->script = {"<think>\nthe cat sat on\n</think>\n\n" + said + "<|im_end|>",
                         kNoThought + said + "<|im_end|>"};
        Chat chat = make_chat(stage);
        replies.push_back(chat.generate("Say: " + said, options) + chat.last_reply().thinking);
        passes.push_back(stage->passes.size());
        const Metrics metrics = chat.last_reply().metrics;
        EXPECT_LE(metrics.accepted_tokens, metrics.drafted_tokens);
        EXPECT_EQ(chat.generate("Again", options), said) << "the state was left as it should be";
      }
      EXPECT_EQ(replies[1], replies[0]);
      EXPECT_EQ(replies[2], replies[0]);
      EXPECT_LT(passes[2], passes[0] * 3 / 4);
    }
  }
}

TEST(Lookup, GuessesWhatFollowedTheSameTokensLastTime) {
  Lookup lookup;
  std::vector<TokenId> tokens = {1, 2, 3, 4, 5, 6, 1, 2, 3};
  EXPECT_THAT(lookup.guess(tokens, 8), ElementsAre(4, 5));
  lookup.learn(2, 2);
  tokens = {1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6};
  EXPECT_THAT(lookup.guess(tokens, 8), ElementsAre(1, 2, 3, 4)) << "right guesses make longer ones";
  EXPECT_THAT(lookup.guess(tokens, 1), ElementsAre(1));
  EXPECT_TRUE(Lookup().guess(std::vector<TokenId>{1, 2}, 8).empty());
  EXPECT_TRUE(Lookup().guess(std::vector<TokenId>{7, 7, 7}, 8).empty());
}

TEST(Lookup, WrongGuessesMakeItPause) {
  Lookup lookup;
  std::vector<TokenId> tokens = {1, 2, 3, 4, 1, 2, 3};
  ASSERT_FALSE(lookup.guess(tokens, 8).empty());
  lookup.learn(2, 0);
  int silent = 0;
  while (lookup.guess(tokens, 8).empty() && silent < 100) ++silent;
  EXPECT_GT(silent, 3);
  EXPECT_LT(silent, 100);
}

}  // namespace
}  // namespace qwen35
