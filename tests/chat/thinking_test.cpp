#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "chat/fakes.h"

namespace qwen35 {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing_doubles::greedy;
using testing_doubles::make_chat;
using testing_doubles::Stage;

class ThinkingTest : public testing::Test {
 protected:
  Reply ask(const GenerateOptions& options) {
    std::string streamed;
    Reply reply = chat_.stream("Hi", options, [&](std::string_view piece) {
      EXPECT_FALSE(piece.empty());
      streamed += piece;
      return true;
    });
    EXPECT_EQ(streamed, reply.text);
    return reply;
  }

  std::shared_ptr<Stage> stage_ = std::make_shared<Stage>();
  Chat chat_ = make_chat(stage_);
};

TEST_F(ThinkingTest, ThinkingStaysOutOfTheAnswer) {
  stage_->script = {"<think>\nLet me see.\n</think>\n\nHello!<|im_end|>"};
  const Reply reply = ask(greedy(true));
  EXPECT_EQ(reply.text, "Hello!");
  EXPECT_EQ(reply.thinking, "Let me see.");
  EXPECT_EQ(reply.finish_reason, FinishReason::stop);
  EXPECT_EQ(reply.metrics.thinking_tokens, 13U);  // the text, a newline and </think>
  EXPECT_EQ(reply.metrics.reply_tokens, 9U);      // two newlines, the text and <|im_end|>
  EXPECT_EQ(chat_.messages().back().thinking, "Let me see.");
}

TEST_F(ThinkingTest, OffUsesTheEmptyBlock) {
  stage_->script = {"<think>\nLet me see.\n</think>\n\nHello!<|im_end|>"};
  const Reply reply = ask(greedy(false));
  EXPECT_EQ(reply.text, "Hello!");
  EXPECT_EQ(reply.thinking, "");
  EXPECT_EQ(reply.metrics.thinking_tokens, 0U);
  EXPECT_THAT(stage_->text(), EndsWith("assistant\n<think>\n\n</think>\n\nHello!"));
}

TEST_F(ThinkingTest, TheBudgetClosesThinkingAndTheAnswerKeepsItsTokens) {
  stage_->script = {"<think>\nabcdefghijklmnopqrstuvwxyz\n</think>\n\n0123456789<|im_end|>"};
  GenerateOptions options = greedy(true);
  options.max_thinking_tokens = 5;
  options.max_tokens = 10;
  Reply reply = ask(options);
  EXPECT_EQ(reply.thinking, "abcde");
  EXPECT_EQ(reply.text, "0123456789");
  EXPECT_EQ(reply.finish_reason, FinishReason::length);
  EXPECT_EQ(reply.metrics.reply_tokens, 10U);
  EXPECT_THAT(stage_->text(), EndsWith("<think>\nabcde\n</think>\n\n012345678"));

  chat_.reset_conversation();
  options.max_tokens = 11;
  reply = ask(options);
  EXPECT_EQ(reply.finish_reason, FinishReason::stop);
}

TEST_F(ThinkingTest, ABudgetThatIsJustEnoughIsNotCut) {
  stage_->script = {"<think>\nabc\n</think>\n\nHello<|im_end|>"};
  GenerateOptions options = greedy(true);
  options.max_thinking_tokens = 5;
  const Reply reply = ask(options);
  EXPECT_EQ(reply.thinking, "abc");
  EXPECT_EQ(reply.text, "Hello");
  EXPECT_THAT(stage_->text(), EndsWith("<think>\nabc\n</think>\n\nHello"));
}

TEST_F(ThinkingTest, ABudgetEndingOnANewlineDoesNotAddAnother) {
  stage_->script = {"<think>\nabc\ndef\n</think>\n\nHello<|im_end|>"};
  GenerateOptions options = greedy(true);
  options.max_thinking_tokens = 4;
  const Reply reply = ask(options);
  EXPECT_EQ(reply.thinking, "abc");
  EXPECT_THAT(stage_->text(), EndsWith("<think>\nabc\n</think>\n\nHello"));
}

TEST_F(ThinkingTest, ABudgetOfZeroGoesStraightToTheAnswer) {
  stage_->script = {"<think>\nabc\n</think>\n\nHello<|im_end|>"};
  GenerateOptions options = greedy(true);
  options.max_thinking_tokens = 0;
  const Reply reply = ask(options);
  EXPECT_EQ(reply.thinking, "");
  EXPECT_EQ(reply.text, "Hello");
  EXPECT_EQ(reply.metrics.thinking_tokens, 0U);
}

TEST_F(ThinkingTest, ATurnEndedInsideThinkingStillGetsItsAnswer) {
  for (const std::string end : {"<|im_end|>", "<|endoftext|>"}) {
    chat_.reset_conversation();
    // After the forced </think> the script goes on behind its own.
    stage_->script = {"<think>\nabc" + end + "</think>\n\nHello<|im_end|>"};
    const Reply reply = ask(greedy(true));
    EXPECT_EQ(reply.thinking, "abc");
    EXPECT_EQ(reply.text, "Hello");
    EXPECT_EQ(reply.finish_reason, FinishReason::stop);
    EXPECT_THAT(stage_->text(), EndsWith("<think>\nabc\n</think>\n\nHello"));
    EXPECT_THAT(stage_->text(), Not(HasSubstr("abc" + end)));
  }
}

TEST_F(ThinkingTest, ASecondThoughtIsThinkingToo) {
  stage_->script = {"<think>\none\n</think>\n\nHel<think>\ntwo\n</think>\n\nlo<|im_end|>"};
  const Reply reply = ask(greedy(true));
  EXPECT_EQ(reply.text, "Hel\n\nlo");
  EXPECT_EQ(reply.thinking, "one\n\ntwo");
}

TEST_F(ThinkingTest, ASecondThoughtIsNotPossibleWithoutABudget) {
  stage_->script = {"<think>\n\n</think>\n\nHello<think>\nmore\n</think>\n\nx<|im_end|>"};
  GenerateOptions options = greedy(false);
  options.max_tokens = 8;
  const Reply off = ask(options);
  EXPECT_EQ(off.thinking, "");
  EXPECT_EQ(off.metrics.thinking_tokens, 0U);
  EXPECT_THAT(stage_->text(), HasSubstr("Hello"));
  EXPECT_THAT(stage_->text(), Not(HasSubstr("Hello<think>")));

  chat_.reset_conversation();
  options = greedy(true);
  options.max_thinking_tokens = 3;  // a newline, </think> and the second <think>, which is closed at once
  const Reply on = ask(options);
  EXPECT_EQ(on.text, "Hello\n\nx");
  EXPECT_EQ(on.metrics.thinking_tokens, 3U + 4U);
  EXPECT_THAT(stage_->text(), EndsWith("Hello<think>\n</think>\n\nx"));
}

TEST_F(ThinkingTest, StrayControlTokensAreNotText) {
  stage_->script = {"<think>\n\n</think>\n\na</think>b<|vision_start|>c<|im_end|>"};
  EXPECT_EQ(ask(greedy(false)).text, "abc");
}

TEST_F(ThinkingTest, ThinkingIsWellFormedUtf8) {
  stage_->script = {"<think>\n\u00e9\u00e9\xE4\xB8\n</think>\n\nok<|im_end|>"};
  GenerateOptions options = greedy(true);
  EXPECT_EQ(ask(options).thinking, "\u00e9\u00e9\uFFFD");
  chat_.reset_conversation();
  options.max_thinking_tokens = 3;
  EXPECT_EQ(ask(options).thinking, "\u00e9\uFFFD");
}

TEST_F(ThinkingTest, NearTheContextLimitTheAnswerComesFirst) {
  stage_->script = {"<think>\n" + std::string(500, 't') + "\n</think>\n\n" + std::string(500, 'a') + "<|im_end|>"};
  chat_.generate("Hi", greedy(true));
  const std::size_t prompt = chat_.last_reply().metrics.prompt_tokens;
  Chat chat = make_chat(stage_, prompt + 40);
  chat.generate("Hi", greedy(true));
  const Reply& reply = chat.last_reply();
  EXPECT_GE(reply.thinking.size(), 10U);
  EXPECT_GE(reply.text.size(), 18U);
  EXPECT_EQ(reply.finish_reason, FinishReason::length);
  EXPECT_EQ(reply.metrics.prompt_tokens + reply.metrics.thinking_tokens + reply.metrics.reply_tokens, prompt + 40);

  // Room for one token only: not enough to close the thinking, and still no crash.
  Chat narrow = make_chat(stage_, prompt + 1);
  EXPECT_EQ(narrow.generate("Hi", greedy(true)), "");
  EXPECT_EQ(narrow.last_reply().finish_reason, FinishReason::length);
}

TEST_F(ThinkingTest, ThinkingStreamsInWholeCharactersAndBeforeTheAnswer) {
  stage_->script = {"<think>\n  é \n\n中😀 z \n\n</think>\n\nHello!<|im_end|>"};
  GenerateOptions options = greedy(true);
  std::vector<std::string> pieces;
  bool answered = false;
  options.on_thinking = [&](std::string_view piece) {
    EXPECT_FALSE(answered);
    pieces.emplace_back(piece);
  };
  options.on_logprob = [&](const TokenLogprob&) { answered = true; };
  const Reply reply = ask(options);
  EXPECT_THAT(pieces, testing::ElementsAre("é", " \n\n中", "😀", " z"));
  EXPECT_EQ(reply.thinking, "é \n\n中😀 z");
  EXPECT_TRUE(answered);
}

TEST_F(ThinkingTest, StreamedThinkingIsTheThinkingWhereverItIsCut) {
  // Cut by the budget inside a character, between them, and inside white space; a second thought behind the first.
  stage_->script = {"<think>\n aé\n中 \n</think>\n\nHello <think>\n b\n c</think>\n\nagain<|im_end|>"};
  for (int budget = 1; budget < 30; ++budget) {
    GenerateOptions options = greedy(true);
    options.max_thinking_tokens = budget;
    std::string streamed;
    options.on_thinking = [&](std::string_view piece) {
      EXPECT_FALSE(piece.empty());
      streamed += piece;
    };
    chat_.reset_conversation();
    const Reply reply = ask(options);
    EXPECT_EQ(streamed, reply.thinking) << budget;
    if (budget == 29) {
      EXPECT_EQ(reply.thinking, "aé\n中\n\n b\n c");
    }
  }
}

TEST_F(ThinkingTest, ACallbackThatThrowsDropsTheTurn) {
  stage_->script = {"<think>\nabc\n</think>\n\nHello!<|im_end|>"};
  GenerateOptions options = greedy(true);
  options.on_thinking = [](std::string_view) { throw Error(ErrorCode::internal, "no"); };
  EXPECT_THROW(chat_.generate("Hi", options), Error);
  EXPECT_TRUE(chat_.messages().empty());
  EXPECT_EQ(chat_.generate("Hi", greedy(true)), "Hello!");
}

TEST_F(ThinkingTest, LogprobsAreToldBeforeTheirPiece) {
  stage_->script = {"<think>\n\n</think>\n\nab<|im_end|>"};
  GenerateOptions options = greedy();
  options.top_logprobs = 1;
  std::string log;
  options.on_logprob = [&](const TokenLogprob& token) { log += "(" + token.bytes + ")"; };
  const Reply reply = chat_.stream("Hi", options, [&](std::string_view piece) {
    log += piece;
    return true;
  });
  EXPECT_EQ(log, "(a)a(b)b");
  ASSERT_EQ(reply.logprobs.size(), 2U);
  EXPECT_EQ(reply.logprobs[0].top.size(), 1U);
}

}  // namespace
}  // namespace qwen35
