#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/chat.h>

#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "chat/fakes.h"

namespace qwen35 {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing_doubles::greedy;
using testing_doubles::make_chat;
using testing_doubles::Stage;

constexpr const char* kNoThought = "<think>\n\n</think>\n\n";

class ChatTest : public testing::Test {
 protected:
  /// The script of plain answers.
  void answers(const std::vector<std::string>& texts) {
    stage_->script.clear();
    for (const std::string& text : texts) stage_->script.push_back(kNoThought + text + "<|im_end|>");
  }

  static ErrorCode code_of(const std::function<void()>& call, const std::string& says) {
    try {
      call();
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(says));
      return error.code();
    }
    ADD_FAILURE() << "no error";
    return ErrorCode::internal;
  }

  std::shared_ptr<Stage> stage_ = std::make_shared<Stage>();
  Chat chat_ = make_chat(stage_);
};

TEST_F(ChatTest, TheSecondTurnPrefillsOnlyItsOwnTokens) {
  answers({"Hello.", "Your name is Alex."});
  EXPECT_EQ(chat_.generate("My name is Alex", greedy()), "Hello.");
  const std::size_t before = stage_->history.size();
  EXPECT_EQ(chat_.last_reply().metrics.reused_tokens, 0U);
  EXPECT_EQ(chat_.last_reply().metrics.prompt_tokens + 6, before);  // <|im_end|> is sampled but not yet fed
  stage_->clear_counts();

  EXPECT_EQ(chat_.generate("What's my name?", greedy()), "Your name is Alex.");
  const Metrics& metrics = chat_.last_reply().metrics;
  EXPECT_EQ(metrics.reused_tokens, before);
  EXPECT_EQ(stage_->resets, 0U);
  EXPECT_EQ(stage_->passes.at(0), metrics.prompt_tokens - before);
  EXPECT_EQ(stage_->fed(), metrics.prompt_tokens - before + metrics.reply_tokens - 1);
  EXPECT_EQ(
      stage_->text(),
      "<|im_start|>user\nMy name is Alex<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nHello.<|im_end|>\n"
      "<|im_start|>user\nWhat's my name?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
      "Your name is Alex.");
}

TEST_F(ChatTest, MessagesRememberBothSides) {
  answers({"Hello."});
  chat_.generate("Hi", {.system_prompt = "Be kind.", .temperature = 0, .repetition_penalty = 1});
  EXPECT_THAT(chat_.messages(),
              ElementsAre(Message{"system", "Be kind."}, Message{"user", "Hi"}, Message{"assistant", "Hello."}));
  chat_.reset_conversation();
  EXPECT_TRUE(chat_.messages().empty());
  stage_->clear_counts();
  chat_.generate("Hi", greedy());
  EXPECT_EQ(stage_->resets, 1U);
  EXPECT_EQ(chat_.last_reply().metrics.reused_tokens, 0U);
}

TEST_F(ChatTest, MessageListsReuseWhatTheyShare) {
  answers({"One.", "Two.", "Three."});
  std::vector<Message> list = {{"user", "a"}};
  list.push_back({"assistant", chat_.generate(list, greedy())});
  list.push_back({"user", "b"});
  stage_->clear_counts();
  EXPECT_EQ(chat_.generate(list, greedy()), "Two.");
  EXPECT_EQ(stage_->resets, 0U);
  EXPECT_GT(chat_.last_reply().metrics.reused_tokens, 0U);
  // An edited past is computed anew.
  list[0].content = "z";
  EXPECT_EQ(chat_.generate(list, greedy()), "Two.");
  EXPECT_EQ(chat_.last_reply().metrics.reused_tokens, 0U);
  EXPECT_EQ(chat_.messages()[0].content, "z");
}

TEST_F(ChatTest, ALengthLimitCutsAndTheNextTurnClosesIt) {
  answers({"0123456789", "Yes."});
  GenerateOptions options = greedy();
  options.max_tokens = 4;
  EXPECT_EQ(chat_.generate("Count", options), "0123");
  EXPECT_EQ(chat_.last_reply().finish_reason, FinishReason::length);
  EXPECT_EQ(chat_.generate("On?", greedy()), "Yes.");
  EXPECT_THAT(stage_->text(), HasSubstr("</think>\n\n0123<|im_end|>\n<|im_start|>user\nOn?<|im_end|>\n"));
  EXPECT_EQ(stage_->resets, 0U);
}

