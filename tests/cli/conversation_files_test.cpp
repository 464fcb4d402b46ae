// Conversations on disk, input that Ctrl-C ends, and cancels that come early or late.
#include "cli/conversation_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <istream>
#include <optional>
#include <thread>

#include "cli/interrupt.h"
#include "cli/interruptible_input.h"
#include "cli/models.h"
#include "cli/text_io.h"

namespace qwen35::cli {
namespace {

using testing::HasSubstr;

template <typename Function>
std::string error_of(Function&& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

class ConversationFiles : public testing::Test {
 protected:
  void SetUp() override {
    const auto mini = test::mini_model();
    if (!mini) GTEST_SKIP() << "models/qwen35-mini is not in this tree";
    chat_.emplace(Chat::from_pretrained(mini->string(), {.threads = 1}));
    options_.temperature = 0;
    options_.enable_thinking = false;
    options_.max_tokens = 16;
  }

  [[nodiscard]] Chat another() const { return Chat::from_pretrained(test::mini_model()->string(), {.threads = 1}); }
  [[nodiscard]] std::filesystem::path file(const char* name) const { return folder_.path() / name; }

  test::TemporaryFolder folder_;
  std::optional<Chat> chat_;
  GenerateOptions options_;
};

TEST_F(ConversationFiles, TheNameSaysTheFormAndTheContentTellsItAgain) {
  chat_->generate("My name is Alex.", options_);
  save_conversation(*chat_, file("talk.json"), false);
  save_conversation(*chat_, file("talk"), false);
  EXPECT_TRUE(read_all(file("talk.json"), 10000).starts_with("{"));
  std::filesystem::rename(file("talk.json"), file("other"));  // whatever it is called
  for (const char* name : {"other", "talk"}) {
    Chat chat = another();
    load_conversation(chat, file(name));
    EXPECT_EQ(chat.messages(), chat_->messages()) << name;
    EXPECT_THAT(chat.generate("What is my name?", options_), HasSubstr("Alex")) << name;
    // The session brings its state along, the messages alone are computed again.
    EXPECT_EQ(chat.last_reply().metrics.reused_tokens > 0, std::string(name) == "talk");
  }
}

TEST_F(ConversationFiles, AFileIsNotReplacedUnasked) {
  chat_->generate("Hello", options_);
  for (const char* name : {"talk", "talk.json"}) {
    save_conversation(*chat_, file(name), false);
    EXPECT_THAT(error_of([&] { save_conversation(*chat_, file(name), false); }), HasSubstr("is there already"));
    save_conversation(*chat_, file(name), true);
  }
  EXPECT_THAT(error_of([&] { save_conversation(*chat_, folder_.path(), true); }), HasSubstr("not a regular file"));
  EXPECT_THAT(error_of([&] { load_conversation(*chat_, file("none")); }), HasSubstr("there is no file"));
}

TEST_F(ConversationFiles, ASessionIsWrittenOnceSomethingWasSaid) {
  {
    StoredSession session(*chat_, file("talk"));
    session.save();
    EXPECT_FALSE(std::filesystem::exists(file("talk")));
    chat_->generate("Hello", options_);
    session.save();
  }
  const auto written = std::filesystem::last_write_time(file("talk"));
  Chat chat = another();
  StoredSession again(chat, file("talk"));
  EXPECT_EQ(again.loaded(), 2U);
  again.save();  // nothing is new
  EXPECT_EQ(std::filesystem::last_write_time(file("talk")), written);
}

TEST_F(ConversationFiles, ASessionThatCouldNotBeSavedIsRefusedAtTheStart) {
  EXPECT_THAT(error_of([&] { StoredSession(*chat_, "/no/such/folder/talk"); }), HasSubstr("/no/such/folder"));
  EXPECT_THAT(error_of([&] { StoredSession(*chat_, folder_.path()); }), HasSubstr("not a regular file"));
  const std::string broken = folder_.write("broken", "QW35SESSnonsense");
  EXPECT_THAT(error_of([&] { StoredSession(*chat_, broken); }), HasSubstr("broken"));
  EXPECT_EQ(read_all(broken, 100), "QW35SESSnonsense");
}

TEST_F(ConversationFiles, AnEarlyInterruptCancelsTheReplyAndALateOneNothing) {
  install_interrupt_handler();
  const PollInterrupt poll;
  clear_interrupt();
  raise(SIGINT);
  {
    const CancelOnInterrupt cancel(*chat_);
    chat_->generate("Hello", options_);
    EXPECT_EQ(chat_->last_reply().finish_reason, FinishReason::cancelled);
  }
  clear_interrupt();
  {
    const CancelOnInterrupt cancel(*chat_);
    chat_->generate("Hello", options_);
    raise(SIGINT);  // the reply is over
  }
  EXPECT_FALSE(chat_->clear_cancel());
  chat_->generate("Hello", options_);
  EXPECT_EQ(chat_->last_reply().finish_reason, FinishReason::stop);
  clear_interrupt();
}

TEST(InterruptibleInput, GivesLinesAndEndsWithAnInterrupt) {
  install_interrupt_handler();
  const PollInterrupt poll;
  clear_interrupt();
  int ends[2] = {-1, -1};
  ASSERT_EQ(pipe(ends), 0);
  const std::string text = "one\n" + std::string(10000, 'x') + "\nrest";
  ASSERT_EQ(write(ends[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  InterruptibleInput buffer(ends[0]);
  std::istream in(&buffer);
  EXPECT_EQ(read_line(in, 1 << 20, "x"), "one");
  EXPECT_EQ(read_line(in, 1 << 20, "x"), std::string(10000, 'x'));
  std::thread presser([] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    raise(SIGINT);
  });
  EXPECT_EQ(read_line(in, 1 << 20, "x"), "rest");  // what had come
  presser.join();
  EXPECT_TRUE(interrupted());
  EXPECT_EQ(read_line(in, 1 << 20, "x"), std::nullopt);
  clear_interrupt();
  close(ends[1]);
  InterruptibleInput ended(ends[0]);
  std::istream at_end(&ended);
  EXPECT_EQ(read_line(at_end, 1 << 20, "x"), std::nullopt);
  close(ends[0]);
}

}  // namespace
}  // namespace qwen35::cli
