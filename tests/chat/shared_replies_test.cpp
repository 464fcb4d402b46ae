// Replies in their sampled tokens, remembered for all conversations over a model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/chat.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "chat/fakes.h"
#include "chat/reply_memory.h"

namespace qwen35 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing_doubles::greedy;
using testing_doubles::make_chat;
using testing_doubles::Stage;

PrefixKey key_of(const std::vector<TokenId>& tokens) {
  TokenHash hash;
  hash.add(tokens);
  return hash.key();
}

ReplyMemory::Reply reply_of(const std::vector<TokenId>& before, const std::string& text, std::size_t tokens) {
  return {key_of(before),
          {.role = "assistant", .content = text, .thinking = "of " + text},
          std::vector<TokenId>(tokens, 7)};
}

TEST(TokenHash, PortionsDoNotMatterAndEveryTokenDoes) {
  std::vector<TokenId> tokens(1000);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<TokenId>(i * 31);
  const PrefixKey whole = key_of(tokens);
  EXPECT_EQ(whole.tokens, tokens.size());
  TokenHash parts;
  for (std::size_t begin = 0, size = 1; begin < tokens.size(); begin += size, size = size * 2 + 1) {
    EXPECT_EQ(parts.key(), key_of({tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(begin)}));
    size = std::min(size, tokens.size() - begin);
    parts.add(std::span(tokens).subspan(begin, size));
  }
  EXPECT_EQ(parts.key(), whole);
  for (const std::size_t at : {0U, 1U, 500U, 999U}) {
    std::vector<TokenId> other = tokens;
    other[at] ^= 1;
    EXPECT_NE(key_of(other), whole);
  }
  EXPECT_NE(key_of({0}), key_of({}));
}

TEST(ReplyMemory, FindsByBeginningAndTextAlone) {
  ReplyMemory memory;
  memory.remember(reply_of({1, 2}, "a", 10));
  memory.remember(reply_of({1, 2}, "b", 20));
  memory.remember(reply_of({1, 3}, "a", 30));
  const auto found = memory.find(key_of({1, 2}), {.role = "assistant", .content = " a\n"});
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->tokens.size(), 10U);
  EXPECT_EQ(found->message.thinking, "of a");
  EXPECT_EQ(memory.find(key_of({1, 2}), {.role = "assistant", .content = "c"}), nullptr);
  EXPECT_EQ(memory.find(key_of({1}), {.role = "assistant", .content = "a"}), nullptr);
  EXPECT_EQ(memory.find(key_of({1, 2}), {.role = "user", .content = "a"}), nullptr);
  memory.remember(reply_of({1, 2}, "a ", 15));  // the same to a caller: the later one counts
  EXPECT_EQ(memory.find(key_of({1, 2}), {.role = "assistant", .content = "a"})->tokens.size(), 15U);
  EXPECT_EQ(memory.tokens(), 65U);
  EXPECT_EQ(found->tokens.size(), 10U) << "what was found stays";
  memory.clear();
  EXPECT_EQ(memory.tokens(), 0U);
  EXPECT_EQ(memory.find(key_of({1, 2}), {.role = "assistant", .content = "a"}), nullptr);
}

TEST(ReplyMemory, TheLongestUnusedGoFirst) {
  ReplyMemory memory(100);
  const auto has = [&](const std::string& text) {
    return memory.find(key_of({1}), {.role = "assistant", .content = text}) != nullptr;
  };
  memory.remember(reply_of({1}, "a", 40));
  memory.remember(reply_of({1}, "b", 40));
  EXPECT_TRUE(has("a"));
  memory.remember(reply_of({1}, "c", 40));
  EXPECT_FALSE(has("b"));
  EXPECT_TRUE(has("a"));
  EXPECT_TRUE(has("c"));
  memory.remember(reply_of({1}, "d", 1000));
  EXPECT_FALSE(has("a"));
  EXPECT_TRUE(has("d")) << "the last one is kept whatever its length";
  EXPECT_EQ(memory.tokens(), 1000U);
}

class SharedRepliesTest : public testing::Test {
 protected:
  std::shared_ptr<Stage> stage_ = std::make_shared<Stage>();
  Chat first_ = make_chat(stage_);
  Chat second_ = first_.fork();
};

