#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/chat.h>

#include <chrono>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <thread>
#include <vector>

#include "chat/fakes.h"
#include "chat/session.h"

namespace qwen35 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing_doubles::greedy;
using testing_doubles::make_chat;
using testing_doubles::Stage;

static_assert(std::ranges::input_range<ReplyStream>);
static_assert(std::input_iterator<ReplyStream::Iterator>);

class StreamTest : public testing::Test {
 protected:
  void answers(const std::vector<std::string>& texts) {
    stage_->script.clear();
    for (const std::string& text : texts) stage_->script.push_back("<think>\n\n</think>\n\n" + text + "<|im_end|>");
  }

  std::shared_ptr<Stage> stage_ = std::make_shared<Stage>();
  Chat chat_ = make_chat(stage_);
};

TEST_F(StreamTest, PullsPieceByPieceAndComputesNoFurther) {
  answers({"abc"});
  ReplyStream stream = chat_.stream("Hi", greedy());
  EXPECT_TRUE(stage_->passes.empty());
  auto it = stream.begin();
  ASSERT_NE(it, stream.end());
  EXPECT_EQ(*it, "a");
  EXPECT_EQ(stage_->passes.size(), 1U);
  ++it;
  EXPECT_EQ(*it, "b");
  EXPECT_EQ(stage_->passes.size(), 2U);
  it++;
  EXPECT_EQ(*it, "c");
  EXPECT_TRUE(chat_.messages().empty()) << "the turn joins when the reply has ended";
  ++it;
  EXPECT_EQ(it, stream.end());
  EXPECT_THAT(chat_.messages(), ElementsAre(Message{"user", "Hi"}, Message{"assistant", "abc"}));
  EXPECT_EQ(stream.begin(), stream.end());
}

TEST_F(StreamTest, CharactersAreNeverCut) {
  answers({"é 中😀!"});
  std::vector<std::string> pieces;
  for (const std::string_view piece : chat_.stream("Hi", greedy())) pieces.emplace_back(piece);
  EXPECT_THAT(pieces, ElementsAre("é", " 中", "😀", "!"));
}

TEST_F(StreamTest, AnAbandonedStreamKeepsWhatWasGenerated) {
  answers({"abcdef", "Yes."});
  {
    ReplyStream stream = chat_.stream("Hi", greedy());
    auto it = stream.begin();
    ++it;
    EXPECT_EQ(*it, "b");
  }
  EXPECT_THAT(chat_.messages(), ElementsAre(Message{"user", "Hi"}, Message{"assistant", "ab"}));
  EXPECT_EQ(chat_.last_reply().finish_reason, FinishReason::cancelled);
  EXPECT_EQ(chat_.generate("More", greedy()), "Yes.");
  EXPECT_THAT(stage_->text(), HasSubstr("</think>\n\nab<|im_end|>\n<|im_start|>user\nMore<|im_end|>\n"));
  EXPECT_EQ(stage_->resets, 0U);
}

TEST_F(StreamTest, AReplyStoppedInsideThinkingLeavesTheQuestion) {
  stage_->script = {"<think>\nabc\n</think>\n\nx<|im_end|>"};
  int passes = 0;
  stage_->on_forward = [&] {
    if (++passes == 3) chat_.cancel();
  };
  const Reply reply = chat_.stream("Hi", greedy(true), {});
  stage_->on_forward = [] {};
  EXPECT_EQ(reply.finish_reason, FinishReason::cancelled);
  EXPECT_EQ(reply.text, "");
  EXPECT_EQ(reply.thinking, "abc");
  EXPECT_THAT(chat_.messages(), ElementsAre(Message{"user", "Hi"}));
  stage_->script = {"<think>\n\n</think>\n\nYes.<|im_end|>"};
  EXPECT_EQ(chat_.generate("More", greedy()), "Yes.");
  EXPECT_THAT(stage_->text(), HasSubstr("user\nHi<|im_end|>\n<|im_start|>user\nMore"));
}

