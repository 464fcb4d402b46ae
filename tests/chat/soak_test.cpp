// Many turns with the bundled model: memory stays flat. QWEN35_SOAK_TURNS sets their number.
#include <gtest/gtest.h>
#include <qwen35/chat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>

namespace qwen35 {
namespace {

std::size_t resident_bytes() {
  std::size_t total = 0;
  std::size_t resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

TEST(Soak, ManyTurnsInAContextThatIsFullKeepMemoryFlat) {
  const char* asked = std::getenv("QWEN35_SOAK_TURNS");
  const std::size_t turns = asked == nullptr ? 160 : std::strtoull(asked, nullptr, 10);
  constexpr std::size_t kSessionMemory = std::size_t{24} << 20;
  Chat chat = Chat::from_pretrained("mini", {.threads = 2, .context = 768, .session_memory = kSessionMemory});
  GenerateOptions options{.max_tokens = 40, .enable_thinking = false, .seed = 1};
  options.context_policy = ContextPolicy::drop_oldest;
  std::mt19937 random(1);
  std::size_t dropped = 0;
  std::size_t early = 0;  // highest in the second quarter
  std::size_t late = 0;   // highest in the last quarter
  std::size_t cancelled = 0;
  for (std::size_t i = 0; i < turns; ++i) {
    options.seed = i;
    const std::string prompt =
        "What is " + std::to_string(random() % 90 + 1) + " plus " + std::to_string(random() % 9 + 1) + "?";
    std::size_t pieces = random() % 8 == 0 ? 2 : 1000;
    if (random() % 4 == 0) chat.prefill(prompt.substr(0, prompt.size() / 2), options);
    const Reply reply = chat.stream(prompt, options, [&](std::string_view) { return pieces-- > 0; });
    dropped += reply.dropped_messages;
    if (reply.finish_reason == FinishReason::cancelled) {
      ++cancelled;
      if (!reply.text.empty()) chat.truncate_reply(std::size_t{1});
    }
    if (random() % 50 == 0) {
      chat.unload();
      chat.reload();
    }
    const std::size_t now = resident_bytes();
    if (i >= turns / 4 && i < turns / 2) early = std::max(early, now);
    if (i >= turns * 3 / 4) late = std::max(late, now);
  }
  std::printf(
      "%zu turns, %zu interrupted, %zu messages dropped: at most %zu KB in the second quarter, %zu KB in the last\n",
      turns, cancelled, dropped, early >> 10, late >> 10);
  EXPECT_GT(dropped, 0U);
  EXPECT_GT(cancelled, 0U);
#if !defined(QWEN35_SANITIZED)  // sanitizers keep freed memory
  EXPECT_LT(late, early + (std::size_t{4} << 20));
#endif
}

}  // namespace
}  // namespace qwen35