TEST_F(ChatTest, EndOfTextEndsATurnToo) {
  stage_->script = {std::string(kNoThought) + "Hello<|endoftext|>", std::string(kNoThought) + "Yes<|im_end|>"};
  EXPECT_EQ(chat_.generate("Hi", greedy()), "Hello");
  EXPECT_EQ(chat_.last_reply().finish_reason, FinishReason::stop);
  chat_.generate("More", greedy());
  EXPECT_THAT(stage_->text(), HasSubstr("\n\nHello<|im_end|>\n<|im_start|>user\nMore"));
}

TEST_F(ChatTest, ToolCallsComeBackAndResultsGoIn) {
  stage_->script = {std::string(kNoThought) +
                        "Looking.\n\n<tool_call>\n<function=weather>\n<parameter=city>\nParis\n</parameter>\n"
                        "<parameter=days>\n3\n</parameter>\n</function>\n</tool_call><|im_end|>",
                    std::string(kNoThought) + "Sunny.<|im_end|>"};
  GenerateOptions options = greedy();
  options.tools = R"([{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":
                      {"city":{"type":"string"},"days":{"type":"integer"}}}}}])";
  std::string streamed;
  const Reply reply = chat_.stream("Weather?", options, [&](std::string_view piece) {
    streamed += piece;
    return true;
  });
  EXPECT_EQ(streamed, "Looking.");
  EXPECT_EQ(reply.text, "Looking.");
  EXPECT_EQ(reply.finish_reason, FinishReason::tool_calls);
  ASSERT_EQ(reply.tool_calls.size(), 1U);
  EXPECT_EQ(nlohmann::json::parse(reply.tool_calls[0].arguments), (nlohmann::json{{"city", "Paris"}, {"days", 3}}));

  std::vector<Message> list = chat_.messages();
  list.push_back({"tool", "sun"});
  stage_->clear_counts();
  EXPECT_EQ(chat_.generate(list, options), "Sunny.");
  EXPECT_EQ(stage_->resets, 0U);
  EXPECT_THAT(stage_->text(), HasSubstr("</tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\nsun\n"));
}

TEST_F(ChatTest, PaddingIdsAreNeverSampled) {
  answers({"Hello."});  // the fake backend gives ids past the tokenizer's the best logits
  EXPECT_EQ(chat_.generate("Hi", greedy()), "Hello.");
}

TEST_F(ChatTest, ASeedRepeatsARun) {
  GenerateOptions options;
  options.temperature = 100;
  options.top_p = 1;
  options.top_k = 0;
  options.max_tokens = 30;
  options.enable_thinking = false;
  const auto run = [&](std::optional<std::uint64_t> seed) {
    chat_.reset_conversation();
    options.seed = seed;
    return chat_.generate("Hi", options);
  };
  EXPECT_EQ(run(5), run(5));
  EXPECT_NE(run(5), run(6));
  EXPECT_NE(run(std::nullopt), run(std::nullopt));
}

TEST_F(ChatTest, ThePenaltySparesControlTokens) {
  answers({"Hi.", "Hi.", "Hi."});
  GenerateOptions options = greedy();
  options.repetition_penalty = 30;  // 20 / 30 is below the noise: whatever is penalised loses
  options.max_tokens = 8;
  options.allow_empty = true;
  stage_->script = {std::string(kNoThought) + "<|im_end|>", std::string(kNoThought) + "<|im_end|>"};
  chat_.generate("x", options);
  chat_.generate("y", options);  // <|im_end|> is in the window by now
  EXPECT_EQ(chat_.last_reply().finish_reason, FinishReason::stop);
  EXPECT_EQ(chat_.last_reply().metrics.reply_tokens, 1U);
}

TEST_F(ChatTest, TheContextLimitIsSaidBeforeAndKeptDuringAReply) {
  answers({std::string(200, 'a')});
  stage_->max_positions = 100;
  Chat chat = make_chat(stage_);
  EXPECT_EQ(chat.info().context, 100U);
  EXPECT_EQ(code_of([&] { chat.generate(std::string(100, 'x'), greedy()); }, "limit is 100"), ErrorCode::context_limit);
  EXPECT_TRUE(chat.messages().empty());
  chat.generate("Hi", greedy());
  EXPECT_EQ(chat.last_reply().finish_reason, FinishReason::length);
  EXPECT_EQ(chat.last_reply().metrics.prompt_tokens + chat.last_reply().metrics.reply_tokens, 100U);
  EXPECT_EQ(code_of([&] { chat.generate("more", greedy()); }, "context"), ErrorCode::context_limit);
  EXPECT_EQ(chat.messages().size(), 2U);
  chat.reset_conversation();
  EXPECT_FALSE(chat.generate("Hi", greedy()).empty());

  Chat narrow = make_chat(stage_, 60);
  EXPECT_EQ(narrow.info().context, 60U);
  EXPECT_EQ(code_of([&] { make_chat(stage_, 101); }, "100 positions"), ErrorCode::invalid_argument);
}

