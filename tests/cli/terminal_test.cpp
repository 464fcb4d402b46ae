// `qwen35 chat` on a pseudo terminal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/models.h"
#include "cli/process.h"

namespace qwen35::test {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kPrompt = "\r\n> ";
constexpr const char* kInterrupt = "\x03";
constexpr const char* kEndOfFile = "\x04";

class ChatTerminal : public testing::Test {
 protected:
  void SetUp() override {
    const auto tiny = tiny_model();
    if (!tiny) GTEST_SKIP() << "the reference model tiny is not here";
    model_ = make_talking_model(folder_.path(), *tiny).string();
  }

  [[nodiscard]] std::vector<std::string> chat() const {
    return {"chat", "--model", model_, "--temp", "2", "--seed", "1", "--max-tokens", "4", "--no-thinking"};
  }
  [[nodiscard]] std::string home() const { return folder_.path().string(); }

  TemporaryFolder folder_;
  std::string model_;
};

TEST_F(ChatTerminal, AnswersAndLeavesWithEndOfFile) {
  Terminal terminal(chat(), home());
  EXPECT_THAT(terminal.read_until(kPrompt), HasSubstr("/help lists the commands"));
  terminal.type("Hello\n");
  EXPECT_THAT(terminal.read_until(kPrompt), HasSubstr(kPrompt));
  terminal.type("/stats\n");
  const std::string stats = terminal.read_until(kPrompt);
  EXPECT_THAT(stats, HasSubstr("reused"));
  EXPECT_THAT(stats, HasSubstr("tokens/s"));
  EXPECT_THAT(stats, HasSubstr("memory"));
  EXPECT_THAT(stats, HasSubstr("guessed"));
  terminal.type(kEndOfFile);
  EXPECT_EQ(terminal.wait(), 0);
}

TEST_F(ChatTerminal, InterruptStopsTheAnswerAndNotTheProgram) {
  const std::string endless = make_talking_model(folder_.path(), *tiny_model(), true).string();
  Terminal terminal({"chat", "--model", endless, "--temp", "0", "--max-tokens", "2000000", "--no-thinking"}, home());
  terminal.read_until(kPrompt);
  terminal.type("Hello\n");
  EXPECT_THAT(terminal.read_until("\r\n"), HasSubstr("Hello"));
  EXPECT_FALSE(terminal.read_until(kPrompt, std::chrono::seconds(1)).empty());
  terminal.type(kInterrupt);
  EXPECT_THAT(terminal.read_until(kPrompt), HasSubstr("(stopped)"));
  terminal.type("/think\n");
  EXPECT_THAT(terminal.read_until(kPrompt), HasSubstr("Thinking is off"));
  terminal.type("/quit\n");
  EXPECT_EQ(terminal.wait(), 0);
}

TEST_F(ChatTerminal, InterruptAtThePromptClearsTheLine) {
  Terminal terminal(chat(), home());
  terminal.read_until(kPrompt);
  terminal.type("/quit");
  terminal.read_until("/quit");
  terminal.type(kInterrupt);
  EXPECT_THAT(terminal.read_until(kPrompt), HasSubstr(kPrompt));
  terminal.type("/think\n");  // would be "/quit/think" if the line were still there
  EXPECT_THAT(terminal.read_until(kPrompt), HasSubstr("Thinking is off"));
  terminal.type(kEndOfFile);
  EXPECT_EQ(terminal.wait(), 0);
}

TEST_F(ChatTerminal, CommandsAreKnownAndOthersAreRefused) {
  Terminal terminal(chat(), home());
  terminal.read_until(kPrompt);
  const auto shown = [&terminal](const std::string& line) {
    terminal.type(line + "\n");
    return terminal.read_until(kPrompt);
  };
  const std::string help = shown("/help");
  for (const char* command :
       {"/system", "/reset", "/regenerate", "/undo", "/stats", "/save", "/load", "/think", "/quit"}) {
    EXPECT_THAT(help, HasSubstr(command));
  }
  EXPECT_THAT(shown("/conjure"), HasSubstr("no command /conjure"));
  EXPECT_THAT(shown("/system"), HasSubstr("There is no system prompt"));
  EXPECT_THAT(shown("/system Be brief."), HasSubstr("set"));
  EXPECT_THAT(shown("/system"), HasSubstr("System prompt: Be brief."));
  EXPECT_THAT(shown("/think maybe"), HasSubstr("on or off"));
  EXPECT_THAT(shown("/think on"), HasSubstr("Thinking is on"));
  EXPECT_THAT(shown("/load"), HasSubstr("needs a file"));
  EXPECT_THAT(shown("/load /no/such/file"), HasSubstr("error: there is no file /no/such/file"));
  EXPECT_THAT(shown("/save /no/such/folder/file"), HasSubstr("error: cannot write /no/such/folder/file"));
  EXPECT_THAT(shown("/again"), HasSubstr("no answer to make anew"));
  EXPECT_THAT(shown("/undo"), HasSubstr("nothing to take back"));
  EXPECT_THAT(shown("/reset"), HasSubstr("forgotten"));
}

TEST_F(ChatTerminal, SavesAndLoadsAConversation) {
  const std::string file = (folder_.path() / "conversation.json").string();
  {
    Terminal terminal(chat(), home());
    terminal.read_until(kPrompt);
    terminal.type("/system Be brief.\n");
    terminal.read_until(kPrompt);
    terminal.type("//slash \xC3\xA9\xE4\xBD\xA0\n");
    terminal.read_until(kPrompt);
    terminal.type("/save " + file + "\n");
    EXPECT_THAT(terminal.read_until(kPrompt), HasSubstr("Saved 3 messages"));
    terminal.type("/save " + file + "\n");
    EXPECT_THAT(terminal.read_until(kPrompt), HasSubstr("is there already"));
    terminal.type("/save -f " + file + "\n");
    EXPECT_THAT(terminal.read_until(kPrompt), HasSubstr("Saved 3 messages"));
  }
  const auto saved = nlohmann::json::parse(std::ifstream(file));
  ASSERT_EQ(saved["messages"].size(), 3U);
  EXPECT_EQ(saved["messages"][0]["content"], "Be brief.");
  EXPECT_EQ(saved["messages"][1]["content"], "/slash \xC3\xA9\xE4\xBD\xA0");
  EXPECT_EQ(saved["messages"][2]["role"], "assistant");

  Terminal terminal(chat(), home());
  terminal.read_until(kPrompt);
  terminal.type("/load " + file + "\n");
  EXPECT_THAT(terminal.read_until(kPrompt), HasSubstr("Loaded 3 messages"));
  terminal.type("/system\n");
  EXPECT_THAT(terminal.read_until(kPrompt), HasSubstr("System prompt: Be brief."));
  terminal.type("/load " + folder_.write("broken.json", R"({"messages": [{"role": "king"}]})") + "\n");
  EXPECT_THAT(terminal.read_until(kPrompt), HasSubstr("messages[0].role"));
  terminal.type("/system\n");  // the conversation is as it was
  EXPECT_THAT(terminal.read_until(kPrompt), HasSubstr("System prompt: Be brief."));
}

TEST_F(ChatTerminal, AnswersAgainAndTakesBack) {
  const std::string file = (folder_.path() / "talk.json").string();
  std::vector<std::string> unseeded = chat();
  unseeded[6] = "2";  // another seed for nothing: what counts is the conversation
  Terminal terminal(unseeded, home());
  terminal.read_until(kPrompt);
  const auto shown = [&terminal](const std::string& line) {
    terminal.type(line + "\n");
    return terminal.read_until(kPrompt);
  };
  const auto messages = [&] {
    shown("/save -f " + file);
    return nlohmann::json::parse(std::ifstream(file))["messages"];
  };
  shown("First");
  shown("Second question");
  EXPECT_EQ(messages().size(), 4U);
  shown("/regenerate");
  EXPECT_EQ(messages().size(), 4U);
  EXPECT_EQ(messages()[2]["content"], "Second question");
  EXPECT_THAT(shown("/stats"), testing::ContainsRegex("prompt +[0-9]+ tokens, [1-9][0-9]* of them reused"));
  EXPECT_THAT(shown("/undo"), HasSubstr("Taken back: Second question"));
  EXPECT_EQ(messages().size(), 2U);
  shown("/undo");
  EXPECT_EQ(messages().size(), 0U);
}

TEST_F(ChatTerminal, ASessionIsTakenUpAndSavedOnLeaving) {
  const std::string file = (folder_.path() / "talk").string();
  std::vector<std::string> arguments = chat();
  arguments.insert(arguments.end(), {"--session", file});
  {
    Terminal terminal(arguments, home());
    terminal.read_until(kPrompt);
    terminal.type("Hello\n");
    terminal.read_until(kPrompt);
    EXPECT_FALSE(std::filesystem::exists(file));
    terminal.type(kEndOfFile);
    EXPECT_EQ(terminal.wait(), 0);
  }
  ASSERT_TRUE(std::filesystem::exists(file));
  Terminal terminal(arguments, home());
  EXPECT_THAT(terminal.read_until(kPrompt), HasSubstr("The session goes on: 2 messages"));
  const std::string copy = (folder_.path() / "copy").string();
  terminal.type("/save " + copy + "\n");
  EXPECT_THAT(terminal.read_until(kPrompt), HasSubstr("Saved 2 messages"));
  terminal.type("/reset\n");
  terminal.read_until(kPrompt);
  terminal.type("/load " + copy + "\n");
  EXPECT_THAT(terminal.read_until(kPrompt), HasSubstr("Loaded 2 messages"));
  terminal.type("/quit\n");
  EXPECT_EQ(terminal.wait(), 0);
}

TEST_F(ChatTerminal, WhatCannotBeSavedDoesNotEndTheChatAtOnce) {
  const std::filesystem::path folder = folder_.path() / "gone";
  std::filesystem::create_directory(folder);
  std::vector<std::string> arguments = chat();
  arguments.insert(arguments.end(), {"--session", (folder / "talk").string()});
  Terminal terminal(arguments, home());
  terminal.read_until(kPrompt);
  terminal.type("Hello\n");
  terminal.read_until(kPrompt);
  std::filesystem::remove_all(folder);
  terminal.type("/quit\n");
  EXPECT_THAT(terminal.read_until(kPrompt), HasSubstr("leave once more"));
  terminal.type("/save " + (folder_.path() / "elsewhere").string() + "\n");
  EXPECT_THAT(terminal.read_until(kPrompt), HasSubstr("Saved 2 messages"));
  terminal.type("/quit\n");
  EXPECT_EQ(terminal.wait(), 1);
  EXPECT_TRUE(std::filesystem::exists(folder_.path() / "elsewhere"));
}

TEST_F(ChatTerminal, ALateInterruptDoesNotCancelTheNextAnswer) {
  Terminal terminal(chat(), home());
  terminal.read_until(kPrompt);
  for (int i = 0; i < 20; ++i) {
    terminal.type("Hello\n");
    terminal.type(kInterrupt);  // before, in or after the answer
    terminal.read_until(kPrompt);
  }
  terminal.type("/think\n");
  terminal.read_until("Thinking is off");
  terminal.read_until(kPrompt);
  terminal.type("Hello\n");
  EXPECT_THAT(terminal.read_until(kPrompt), Not(HasSubstr("(stopped)")));
}

TEST_F(ChatTerminal, KeepsItsHistoryToItself) {
  for (int run = 0; run < 2; ++run) {
    Terminal terminal(chat(), home());
    terminal.read_until(kPrompt);
    if (run == 0) {
      terminal.type("/think off\n");
    } else {
      terminal.type("\x1b[A\n");  // arrow up
    }
    EXPECT_THAT(terminal.read_until(kPrompt), HasSubstr("Thinking is off"));
    terminal.type(kEndOfFile);
    EXPECT_EQ(terminal.wait(), 0);
  }
  struct stat status {};
  ASSERT_EQ(stat((home() + "/qwen35/history").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

}  // namespace
}  // namespace qwen35::test
