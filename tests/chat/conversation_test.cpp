#include "chat/conversation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/error.h>

#include <functional>
#include <string>
#include <vector>

#include "chat/fakes.h"

namespace qwen35 {
namespace {

using testing::HasSubstr;
using testing_doubles::byte_tokenizer_json;
using testing_doubles::greedy;
using testing_doubles::text_of;

class ConversationTest : public testing::Test {
 protected:
  /// Takes a turn in, as if the model had written `reply` ("<|im_end|>" included where it wrote one).
  void answer(Turn turn, const std::string& reply, Message message, const std::string& closing = "") {
    std::vector<TokenId> tokens = turn.tokens;
    const auto more = tokenizer_.encode_with_special(reply);
    tokens.insert(tokens.end(), more.begin(), more.end());
    message.role = "assistant";
    const std::size_t answer =
        more.size() - tokenizer_.encode(message.content).size() - (reply.ends_with("<|im_end|>") ? 1 : 0);
    const std::size_t answer_begin = turn.tokens.size() + answer;
    conversation_.commit(tokenizer_, std::move(turn), std::move(message),
                         {std::move(tokens), tokenizer_.encode_with_special(closing), answer_begin});
  }

  Turn next(std::string_view prompt, const GenerateOptions& options) {
    return conversation_.next_turn(tokenizer_, prompt, options, context_);
  }
  Turn next(const std::vector<Message>& messages, const GenerateOptions& options) {
    return conversation_.next_turn(tokenizer_, std::span<const Message>(messages), options, context_);
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

  Tokenizer tokenizer_ = Tokenizer::from_json(byte_tokenizer_json(), "bytes");
  Conversation conversation_;
  std::size_t context_ = 100000;
};

TEST_F(ConversationTest, TheFirstTurnIsTheTemplate) {
  EXPECT_EQ(text_of(next("Hi", greedy()).tokens),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n");
  const Turn thinking = next("Hi", greedy(true));
  EXPECT_TRUE(thinking.thinking);
  EXPECT_EQ(text_of(thinking.tokens), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n");
}

TEST_F(ConversationTest, ABudgetOfZeroIsTheTemplatesFormWithoutThinking) {
  GenerateOptions options = greedy(true);
  options.max_thinking_tokens = 0;
  const Turn turn = next("Hi", options);
  EXPECT_FALSE(turn.thinking);
  EXPECT_EQ(turn.tokens, next("Hi", greedy(false)).tokens);
}

TEST_F(ConversationTest, LaterTurnsFollowWhatWasFedThinkingIncluded) {
  answer(next("Hi", greedy(true)), "hm\n</think>\n\nHello<|im_end|>", {.content = "Hello", .thinking = "hm"});
  EXPECT_EQ(text_of(next("More", greedy()).tokens),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\nhm\n</think>\n\nHello<|im_end|>\n"
            "<|im_start|>user\nMore<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n");
  EXPECT_EQ(conversation_.messages().size(), 2U);
}

TEST_F(ConversationTest, ACutReplyIsClosedBeforeTheNextTurn) {
  answer(next("Hi", greedy(true)), "hm", {.thinking = "hm"}, "\n</think>\n\n<|im_end|>");
  EXPECT_EQ(text_of(next("More", greedy()).tokens),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\nhm\n</think>\n\n<|im_end|>\n"
            "<|im_start|>user\nMore<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n");
}

TEST_F(ConversationTest, ControlTokensInAPromptStayCharacters) {
  const Turn turn = next("<|im_end|><think>", greedy());
  const auto ends = std::count(turn.tokens.begin(), turn.tokens.end(), testing_doubles::first_token("<|im_end|>"));
  EXPECT_EQ(ends, 1);
}

TEST_F(ConversationTest, AMessageListThatGoesOnKeepsWhatWasFed) {
  answer(next("Hi", greedy(true)), "hm\n</think>\n\nHello<|im_end|>", {.content = "Hello", .thinking = "hm"});
  const std::vector<Message> list = {{"user", "Hi"}, {"assistant", "Hello"}, {"user", "More"}};
  const Turn turn = next(list, greedy());
  EXPECT_EQ(turn.tokens, next("More", greedy()).tokens);
  EXPECT_EQ(turn.messages[1].thinking, "hm");

  // Anything else is rendered anew: thinking of earlier turns is gone then, as the template has it.
  const std::vector<Message> other = {{"user", "Hi"}, {"assistant", "Hallo"}, {"user", "More"}};
  EXPECT_EQ(text_of(next(other, greedy()).tokens),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHallo<|im_end|>\n"
            "<|im_start|>user\nMore<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n");
}

TEST_F(ConversationTest, ToolResultsFollowTheCallsThatWereFed) {
  GenerateOptions options = greedy();
  options.tools = R"([{"type":"function","function":{"name":"t","parameters":{}}}])";
  const std::string call =
      "<tool_call>\n<function=t>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call><|im_end|>";
  answer(next("Hi", options), call, {.content = "", .tool_calls = {{"t", R"({"a": "1"})"}}});
  // The caller may write the arguments in its own way.
  const std::vector<Message> list = {{"user", "Hi"},
                                     {.role = "assistant", .content = "", .tool_calls = {{"t", R"({"a":"1"})"}}},
                                     {"tool", "12 degrees"},
                                     {"tool", "wind"}};
  const std::string text = text_of(next(list, options).tokens);
  EXPECT_THAT(text, testing::EndsWith(call + "\n<|im_start|>user\n<tool_response>\n12 degrees\n</tool_response>\n"
                                             "<tool_response>\nwind\n</tool_response><|im_end|>\n"
                                             "<|im_start|>assistant\n<think>\n\n</think>\n\n"));
  EXPECT_THAT(text, testing::StartsWith("<|im_start|>system\n# Tools"));
  // Without the tools, or with other arguments, the history is another one.
  EXPECT_THAT(text_of(next(list, greedy()).tokens), testing::StartsWith("<|im_start|>user\nHi"));
  auto changed = list;
  changed[1].tool_calls[0].arguments = R"({"a": "2"})";
  EXPECT_THAT(text_of(next(changed, options).tokens), HasSubstr("<parameter=a>\n2\n"));
}

TEST_F(ConversationTest, TheSystemPromptIsSetKeptReplacedAndRemoved) {
  GenerateOptions options = greedy();
  options.system_prompt = "Be brief.";
  answer(next("Hi", options), "Yes<|im_end|>", {.content = "Yes"});
  ASSERT_EQ(conversation_.messages().size(), 3U);
  EXPECT_EQ(conversation_.messages()[0], (Message{"system", "Be brief."}));
  const std::string head = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n";
  EXPECT_THAT(text_of(next("More", greedy()).tokens), testing::StartsWith(head));
  EXPECT_EQ(next("More", options).tokens, next("More", greedy()).tokens);
  options.system_prompt = "Be long.";
  EXPECT_THAT(text_of(next("More", options).tokens), testing::StartsWith("<|im_start|>system\nBe long.<|im_end|>\n"));
  options.system_prompt = "";
  EXPECT_THAT(text_of(next("More", options).tokens), testing::StartsWith("<|im_start|>user\nHi"));
  EXPECT_EQ(conversation_.messages()[0].content, "Be brief.") << "planning changed the conversation";
}

TEST_F(ConversationTest, SetMessagesStartsAfresh) {
  answer(next("Hi", greedy()), "Yes<|im_end|>", {.content = "Yes"});
  conversation_.set_messages({{"user", "One"}, {"assistant", "Two"}});
  EXPECT_EQ(text_of(next("Three", greedy()).tokens),
            "<|im_start|>user\nOne<|im_end|>\n<|im_start|>assistant\nTwo<|im_end|>\n"
            "<|im_start|>user\nThree<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n");
  conversation_.set_messages({});
  EXPECT_TRUE(conversation_.messages().empty());
}

TEST_F(ConversationTest, RefusesWhatMakesNoSense) {
  EXPECT_THAT(refusal([&] { next(std::vector<Message>{}, greedy()); }), HasSubstr("messages is empty"));
  EXPECT_THAT(refusal([&] { next({{"user", "a"}, {"assistant", "b"}}, greedy()); }), HasSubstr("\"assistant\""));
  EXPECT_THAT(refusal([&] { next({{"system", "a"}}, greedy()); }), HasSubstr("\"system\""));
  EXPECT_THAT(refusal([&] { next({{"user", "a"}, {"system", "b"}, {"user", "c"}}, greedy()); }), HasSubstr("ystem"));
  EXPECT_NE(refusal([&] { next({{"robot", "a"}, {"user", "c"}}, greedy()); }), "no error");
  EXPECT_NE(refusal([&] { next({{"tool", "a"}}, greedy()); }), "no error");
  const std::vector<std::string> malformed = {"{", "{}", "3", "[1]", "[[]]", "[{}", "null x", std::string(100000, '[')};
  for (const std::string& tools : malformed) {
    GenerateOptions options = greedy();
    options.tools = tools;
    EXPECT_THAT(refusal([&] { next("Hi", options); }), HasSubstr("tools")) << tools.substr(0, 20);
  }
  EXPECT_THAT(refusal([&] { conversation_.set_messages({{"robot", "a"}}); }), HasSubstr("\"robot\""));
  EXPECT_THAT(refusal([&] { conversation_.set_messages({{"user", "a"}, {"system", "b"}}); }), HasSubstr("messages[1]"));
  EXPECT_NE(
      refusal([&] {
        conversation_.set_messages({{.role = "assistant", .content = "", .tool_calls = {{"t", "[not an object"}}}});
      }),
      "no error");
  EXPECT_TRUE(conversation_.messages().empty());
}

}  // namespace
}  // namespace qwen35
