// What is computed again, and what is not: edits, switches, forks, interruptions, early prefill, sessions on disk.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/chat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "chat/fakes.h"

namespace qwen35 {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing_doubles::greedy;
using testing_doubles::make_chat;
using testing_doubles::Stage;

constexpr const char* kNoThought = "<think>\n\n</think>\n\n";

class ReuseTest : public testing::Test {
 protected:
  void answers(const std::vector<std::string>& texts) {
    stage_->script.clear();
    for (const std::string& text : texts) stage_->script.push_back(kNoThought + text + "<|im_end|>");
  }
  [[nodiscard]] std::size_t computed() const {
    const Metrics& metrics = chat_.last_reply().metrics;
    return metrics.prompt_tokens - metrics.reused_tokens;
  }
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

  std::shared_ptr<Stage> stage_ = std::make_shared<Stage>();
  Chat chat_ = make_chat(stage_);
};

TEST_F(ReuseTest, RegeneratingComputesNoPrompt) {
  answers({"one", "two"});
  chat_.generate("A question that is long enough", greedy());
  stage_->clear_counts();
  EXPECT_EQ(chat_.regenerate(greedy()), "one");
  EXPECT_EQ(computed(), 0U);
  EXPECT_EQ(chat_.messages().size(), 2U);
  EXPECT_EQ(stage_->passes.front(), 1U) << "the first token's logits were kept";
  chat_.reset_conversation();
  EXPECT_EQ(code_of([&] { chat_.regenerate(greedy()); }, "no reply"), ErrorCode::invalid_argument);
}

TEST_F(ReuseTest, EditingTheLastQuestionKeepsWhatStandsBeforeIt) {
  stage_->script = {"<think>\nhm\n</think>\n\none<|im_end|>", std::string(kNoThought) + "two<|im_end|>"};
  chat_.generate("First", greedy(true));
  const std::size_t first_turn = stage_->history.size();
  chat_.generate("Second", greedy());
  std::vector<Message> messages = chat_.messages();
  messages.pop_back();
  messages.back().content = "Another";
  EXPECT_EQ(chat_.generate(messages, greedy()), "two");
  EXPECT_GE(chat_.last_reply().metrics.reused_tokens, first_turn);
  EXPECT_THAT(stage_->text(), HasSubstr("<think>\nhm\n</think>\n\none<|im_end|>\n<|im_start|>user\nAnother"));
  EXPECT_EQ(stage_->resets, 0U);
}

TEST_F(ReuseTest, SwitchingBetweenConversationsFindsBoth) {
  answers({"one", "two"});
  const std::string system(100, 's');
  GenerateOptions options = greedy();
  options.system_prompt = system;
  chat_.generate("Cats?", options);
  const std::vector<Message> cats = chat_.messages();
  chat_.reset_conversation();
  chat_.generate("Dogs?", options);
  EXPECT_GT(chat_.last_reply().metrics.reused_tokens, 100U) << "the system prompt is shared";
  const std::vector<Message> dogs = chat_.messages();
  for (const auto& list : {cats, dogs, cats, dogs}) {
    std::vector<Message> messages = list;
    messages.push_back({"user", "And?"});
    EXPECT_EQ(chat_.generate(messages, greedy()), "two");
    EXPECT_LT(computed(), 60U);
  }
}

TEST_F(ReuseTest, AForkGoesItsOwnWayAndComputesNothingTwice) {
  answers({"one", "two"});
  chat_.generate("A long question to begin with, fifty characters.", greedy());
  Chat other = chat_.fork();
  EXPECT_EQ(stage_->loads, 1U);
  EXPECT_EQ(other.messages(), chat_.messages());
  EXPECT_EQ(other.generate("Left", greedy()), "two");
  EXPECT_GT(other.last_reply().metrics.reused_tokens, 50U);
  EXPECT_EQ(chat_.generate("Right", greedy()), "two");
  EXPECT_EQ(chat_.messages()[2].content, "Right");
  EXPECT_EQ(other.messages()[2].content, "Left");
  chat_.unload();
  EXPECT_EQ(stage_->alive, 1) << "the fork still uses the weights";
  other.unload();
  EXPECT_EQ(stage_->alive, 0);
  other.reload();
  chat_.reload();
  EXPECT_EQ(stage_->loads, 2U) << "one load serves both";
}

TEST_F(ReuseTest, TruncatingKeepsWhatWasHeard) {
  answers({"Hello there, friend.", "two"});
  chat_.generate("Hi", greedy());
  chat_.truncate_reply("Hello there");
  EXPECT_EQ(chat_.messages().back().content, "Hello there");
  EXPECT_EQ(chat_.last_reply().text, "Hello there, friend.");
  EXPECT_EQ(chat_.generate("Go on", greedy()), "two");
  EXPECT_THAT(stage_->text(), HasSubstr("</think>\n\nHello there<|im_end|>\n<|im_start|>user\nGo on"));
  EXPECT_LT(computed(), 80U);
  EXPECT_EQ(stage_->resets, 0U);
}

TEST_F(ReuseTest, TruncatingByTokensToNothingAndToAll) {
  answers({"abcdef", "x"});
  chat_.generate("Hi", greedy());
  chat_.truncate_reply(100);
  EXPECT_EQ(chat_.messages().back().content, "abcdef");
  chat_.truncate_reply(std::size_t{3});
  EXPECT_EQ(chat_.messages().back().content, "abc");
  chat_.truncate_reply("ab");
  EXPECT_EQ(chat_.messages().back().content, "ab");
  EXPECT_EQ(code_of([&] { chat_.truncate_reply("ax"); }, "byte 1"), ErrorCode::invalid_argument);
  chat_.truncate_reply("");
  EXPECT_THAT(chat_.messages(), ElementsAre(Message{"user", "Hi"}));
  EXPECT_EQ(code_of([&] { chat_.truncate_reply("a"); }, "no reply"), ErrorCode::invalid_argument);
  EXPECT_EQ(chat_.generate("Again", greedy()), "abcdef");  // the first reply of the conversation
  EXPECT_THAT(stage_->text(), HasSubstr("user\nHi<|im_end|>\n<|im_start|>user\nAgain<|im_end|>\n"));
}

TEST_F(ReuseTest, WhatWasComputedOfAnUnfinishedQuestionIsReused) {
  answers({"one", "two"});
  chat_.generate("Hi", greedy());
  EXPECT_GT(chat_.prefill("What is the"), 0U);
  EXPECT_THAT(stage_->text(), EndsWith("<|im_start|>user\nWhat is"));
  chat_.prefill("What is the weather in");
  EXPECT_THAT(stage_->text(), EndsWith("<|im_start|>user\nWhat is the weather"));
  EXPECT_EQ(chat_.messages().size(), 2U) << "nothing was said yet";
  // The recogniser changes its mind.
  chat_.prefill("What if the rain is");
  EXPECT_THAT(stage_->text(), EndsWith("<|im_start|>user\nWhat if the rain"));
  EXPECT_THAT(stage_->text(), Not(HasSubstr("weather")));
  EXPECT_EQ(stage_->resets, 0U);
  stage_->clear_counts();
  EXPECT_EQ(chat_.generate("What if the rain comes today?", greedy()), "two");
  EXPECT_LT(computed(), 70U);
  EXPECT_THAT(stage_->text(), HasSubstr("user\nWhat if the rain comes today?<|im_end|>"));
}

TEST_F(ReuseTest, TheTemplatesFormOfAHistoryIsAChoice) {
  stage_->script = {"<think>\nhm\n</think>\n\none<|im_end|>", std::string(kNoThought) + "two<|im_end|>"};
  chat_.generate("First", greedy(true));
  GenerateOptions options = greedy();
  options.history = HistoryForm::rendered;
  EXPECT_EQ(chat_.generate("Second", options), "two");
  EXPECT_THAT(stage_->text(), HasSubstr("<|im_start|>assistant\none<|im_end|>\n<|im_start|>user\nSecond"));
}

TEST_F(ReuseTest, TheContextPolicyDropsWholeTurnsAndSaysSo) {
  stage_->max_positions = 400;
  chat_ = make_chat(stage_);
  answers(std::vector<std::string>(20, "An answer of some length."));
  GenerateOptions options = greedy();
  options.max_tokens = 40;
  options.system_prompt = "Short.";
  std::size_t dropped = 0;
  bool refused = false;
  for (int i = 0; i < 6 && !refused; ++i) {
    try {
      chat_.generate("Question number " + std::to_string(i), options);
    } catch (const Error& error) {
      refused = error.code() == ErrorCode::context_limit;
    }
    EXPECT_EQ(chat_.last_reply().dropped_messages, 0U);
  }
  EXPECT_TRUE(refused);
  options.context_policy = ContextPolicy::drop_oldest;
  for (int i = 0; i < 12; ++i) {
    const std::string prompt = "Later question " + std::to_string(i);
    EXPECT_NE(chat_.generate(prompt, options), "");
    dropped += chat_.last_reply().dropped_messages;
    EXPECT_EQ(chat_.messages().front().role, "system");
    EXPECT_EQ(chat_.messages()[1].role, "user");
    EXPECT_EQ(chat_.messages()[chat_.messages().size() - 2].content, prompt);
    EXPECT_LE(stage_->history.size(), 400U);
  }
  EXPECT_GT(dropped, 4U);
}

TEST_F(ReuseTest, SessionsKeepToTheirMemory) {
  answers(std::vector<std::string>(30, "ok"));
  ChatFactory factory;
  auto stage = stage_;
  Chat chat = factory.make(
      [stage] {
        return std::make_unique<Model>(Tokenizer::from_json(testing_doubles::byte_tokenizer_json(), "bytes"),
                                       testing_doubles::make_fake_backend(stage), ModelInfo{}, 0);
      },
      20000);
  for (int i = 0; i < 30; ++i) {
    chat.generate("question " + std::to_string(i), greedy());
    EXPECT_LE(chat.memory_footprint(), chat.info().parameters + 1'000'000U + 20000U + 500'000U);
  }
  chat.unload({.keep_session = 5000});
  EXPECT_LE(chat.memory_footprint(), 5000U);
}

class SessionOnDisk : public ReuseTest {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("qwen35-sessions-" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  [[nodiscard]] std::string read() const {
    std::ifstream in(folder_ / "one", std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& bytes) const { std::ofstream(folder_ / "bad", std::ios::binary) << bytes; }

  fs::path folder_;
};

TEST_F(SessionOnDisk, GoesOnWhereItWasSaved) {
  stage_->script = {"<think>\nhm\n</think>\n\none<|im_end|>", std::string(kNoThought) + "two<|im_end|>"};
  GenerateOptions options = greedy(true);
  options.system_prompt = "Brief \xC3\xA9.";
  chat_.generate("First", options);
  chat_.save_session(folder_ / "one");
  const std::vector<Message> messages = chat_.messages();

  auto later = std::make_shared<Stage>();
  later->script = stage_->script;
  Chat chat = make_chat(later);
  chat.load_session(folder_ / "one");
  EXPECT_EQ(chat.messages(), messages);
  EXPECT_EQ(later->fed(), 0U);
  EXPECT_EQ(chat.generate("Second", greedy()), "two");
  const Metrics& metrics = chat.last_reply().metrics;
  EXPECT_EQ(metrics.prompt_tokens - metrics.reused_tokens, later->passes.front());
  EXPECT_THAT(later->text(), HasSubstr("<think>\nhm\n</think>\n\none<|im_end|>\n<|im_start|>user\nSecond"));
  // And what stands before an edit is found as it was sampled.
  std::vector<Message> edited = chat.messages();
  edited.pop_back();
  edited.back().content = "Other";
  chat.generate(edited, greedy());
  EXPECT_THAT(later->text(), HasSubstr("<think>\nhm\n</think>\n\none<|im_end|>\n<|im_start|>user\nOther"));
}

TEST_F(SessionOnDisk, ReplacesInOneStepAndLeavesNothingBeside) {
  answers({"one", "two"});
  chat_.save_session(folder_ / "one");  // nothing said yet
  Chat empty = make_chat(stage_);
  empty.load_session(folder_ / "one");
  EXPECT_TRUE(empty.messages().empty());
  chat_.generate("First", greedy());
  chat_.save_session(folder_ / "one");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
  EXPECT_EQ(code_of([&] { chat_.save_session(folder_ / "no" / "such" / "folder"); }, "cannot write"),
            ErrorCode::bad_file);
}

TEST_F(SessionOnDisk, AnyDamageIsSeen) {
  answers({"one"});
  chat_.generate("First", greedy());
  chat_.save_session(folder_ / "one");
  const std::string good = read();
  const std::vector<Message> messages = chat_.messages();
  const auto refused = [&](const std::string& bytes, const std::string& part) {
    write(bytes);
    EXPECT_EQ(code_of([&] { chat_.load_session(folder_ / "bad"); }, part), ErrorCode::bad_file);
    EXPECT_EQ(chat_.messages(), messages);
  };
  refused("", "");
  refused(good.substr(0, 20), "shorter than its header");
  refused("x" + good.substr(1), "does not begin");
  refused(good.substr(0, good.size() - 1), "cut off");
  refused(good + "x", "cut off or added to");
  for (std::size_t at = 8; at < good.size(); at += 7) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x20);
    write(bad);
    EXPECT_THROW(chat_.load_session(folder_ / "bad"), Error) << at;
  }
  EXPECT_EQ(code_of([&] { chat_.load_session(folder_ / "none"); }, "none"), ErrorCode::not_found);
  EXPECT_EQ(chat_.messages(), messages);
  EXPECT_EQ(chat_.generate("More", greedy()), chat_.last_reply().text);
}

TEST_F(SessionOnDisk, OfAnotherModelOrBackendIsRefused) {
  answers({"one"});
  chat_.generate("First", greedy());
  chat_.save_session(folder_ / "one");
  auto stage = stage_;
  Chat other = ChatFactory::make([stage] {
    auto model = std::make_unique<Model>(Tokenizer::from_json(testing_doubles::byte_tokenizer_json(), "bytes"),
                                         testing_doubles::make_fake_backend(stage), ModelInfo{}, 0);
    model->fingerprint = 77;
    return model;
  });
  EXPECT_EQ(code_of([&] { other.load_session(folder_ / "one"); }, "another model"), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace qwen35