TEST_F(StreamTest, AStreamNeverBegunLeavesTheQuestion) {
  answers({"abc", "Yes."});
  { const ReplyStream stream = chat_.stream("Hi", greedy()); }
  EXPECT_THAT(chat_.messages(), ElementsAre(Message{"user", "Hi"}));
  EXPECT_TRUE(stage_->passes.empty());
  EXPECT_EQ(chat_.generate("More", greedy()), "abc");
  EXPECT_THAT(stage_->text(), HasSubstr("user\nHi<|im_end|>\n<|im_start|>user\nMore<|im_end|>\n"));
}

TEST_F(StreamTest, ACallbackStopsTheReply) {
  answers({"abcdef", "Yes."});
  std::string text;
  const Reply reply = chat_.stream("Hi", greedy(), [&](std::string_view piece) {
    text += piece;
    return text.size() < 3;
  });
  EXPECT_EQ(text, "abc");
  EXPECT_EQ(reply.text, "abc");
  EXPECT_EQ(reply.finish_reason, FinishReason::cancelled);
  EXPECT_EQ(chat_.last_reply().text, "abc");
  EXPECT_EQ(chat_.messages().back().content, "abc");
  EXPECT_EQ(stage_->passes.size(), 3U);
}

TEST_F(StreamTest, ACancelStopsTheReplyAndNotTheNext) {
  answers({"abcdef", "Yes."});
  const Reply reply = chat_.stream("Hi", greedy(), [&](std::string_view) {
    chat_.cancel();
    return true;
  });
  EXPECT_EQ(reply.text, "a");
  EXPECT_EQ(reply.finish_reason, FinishReason::cancelled);
  EXPECT_EQ(chat_.generate("More", greedy()), "Yes.");
}

TEST_F(StreamTest, ACancelIsSeenDuringPrefill) {
  const std::string long_prompt(4 * Backend::kUsualPass, 'x');
  int passes = 0;
  stage_->on_forward = [&] {
    if (++passes == 2) chat_.cancel();
  };
  const Reply reply = chat_.stream(long_prompt, greedy(), {});
  stage_->on_forward = [] {};
  EXPECT_EQ(reply.finish_reason, FinishReason::cancelled);
  EXPECT_EQ(stage_->passes.size(), 1U) << "the second was cut short";
  EXPECT_EQ(reply.text, "");
  EXPECT_EQ(reply.metrics.reply_tokens, 0U);
  EXPECT_THAT(chat_.messages(), ElementsAre(Message{"user", long_prompt}));
  answers({"Yes."});
  EXPECT_EQ(chat_.generate("More", greedy()), "Yes.");
}

TEST_F(StreamTest, ACancelBeforeTheStartIsNotLostAndStopsOneReply) {
  answers({"abc"});
  chat_.cancel();
  EXPECT_EQ(chat_.generate("Hi", greedy()), "");
  EXPECT_EQ(chat_.last_reply().finish_reason, FinishReason::cancelled);
  EXPECT_TRUE(stage_->passes.empty());
  EXPECT_EQ(chat_.generate("Hello?", greedy()), "abc");
  chat_.cancel();
  EXPECT_TRUE(chat_.clear_cancel());
  EXPECT_FALSE(chat_.clear_cancel());
  EXPECT_EQ(chat_.regenerate(greedy()), "abc");
}

TEST_F(StreamTest, ACancelThatComesWithTheEndDoesNotReachTheNextReply) {
  answers({"abc", "Yes."});
  std::string text;
  chat_.stream("Hi", greedy(), [&](std::string_view piece) {
    text += piece;
    if (text == "abc") chat_.cancel();
    return true;
  });
  EXPECT_EQ(chat_.generate("More", greedy()), "Yes.");
}

