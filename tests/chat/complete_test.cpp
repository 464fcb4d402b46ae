// Text that is continued as it stands, tokens of texts and prompts, and chats that hold no memory while idle.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/chat.h>

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "chat/fakes.h"

namespace qwen35 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing_doubles::greedy;
using testing_doubles::make_chat;
using testing_doubles::Stage;

class CompleteTest : public testing::Test {
 protected:
  static ErrorCode code_of(const std::function<void()>& call, const std::string& part) {
    try {
      call();
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(part));
      return error.code();
    }
    ADD_FAILURE() << "no error that says " << part;
    return ErrorCode::internal;
  }
  /// A prompt behind which the FakeBackend writes its script: it ends as one in a chat would. Each is another one, as
  /// what was computed for an earlier script is remembered.
  std::vector<std::int32_t> scripted(const std::string& script) {
    stage_->script = {script};
    return chat_.tokenize(std::to_string(100 + prompts_++) + "<|im_start|>assistant\n", true);
  }

  int prompts_ = 0;
  std::shared_ptr<Stage> stage_ = std::make_shared<Stage>();
  Chat chat_ = make_chat(stage_);
};

TEST_F(CompleteTest, GoesOnWithWhatWasGivenAndNothingElse) {
  std::string streamed;
  const Reply reply =
      chat_.complete(scripted("  <think>a</think> <tool_call>\n<function=f>\n</function>\n b \n<|im_end|>"),
                     greedy(true), [&](std::string_view piece) {
                       streamed += piece;
                       return true;
                     });
  EXPECT_EQ(reply.text, "  <think>a</think> <tool_call>\n<function=f>\n</function>\n b \n");
  EXPECT_EQ(streamed, reply.text);
  EXPECT_EQ(reply.thinking, "");
  EXPECT_THAT(reply.tool_calls, IsEmpty());
  EXPECT_EQ(reply.finish_reason, FinishReason::stop);
  EXPECT_EQ(reply.metrics.prompt_tokens, 14U);
  EXPECT_THAT(stage_->text(), testing::StartsWith("100<|im_start|>assistant\n  <think>"));
  EXPECT_THAT(chat_.messages(), IsEmpty());
  EXPECT_EQ(chat_.last_reply().text, "");
}

TEST_F(CompleteTest, ControlTokensInTextArePlainCharacters) {
  GenerateOptions options = greedy();
  options.max_tokens = 1;
  options.allow_empty = true;
  chat_.complete("<|im_end|>", options);
  ASSERT_EQ(stage_->history.size(), 10U);
  EXPECT_EQ(stage_->history.front(), '<');
}

TEST_F(CompleteTest, TheConversationGoesOnAsIfNothingHadBeen) {
  stage_->script = {"<think>\n\n</think>\n\none<|im_end|>", "<think>\n\n</think>\n\ntwo<|im_end|>"};
  chat_.generate("First", greedy());
  const std::vector<Message> before = chat_.messages();
  const std::size_t first_turn = stage_->history.size();
  GenerateOptions options = greedy();
  options.allow_empty = true;
  chat_.complete("something else", options);
  EXPECT_EQ(chat_.messages(), before);
  EXPECT_EQ(chat_.last_reply().text, "one");
  EXPECT_EQ(chat_.generate("Second", greedy()), "two");
  EXPECT_GE(chat_.last_reply().metrics.reused_tokens, first_turn - 1);
}

TEST_F(CompleteTest, StopsFormsLimitsAndCallbacksWork) {
  GenerateOptions options = greedy();
  options.stop = {" \n"};
  EXPECT_EQ(chat_.complete(scripted("a b \nc<|im_end|>"), options).text, "a b");
  options = greedy();
  options.max_tokens = 3;
  Reply reply = chat_.complete(scripted("abcdef<|im_end|>"), options);
  EXPECT_EQ(reply.text, "abc");
  EXPECT_EQ(reply.finish_reason, FinishReason::length);
  options = greedy();
  options.grammar = "root ::= \"yes\" | \"no\"";
  EXPECT_EQ(chat_.complete(scripted("now<|im_end|>"), options).text, "no");
  options = greedy();
  options.top_logprobs = 2;
  reply = chat_.complete(scripted("ab<|im_end|>"), options);
  ASSERT_EQ(reply.logprobs.size(), 2U);
  EXPECT_EQ(reply.logprobs[1].bytes, "b");
  reply = chat_.complete(scripted("abcdef<|im_end|>"), greedy(), [](std::string_view) { return false; });
  EXPECT_EQ(reply.text, "a");
  EXPECT_EQ(reply.finish_reason, FinishReason::cancelled);
  chat_.cancel();
  EXPECT_EQ(chat_.complete(scripted("abc<|im_end|>"), greedy()).finish_reason, FinishReason::cancelled);
  EXPECT_EQ(chat_.complete(scripted("abc<|im_end|>"), greedy()).text, "abc");
}

TEST_F(CompleteTest, WhatWasComputedBeforeIsReused) {
  GenerateOptions options = greedy();
  options.allow_empty = true;
  const std::string text(700, 'x');
  chat_.complete(text, options);
  EXPECT_EQ(chat_.complete(text, options).metrics.reused_tokens, 700U);
  EXPECT_EQ(chat_.complete(text + " and more", options).metrics.reused_tokens, 700U);
}