TEST_F(SharedRepliesTest, AnotherChatContinuesTheConversation) {
  stage_->script = {"<think>\nhm\n</think>\n\none<|im_end|>", "<think>\nwell\n</think>\n\ntwo<|im_end|>",
                    "<think>\nso\n</think>\n\nthree<|im_end|>"};
  first_.generate("First", greedy(true));
  std::size_t fed = stage_->history.size();
  std::vector<Message> messages = {{"user", "First"}, {"assistant", "one"}, {"user", "Second"}};
  EXPECT_EQ(second_.generate(messages, greedy(true)), "two");
  EXPECT_GE(second_.last_reply().metrics.reused_tokens, fed) << "the reply and its thinking are not computed again";
  EXPECT_THAT(stage_->text(), HasSubstr("<think>\nhm\n</think>\n\none<|im_end|>\n<|im_start|>user\nSecond"));
  EXPECT_EQ(second_.messages()[1].thinking, "hm");
  fed = stage_->history.size();
  first_.reset_conversation();
  second_.reset_conversation();
  messages.insert(messages.end(), {{"assistant", "two"}, {"user", "Third"}});
  EXPECT_EQ(first_.generate(messages, greedy(true)), "three");
  EXPECT_GE(first_.last_reply().metrics.reused_tokens, fed)
      << "a reset forgets a conversation, not what others may use";
}

TEST_F(SharedRepliesTest, AnotherBeginningFindsNothing) {
  stage_->script = {"<think>\nsecret\n</think>\n\none<|im_end|>", "<think>\n\n</think>\n\ntwo<|im_end|>"};
  first_.generate("First", greedy(true));
  for (const char* question : {"first", "First.", "Firs", ""}) {
    const std::vector<Message> messages = {{"user", question}, {"assistant", "one"}, {"user", "Second"}};
    second_.generate(messages, greedy());
    EXPECT_THAT(stage_->text(), Not(HasSubstr("secret"))) << question;
    EXPECT_EQ(second_.messages()[1].thinking, "");
  }
  GenerateOptions with_system = greedy();
  with_system.system_prompt = "Another system prompt.";
  second_.generate(std::vector<Message>{{"user", "First"}, {"assistant", "one"}, {"user", "Second"}}, with_system);
  EXPECT_THAT(stage_->text(), Not(HasSubstr("secret")));
  second_.generate(std::vector<Message>{{"user", "First"}, {"assistant", "won"}, {"user", "Second"}}, greedy());
  EXPECT_THAT(stage_->text(), Not(HasSubstr("secret")));
}

TEST_F(SharedRepliesTest, ASessionFileBringsItsRepliesForAll) {
  stage_->script = {"<think>\nhm\n</think>\n\none<|im_end|>", "<think>\n\n</think>\n\ntwo<|im_end|>"};
  first_.generate("First", greedy(true));
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / ("qwen35-shared-replies-" + std::to_string(getpid()));
  first_.save_session(file);
  Chat elsewhere = make_chat(stage_);
  Chat fork = elsewhere.fork();
  elsewhere.load_session(file);
  std::filesystem::remove(file);
  fork.generate(std::vector<Message>{{"user", "First"}, {"assistant", "one"}, {"user", "Second"}}, greedy());
  EXPECT_THAT(stage_->text(), HasSubstr("<think>\nhm\n</think>\n\none<|im_end|>"));
  EXPECT_EQ(fork.messages()[1].thinking, "hm");
}

TEST_F(SharedRepliesTest, ConversationsAreServedByWhicheverChatIsFree) {
  stage_->script.clear();
  for (int turn = 0; turn < 12; ++turn) {
    stage_->script.push_back("<think>\nthought " + std::to_string(turn) + "\n</think>\n\nreply " +
                             std::to_string(turn) + "<|im_end|>");
  }
  std::vector<Chat> pool;
  for (int i = 0; i < 3; ++i) pool.push_back(first_.fork());
  std::vector<std::vector<Message>> clients(5);
  std::mt19937 random(7);
  for (int step = 0; step < 50; ++step) {
    Chat& chat = pool[random() % pool.size()];
    const std::size_t name = random() % clients.size();
    std::vector<Message>& messages = clients[name];
    if (messages.size() > 16) messages.clear();
    messages.push_back({"user", "Client " + std::to_string(name) + ", question " + std::to_string(step)});
    const std::size_t turns = messages.size() / 2;
    const std::string reply = chat.generate(messages, greedy(true));
    EXPECT_EQ(reply, "reply " + std::to_string(turns));
    std::string whole;  // what the model saw: each reply as it was sampled
    for (std::size_t i = 0; i < messages.size(); i += 2) {
      whole += "<|im_start|>user\n" + messages[i].content + "<|im_end|>\n<|im_start|>assistant\n" +
               stage_->script[i / 2] + (i + 1 < messages.size() ? "\n" : "");
    }
    EXPECT_EQ(stage_->text() + "<|im_end|>", whole);
    EXPECT_GT(turns == 0 ? 1 : chat.last_reply().metrics.reused_tokens, 0U);
    messages.push_back({"assistant", reply});
    if (random() % 4 == 0) chat.reset_conversation();
    if (random() % 4 == 0) chat.release_state();
  }
}

}  // namespace
}  // namespace qwen35