TEST_F(ChatTest, AnyErrorLeavesTheConversationAsItWas) {
  answers({"Hello.", "Yes.", "Yes."});
  chat_.generate("Hi", greedy());
  const std::vector<Message> before = chat_.messages();
  const auto unchanged = [&] {
    EXPECT_EQ(chat_.messages(), before);
    EXPECT_EQ(chat_.last_reply().text, "Hello.");
  };

  int passes = 0;
  stage_->on_forward = [&] {
    if (++passes == 3) throw Error(ErrorCode::internal, "broken pass");
  };
  EXPECT_EQ(code_of([&] { chat_.generate("More", greedy()); }, "broken pass"), ErrorCode::internal);
  unchanged();
  stage_->on_forward = [] {};

  EXPECT_THROW(chat_.stream("More", greedy(), [](std::string_view) -> bool { throw std::runtime_error("caller"); }),
               std::runtime_error);
  unchanged();
  EXPECT_EQ(code_of([&] { chat_.generate(std::vector<Message>{}, greedy()); }, "messages"),
            ErrorCode::invalid_argument);
  unchanged();

  EXPECT_EQ(chat_.generate("More", greedy()), "Yes.");
  EXPECT_THAT(stage_->text(), HasSubstr("Hello.<|im_end|>\n<|im_start|>user\nMore<|im_end|>\n"));
  EXPECT_EQ(stage_->text().find("user\nMore"), stage_->text().rfind("user\nMore"));
}

TEST_F(ChatTest, HostileOptionsAreRefusedByName) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto refused = [&](const std::function<void(GenerateOptions&)>& change, const std::string& name) {
    GenerateOptions options = greedy();
    change(options);
    EXPECT_EQ(code_of([&] { chat_.generate("Hi", options); }, name), ErrorCode::invalid_argument);
    EXPECT_TRUE(chat_.messages().empty());
    EXPECT_TRUE(stage_->passes.empty());
  };
  refused([&](GenerateOptions& o) { o.temperature = nan; }, "temperature");
  refused([&](GenerateOptions& o) { o.top_p = nan; }, "top_p");
  refused([&](GenerateOptions& o) { o.repetition_penalty = 0; }, "repetition_penalty");
  refused([&](GenerateOptions& o) { o.repetition_window = -1; }, "repetition_window");
  refused([&](GenerateOptions& o) { o.top_k = -5; }, "top_k");
  refused([&](GenerateOptions& o) { o.max_tokens = 0; }, "max_tokens");
  refused([&](GenerateOptions& o) { o.max_tokens = std::numeric_limits<int>::min(); }, "max_tokens");
  refused([&](GenerateOptions& o) { o.max_thinking_tokens = -1; }, "max_thinking_tokens");
  refused([&](GenerateOptions& o) { o.tools = "{}"; }, "tools");
}

