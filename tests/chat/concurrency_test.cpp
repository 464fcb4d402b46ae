// Several conversations over one model at once, with cancels flying: run under ThreadSanitizer by `make tsan`.
#include <gtest/gtest.h>
#include <qwen35/chat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <mutex>
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

TEST_F(ConcurrentTest, APoolOfChatsServesConversationsAsOneWould) {
  Chat first = Chat::from_pretrained(folder_.string(), {.threads = 2, .session_memory = std::size_t{4} << 20});
  GenerateOptions options = greedy(true);
  options.max_tokens = 10;
  options.max_thinking_tokens = 6;
  constexpr std::size_t kClients = 4;
  constexpr int kTurns = 5;
  const auto ask = [&](Chat& chat, std::vector<Message>& messages, std::size_t client, int turn) {
    messages.push_back({"user", "Client " + std::to_string(client) + ", turn " + std::to_string(turn)});
    const std::size_t counted = chat.count_tokens(messages, options);
    std::string thinking;
    GenerateOptions asked = options;
    asked.on_thinking = [&](std::string_view piece) { thinking += piece; };
    messages.push_back({"assistant", chat.generate(messages, asked)});  // without its thinking, as clients do
    EXPECT_EQ(chat.last_reply().thinking, thinking);
    EXPECT_EQ(chat.last_reply().metrics.prompt_tokens, counted);
  };
  std::vector<std::vector<Message>> alone(kClients);
  for (std::size_t client = 0; client < kClients; ++client) {
    Chat chat = Chat::from_pretrained(folder_.string(), {.threads = 2});
    for (int turn = 0; turn < kTurns; ++turn) ask(chat, alone[client], client, turn);
  }

  std::vector<Chat> idle;
  for (int i = 0; i < 3; ++i) idle.push_back(first.fork());
  std::mutex mutex;
  std::vector<std::vector<Message>> served(kClients);
  std::vector<std::thread> threads;
  for (std::size_t client = 0; client < kClients; ++client) {
    threads.emplace_back([&, client] {
      for (int turn = 0; turn < kTurns; ++turn) {
        Chat chat = [&] {
          const std::lock_guard hold(mutex);
          if (idle.empty()) return first.fork();
          std::swap(idle[(client + static_cast<std::size_t>(turn)) % idle.size()], idle.back());
          Chat taken = std::move(idle.back());
          idle.pop_back();
          return taken;
        }();
        ask(chat, served[client], client, turn);
        if (turn % 2 == 0) chat.release_state();
        if (turn % 3 == 0) chat.reset_conversation();
        const std::lock_guard hold(mutex);
        idle.push_back(std::move(chat));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(served, alone);
}

TEST_F(ConcurrentTest, TokensMayBeCountedBesideAReply) {
  Chat chat = Chat::from_pretrained(folder_.string(), {.threads = 2});
  std::atomic<bool> done{false};
  std::thread counter([&] {
    const std::vector<Message> messages = {{"user", "0"}, {"assistant", "x"}, {"user", "1"}};
    std::size_t least = SIZE_MAX;
    while (!done.load()) {
      least = std::min(least, chat.count_tokens(messages));
      EXPECT_EQ(chat.detokenize(chat.tokenize("A text")), "A text");
    }
    EXPECT_GT(least, 20U);
  });
  GenerateOptions options = greedy();
  options.max_tokens = 20;
  for (int turn = 0; turn < 10; ++turn) chat.generate(std::to_string(turn), options);
  done = true;
  counter.join();
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