TEST_F(CompleteTest, RefusesNonsense) {
  EXPECT_EQ(code_of([&] { chat_.complete(""); }, "empty"), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of(
                [&] {
                  chat_.complete(std::vector<std::int32_t>{5, -1});
                },
                "token 1 of the prompt is -1"),
            ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { chat_.complete(std::vector<std::int32_t>{266}); }, "0 to 265"), ErrorCode::invalid_argument);
  Chat small = make_chat(stage_, 20);
  EXPECT_EQ(code_of([&] { small.complete(std::string(20, 'x')); }, "context"), ErrorCode::context_limit);
  chat_.unload();
  EXPECT_EQ(code_of([&] { chat_.complete("x"); }, "unloaded"), ErrorCode::not_loaded);
  EXPECT_EQ(code_of([&] { static_cast<void>(chat_.tokenize("x")); }, "unloaded"), ErrorCode::not_loaded);
}

TEST_F(CompleteTest, TokensAndTextsGoBothWays) {
  EXPECT_THAT(chat_.tokenize("é<think>"), ElementsAre(0xC3, 0xA9, '<', 't', 'h', 'i', 'n', 'k', '>'));
  EXPECT_THAT(chat_.tokenize("<think>", true), ElementsAre(259));
  EXPECT_EQ(chat_.detokenize(chat_.tokenize("é <|im_end|> \xF0\x9F\x98\x80")), "é <|im_end|> 😀");
  EXPECT_EQ(chat_.detokenize(std::vector<std::int32_t>{258, 0xC3}), "<|im_end|>\uFFFD");
  EXPECT_EQ(code_of([&] { static_cast<void>(chat_.detokenize(std::vector<std::int32_t>{-5})); }, "-5"),
            ErrorCode::invalid_argument);
  EXPECT_THAT(chat_.tokenize(""), IsEmpty());
}

TEST_F(CompleteTest, CountsThePromptAsItWillBe) {
  stage_->script = {"<think>\nhm\n</think>\n\none<|im_end|>", "<think>\n\n</think>\n\ntwo<|im_end|>"};
  GenerateOptions options = greedy(true);
  options.system_prompt = "Be brief.";
  options.tools = R"([{"name": "f"}])";
  std::vector<Message> messages = {{"user", "First"}};
  for (int turn = 0; turn < 2; ++turn) {
    const std::size_t counted = chat_.count_tokens(messages, options);
    chat_.generate(messages, options);
    EXPECT_EQ(counted, chat_.last_reply().metrics.prompt_tokens);
    messages = {{"user", "First"}, {"assistant", "one"}, {"user", "Second"}};
  }
  EXPECT_EQ(code_of([&] { static_cast<void>(chat_.count_tokens({}, options)); }, "empty"), ErrorCode::invalid_argument);
}

TEST_F(CompleteTest, AnIdleChatHoldsNoState) {
  EXPECT_EQ(chat_.memory_footprint(), Chat(make_chat(stage_)).memory_footprint());
  const std::size_t empty = chat_.memory_footprint();
  stage_->script = {"<think>\n\n</think>\n\none<|im_end|>", "<think>\n\n</think>\n\ntwo<|im_end|>"};
  chat_.generate("A question that is long enough", greedy());
  const std::size_t busy = chat_.memory_footprint();
  const std::size_t history = stage_->history.size();
  chat_.release_state();
  EXPECT_LT(chat_.memory_footprint(), busy);
  EXPECT_GT(chat_.memory_footprint(), empty) << "the checkpoints";
  chat_.release_state();
  const std::size_t idle = chat_.memory_footprint();
  Chat fork = chat_.fork();
  EXPECT_EQ(fork.memory_footprint(), idle);
  EXPECT_EQ(fork.generate("And?", greedy()), "two");
  EXPECT_EQ(fork.last_reply().metrics.reused_tokens, history);
  EXPECT_EQ(chat_.generate("And?", greedy()), "two");
  EXPECT_GE(chat_.last_reply().metrics.reused_tokens, history);
  chat_.release_state();
  chat_.unload();
  chat_.release_state();
  chat_.reload();
  EXPECT_EQ(chat_.messages().size(), 4U);
  chat_.generate("Again", greedy());
}

TEST_F(CompleteTest, AStreamEndsWhenTheStateIsReleased) {
  stage_->script = {"<think>\n\n</think>\n\nabc<|im_end|>"};
  ReplyStream stream = chat_.stream("Hi", greedy());
  auto it = stream.begin();
  EXPECT_EQ(*it, "a");
  chat_.release_state();
  ++it;
  EXPECT_EQ(it, stream.end());
  EXPECT_THAT(chat_.messages(), ElementsAre(Message{"user", "Hi"}, Message{"assistant", "a"}));
}

TEST_F(CompleteTest, AReplyThatWasDroppedHoldsNobodyUp) {
  stage_->max_verify = 8;
  stage_->script = {"<think>\n\n</think>\n\nabcdefghabcdefghabcdefghabcdefgh<|im_end|>"};
  Chat other = chat_.fork();
  Chat third = chat_.fork();
  const Chat::OnPiece gone = [](std::string_view) -> bool { throw Error(ErrorCode::internal, "gone"); };
  EXPECT_THROW(chat_.stream("Hi", greedy(), gone), Error);
  EXPECT_THROW(third.complete(scripted("abc<|im_end|>"), greedy(), gone), Error);
  stage_->script = {"<think>\n\n</think>\n\nabcdefghabcdefghabcdefghabcdefgh<|im_end|>"};
  other.generate("Hello", greedy());
  EXPECT_GT(other.last_reply().metrics.drafted_tokens, 0U) << "guesses are made when nobody else computes";
}

}  // namespace
}  // namespace qwen35