TEST_F(ChatTest, UnloadFreesTheModelAndReloadTakesTheSessionUp) {
  answers({"Hello.", "Yes."});
  chat_.generate("Hi", greedy());
  const std::string fed = stage_->text();
  const std::size_t fed_tokens = stage_->history.size();
  EXPECT_GT(chat_.memory_footprint(), 1'000'000U);
  EXPECT_TRUE(chat_.is_loaded());
  chat_.unload();
  EXPECT_EQ(stage_->alive, 0);
  EXPECT_FALSE(chat_.is_loaded());
  EXPECT_GT(chat_.memory_footprint(), 0U);  // the session
  EXPECT_LT(chat_.memory_footprint(), 10'000U);
  EXPECT_EQ(chat_.info().name, "fake-model");
  EXPECT_EQ(chat_.messages().size(), 2U);
  EXPECT_EQ(code_of([&] { chat_.generate("More", greedy()); }, "reload()"), ErrorCode::not_loaded);
  chat_.unload();  // nothing

  chat_.reload();
  chat_.reload();  // nothing
  EXPECT_EQ(stage_->loads, 2U);
  EXPECT_TRUE(chat_.is_loaded());
  EXPECT_EQ(chat_.generate("More", greedy()), "Yes.");
  EXPECT_EQ(chat_.last_reply().metrics.reused_tokens, fed_tokens);
  EXPECT_THAT(stage_->text(), testing::StartsWith(fed + "<|im_end|>\n<|im_start|>user\nMore"));
}

TEST_F(ChatTest, UnloadKeepsNoMoreOfTheSessionThanItMay) {
  answers({"Hello.", "Yes."});
  chat_.generate("Hi", greedy());
  const std::string fed = stage_->text();
  chat_.unload({.keep_session = 0});
  EXPECT_EQ(chat_.memory_footprint(), 0U);
  chat_.reload();
  EXPECT_EQ(chat_.generate("More", greedy()), "Yes.");
  EXPECT_EQ(chat_.last_reply().metrics.reused_tokens, 0U);
  EXPECT_THAT(stage_->text(), testing::StartsWith(fed + "<|im_end|>\n<|im_start|>user\nMore"));
}

TEST_F(ChatTest, AnEmptyReplyIsBarredUnlessAllowed) {
  stage_->script = {std::string(kNoThought) + "<|im_end|>", std::string(kNoThought) + "<|im_end|>"};
  GenerateOptions options = greedy();
  options.max_tokens = 4;
  EXPECT_NE(chat_.generate("x", options), "");
  options.allow_empty = true;
  EXPECT_EQ(chat_.generate("y", options), "");
  EXPECT_EQ(chat_.last_reply().finish_reason, FinishReason::stop);
}

TEST_F(ChatTest, AFailedReloadLeavesItUnloaded) {
  bool fail = false;
  auto stage = stage_;
  Chat chat = ChatFactory::make([&fail, stage]() -> std::unique_ptr<Model> {
    if (fail) throw Error(ErrorCode::bad_file, "gone");
    return std::make_unique<Model>(Tokenizer::from_json(testing_doubles::byte_tokenizer_json(), "bytes"),
                                   testing_doubles::make_fake_backend(stage), ModelInfo{}, 0);
  });
  chat.unload();
  fail = true;
  EXPECT_EQ(code_of([&] { chat.reload(); }, "gone"), ErrorCode::bad_file);
  EXPECT_FALSE(chat.is_loaded());
  fail = false;
  chat.reload();
  EXPECT_TRUE(chat.is_loaded());
}

TEST_F(ChatTest, AVocabularyLargerThanTheModelIsRefused) {
  stage_->vocab_size = 260;
  EXPECT_EQ(code_of([&] { make_chat(stage_); }, "vocab_size 260"), ErrorCode::bad_file);
}

TEST_F(ChatTest, MetricsAddUp) {
  answers({"Hello there."});
  chat_.generate("Hi", greedy());
  const Metrics& metrics = chat_.last_reply().metrics;
  EXPECT_EQ(metrics.reply_tokens, 13U);
  EXPECT_GT(metrics.prefill_ms, 0);
  EXPECT_GE(metrics.time_to_first_token_ms, metrics.prefill_ms);
  EXPECT_GE(metrics.time_to_first_text_ms, metrics.time_to_first_token_ms);
  EXPECT_GE(metrics.total_ms, metrics.time_to_first_text_ms);
  EXPECT_GT(metrics.decode_tokens_per_second, 0);
}

TEST_F(ChatTest, MovedChatsWork) {
  answers({"Hello.", "Yes."});
  ReplyStream stream = chat_.stream("Hi", greedy());
  Chat other = std::move(chat_);
  std::string text;
  for (const std::string_view piece : stream) text += piece;
  EXPECT_EQ(text, "Hello.");
  EXPECT_EQ(other.messages().size(), 2U);
  chat_.cancel();
  EXPECT_EQ(code_of([&] { chat_.generate("Hi"); }, "moved from"), ErrorCode::not_loaded);
}

TEST(FinishReasonNames, AreTheFields) {
  EXPECT_EQ(to_string(FinishReason::stop), "stop");
  EXPECT_EQ(to_string(FinishReason::length), "length");
  EXPECT_EQ(to_string(FinishReason::tool_calls), "tool_calls");
  EXPECT_EQ(to_string(FinishReason::cancelled), "cancelled");
}

}  // namespace
}  // namespace qwen35
