// The whole way with a real backend: the tiny reference model, drawn at random, with a byte vocabulary.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/chat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "chat/fakes.h"
#include "checkpoint/synth.h"

namespace qwen35 {
namespace {

namespace fs = std::filesystem;
using testing_doubles::greedy;

class RealModelTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("qwen35-tiny-" + std::to_string(getpid()));
    const fs::path tiny = fs::path(QWEN35_TEST_DATA) / "reference" / "tiny";
    fs::create_directories(folder_);
    for (const char* name : {"config.json", "model.safetensors"}) {
      fs::copy_file(tiny / name, folder_ / name, fs::copy_options::overwrite_existing);
    }
    std::ofstream(folder_ / "tokenizer.json") << testing_doubles::byte_tokenizer_json();
  }
  void TearDown() override { fs::remove_all(folder_); }

  Chat load(std::size_t context = 0) {
    return Chat::from_pretrained(folder_.string(), {.threads = 2, .backend = GetParam(), .context = context});
  }

  fs::path folder_;
};

TEST_P(RealModelTest, SpeaksAndRepeatsItself) {
  Chat chat = load();
  const ModelInfo info = chat.info();
  EXPECT_EQ(info.name, folder_.filename().string());
  EXPECT_GT(info.parameters, 100000U);
  EXPECT_DOUBLE_EQ(info.bits_per_weight, 16);
  EXPECT_EQ(info.context, 262144U);

  GenerateOptions options;
  options.seed = 11;
  options.max_tokens = 40;
  options.max_thinking_tokens = 10;
  const std::string first = chat.generate("Hello", options);
  const Reply reply = chat.last_reply();
  chat.reset_conversation();
  std::string streamed;
  for (const std::string_view piece : chat.stream("Hello", options)) streamed += piece;
  EXPECT_EQ(streamed, first);
  EXPECT_EQ(chat.last_reply().thinking, reply.thinking);
  EXPECT_EQ(chat.last_reply().metrics.reply_tokens, reply.metrics.reply_tokens);
}

TEST_P(RealModelTest, ReusedTokensGiveTheReplyThatRefillingGives) {
  GenerateOptions options = greedy();
  options.max_tokens = 12;
  Chat kept = load();
  Chat refilled = load();
  for (const char* prompt : {"One", "Two two", "Three"}) {
    const std::string reply = kept.generate(prompt, options);
    EXPECT_EQ(refilled.generate(prompt, options), reply);
    EXPECT_EQ(refilled.last_reply().metrics.reused_tokens, 0U);
    EXPECT_EQ(refilled.last_reply().metrics.prompt_tokens, kept.last_reply().metrics.prompt_tokens);
    refilled.unload({.keep_session = 0});  // the next turn computes the same tokens from the start
    refilled.reload();
  }
  EXPECT_GT(kept.last_reply().metrics.reused_tokens, 0U);
}

TEST_P(RealModelTest, SaysWhatItHoldsAndFreesIt) {
  Chat chat = load();
  GenerateOptions options = greedy();
  options.max_tokens = 8;
  const std::size_t loaded = chat.memory_footprint();
  EXPECT_GT(loaded, 0U);
  chat.generate("Hello", options);
  EXPECT_GE(chat.memory_footprint(), loaded);
  chat.unload({.keep_session = 0});
  EXPECT_EQ(chat.memory_footprint(), 0U);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    EXPECT_EQ(line.find(folder_.string()), std::string::npos) << "still mapped: " << line;
  }
  chat.reload();
  EXPECT_EQ(chat.messages().size(), 2U);
  chat.generate("More", options);
}

TEST_P(RealModelTest, TheContextOptionLimits) {
  Chat chat = load(80);
  EXPECT_EQ(chat.info().context, 80U);
  try {
    chat.generate(std::string(100, 'x'), greedy());
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::context_limit);
  }
}

/// Bytes of this process in memory, shared pages of files included.
std::size_t resident_bytes() {
  std::size_t total = 0;
  std::size_t resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

TEST_P(RealModelTest, UnloadGivesTheMemoryBack) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers keep freed memory";
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  GTEST_SKIP() << "sanitizers keep freed memory";
#endif
#endif
  // The tiny shape with an embedding of 30 MB, so that the difference stands out.
  const fs::path source = folder_ / "large.json";
  nlohmann::json config = nlohmann::json::parse(std::ifstream(folder_ / "config.json"));
  config["vocab_size"] = 60000;
  config["hidden_size"] = 256;
  std::ofstream(source) << config;
  ASSERT_TRUE(synthesize({.config = source,
                          .destination = folder_ / "large",
                          .tokenizer = folder_ / "tokenizer.json",
                          .seed = 3,
                          .quantization = {},
                          .threads = 2,
                          .progress = {}}));
  GenerateOptions options = greedy();
  options.max_tokens = 4;
  const std::size_t before = resident_bytes();
  Chat chat = Chat::from_pretrained((folder_ / "large").string(), {.threads = 2, .backend = GetParam()});
  chat.generate("Hello", options);
  const std::size_t loaded = resident_bytes();
  chat.unload();
  const std::size_t unloaded = resident_bytes();
  std::printf("resident: %zu KB, loaded %zu KB, unloaded %zu KB\n", before >> 10, loaded >> 10, unloaded >> 10);
  ASSERT_GT(loaded, before + 15'000'000);
  EXPECT_LT(unloaded, before + (loaded - before) / 5);
  chat.reload();
  EXPECT_EQ(chat.messages().size(), 2U);
  chat.generate("More", options);
}

INSTANTIATE_TEST_SUITE_P(Backends, RealModelTest, testing::Values("cpu", "reference"),
                         [](const auto& backend) { return backend.param; });

}  // namespace
}  // namespace qwen35