TEST_F(StreamTest, AStopTokenStopsItsOwnCall) {
  answers({"abc", "Yes."});
  std::stop_source early;
  early.request_stop();
  GenerateOptions options = greedy();
  options.cancel = early.get_token();
  EXPECT_EQ(chat_.generate("Hi", options), "");
  EXPECT_EQ(chat_.last_reply().finish_reason, FinishReason::cancelled);
  std::stop_source source;
  options.cancel = source.get_token();
  const Reply reply = chat_.stream("Again", options, [&](std::string_view) { return source.request_stop(); });
  EXPECT_EQ(reply.text, "a");
  EXPECT_EQ(chat_.generate("More", greedy()), "Yes.");
}

TEST_F(StreamTest, ACancelDuringTheLastSliceOfPrefillGivesNoText) {
  answers({"abc"});
  stage_->on_forward = [&] { chat_.cancel(); };
  EXPECT_EQ(chat_.stream("Hi", greedy(), {}).text, "");
  EXPECT_EQ(chat_.last_reply().metrics.time_to_first_token_ms, 0);
}

TEST_F(StreamTest, ACancelFromAnotherThreadStopsAnEndlessReply) {
  stage_->script = {"<think>\n\n</think>\n\n" + std::string(90000, 'a')};
  stage_->on_forward = [] { std::this_thread::sleep_for(std::chrono::microseconds(200)); };
  GenerateOptions options = greedy();
  options.max_tokens = 90000;
  std::optional<std::thread> other;
  const Reply reply = chat_.stream("Hi", options, [&](std::string_view) {
    if (!other) other.emplace([&] { chat_.cancel(); });
    return true;
  });
  other->join();
  EXPECT_EQ(reply.finish_reason, FinishReason::cancelled);
  EXPECT_LT(reply.text.size(), 90000U);
}

TEST_F(StreamTest, ANewCallEndsTheStream) {
  answers({"abc", "Yes."});
  ReplyStream stream = chat_.stream("Hi", greedy());
  auto it = stream.begin();
  EXPECT_EQ(*it, "a");
  EXPECT_EQ(chat_.generate("More", greedy()), "Yes.");
  ++it;
  EXPECT_EQ(it, stream.end());
  EXPECT_THAT(chat_.messages(), ElementsAre(Message{"user", "Hi"}, Message{"assistant", "a"}, Message{"user", "More"},
                                            Message{"assistant", "Yes."}));
}

TEST_F(StreamTest, UnloadAndResetEndTheStream) {
  answers({"abc", "abc"});
  ReplyStream stream = chat_.stream("Hi", greedy());
  auto it = stream.begin();
  chat_.unload();
  ++it;
  EXPECT_EQ(it, stream.end());
  EXPECT_EQ(chat_.messages().back().content, "a");
  chat_.reload();
  ReplyStream second = chat_.stream("Hi", greedy());
  EXPECT_NE(second.begin(), second.end());
  chat_.reset_conversation();
  EXPECT_EQ(second.begin(), second.end());
  EXPECT_TRUE(chat_.messages().empty());
}

TEST_F(StreamTest, AnErrorDropsTheTurnAndEndsTheStream) {
  answers({"abc"});
  int passes = 0;
  stage_->on_forward = [&] {
    if (++passes == 2) throw Error(ErrorCode::internal, "broken pass");
  };
  ReplyStream stream = chat_.stream("Hi", greedy());
  auto it = stream.begin();
  EXPECT_THROW(++it, Error);
  EXPECT_EQ(stream.begin(), stream.end());
  EXPECT_TRUE(chat_.messages().empty());
}

TEST_F(StreamTest, StreamsMoveAndMayOutliveTheirChat) {
  answers({"abc", "xyz"});
  std::optional<Chat> chat = make_chat(stage_);
  ReplyStream stream = chat->stream("Hi", greedy());
  EXPECT_EQ(*stream.begin(), "a");
  ReplyStream moved = std::move(stream);
  EXPECT_EQ(*moved.begin(), "b");
  moved = chat->stream("More", greedy());
  EXPECT_EQ(chat->messages().back().content, "ab");
  EXPECT_EQ(*moved.begin(), "x");
  chat.reset();
  EXPECT_EQ(moved.begin(), moved.end());
}

}  // namespace
}  // namespace qwen35
