// Several conversations over one model at once, with cancels flying: run under ThreadSanitizer by `make tsan`.
#include <gtest/gtest.h>
#include <qwen35/chat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "chat/fakes.h"

namespace qwen35 {
namespace {

namespace fs = std::filesystem;
using testing_doubles::greedy;

class ConcurrentTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("qwen35-concurrent-" + std::to_string(getpid()));
    const fs::path tiny = fs::path(QWEN35_TEST_DATA) / "reference" / "tiny";
    fs::create_directories(folder_);
    for (const char* name : {"config.json", "model.safetensors"}) {
      fs::copy_file(tiny / name, folder_ / name, fs::copy_options::overwrite_existing);
    }
    std::ofstream(folder_ / "tokenizer.json") << testing_doubles::byte_tokenizer_json();
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path folder_;
};

TEST_F(ConcurrentTest, ConversationsOnSeveralThreadsSayWhatTheySayAlone) {
  Chat first = Chat::from_pretrained(folder_.string(), {.threads = 2, .session_memory = std::size_t{2} << 20});
  GenerateOptions options = greedy();
  options.max_tokens = 12;
  options.system_prompt = "A system prompt that all of them share, so that they meet.";
  const auto converse = [&](Chat& chat, int topic) {
    std::string said;
    for (int turn = 0; turn < 6; ++turn) {
      said += chat.generate("Topic " + std::to_string(topic) + " turn " + std::to_string(turn), options) + "|";
    }
    return said;
  };
  constexpr int kThreads = 4;
  std::vector<std::string> alone;
  for (int i = 0; i < kThreads; ++i) {
    Chat chat = first.fork();
    alone.push_back(converse(chat, i));
  }
  std::vector<Chat> chats;
  for (int i = 0; i < kThreads; ++i) chats.push_back(first.fork());
  std::vector<std::string> together(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    const auto index = static_cast<std::size_t>(i);
    threads.emplace_back([&, i, index] { together[index] = converse(chats[index], i); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(together, alone);
}

TEST_F(ConcurrentTest, CancelsFromOtherThreadsStopRepliesAndNothingElse) {
  Chat first = Chat::from_pretrained(folder_.string(), {.threads = 2});
  std::vector<Chat> chats;
  for (int i = 0; i < 3; ++i) chats.push_back(first.fork());
  std::atomic<bool> done{false};
  std::thread canceller([&] {
    std::mt19937 random(1);
    while (!done.load()) {
      chats[random() % chats.size()].cancel();
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 2000));
    }
  });
  std::vector<std::thread> threads;
  for (Chat& chat : chats) {
    threads.emplace_back([&chat] {
      GenerateOptions options = greedy();
      options.max_tokens = 40;
      for (int turn = 0; turn < 15; ++turn) {
        chat.generate(std::string(static_cast<std::size_t>(20 + 40 * turn), 'q'), options);
        if (turn % 5 == 4) chat.reset_conversation();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  done = true;
  canceller.join();
  GenerateOptions options = greedy();
  options.max_tokens = 12;
  Chat fresh = first.fork();
  const std::string expected = fresh.generate("Still there?", options);
  for (Chat& chat : chats) {
    chat.clear_cancel();
    chat.reset_conversation();
    EXPECT_EQ(chat.generate("Still there?", options), expected);
  }
}

}  // namespace
}  // namespace qwen35
