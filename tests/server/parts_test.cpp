// Admission, keys, origins, metrics and the log, each by itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/error.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "server/access_log.h"
#include "server/admission.h"
#include "server/channel.h"
#include "server/guard.h"
#include "server/metrics.h"

namespace qwen35::server {
namespace {

using testing::HasSubstr;
using testing::Not;
using Outcome = Admission::Outcome;
constexpr auto kFar = std::chrono::hours(1);

Admission::Clock::time_point far() { return Admission::Clock::now() + kFar; }

TEST(Admission, ThoseWhoWaitComeInTheirOrder) {
  Admission admission(1, 10);
  Admission::Place first;
  ASSERT_EQ(admission.enter(first, {}, far()), Outcome::admitted);
  std::mutex mutex;
  std::vector<int> order;
  std::vector<std::thread> threads;
  for (int i = 0; i < 5; ++i) {
    threads.emplace_back([&, i] {
      Admission::Place place;
      EXPECT_EQ(admission.enter(place, {}, far()), Outcome::admitted);
      const std::lock_guard hold(mutex);
      order.push_back(i);
    });
    while (admission.waiting() != static_cast<std::size_t>(i + 1)) std::this_thread::yield();
  }
  EXPECT_EQ(admission.running(), 1U);
  first = {};
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(order, testing::ElementsAre(0, 1, 2, 3, 4));
  EXPECT_EQ(admission.running(), 0U);
  EXPECT_EQ(admission.waiting(), 0U);
}

TEST(Admission, AFullQueueRefusesButNotFurtherChoicesOfOneRequest) {
  Admission admission(1, 0);
  Admission::Place first;
  ASSERT_EQ(admission.enter(first, {}, far()), Outcome::admitted);
  Admission::Place second;
  EXPECT_EQ(admission.enter(second, {}, far()), Outcome::full);
  EXPECT_GE(admission.retry_after_seconds(), 1);
  EXPECT_EQ(admission.enter(second, {}, Admission::Clock::now(), true), Outcome::late);  // it would have waited
}

TEST(Admission, WaitingEndsWithTheDeadlineTheClientAndTheServer) {
  Admission admission(1, 10);
  Admission::Place place;
  ASSERT_EQ(admission.enter(place, {}, far()), Outcome::admitted);
  Admission::Place none;
  EXPECT_EQ(admission.enter(none, {}, Admission::Clock::now() + std::chrono::milliseconds(20)), Outcome::late);

  std::stop_source client;
  std::thread gone([&] {
    Admission::Place mine;
    EXPECT_EQ(admission.enter(mine, client.get_token(), far()), Outcome::abandoned);
  });
  while (admission.waiting() == 0) std::this_thread::yield();
  client.request_stop();
  gone.join();

  std::thread told([&] {
    Admission::Place mine;
    EXPECT_EQ(admission.enter(mine, {}, far()), Outcome::closed);
  });
  while (admission.waiting() == 0) std::this_thread::yield();
  admission.close();
  told.join();
  EXPECT_EQ(admission.enter(none, {}, far()), Outcome::closed);
}

TEST(Admission, NeverMoreRunThanMayAndNoPlaceIsLost) {
  Admission admission(3, 1000);
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 50; ++round) {
        Admission::Place place;
        std::stop_source stop;
        if (i % 4 == 0) stop.request_stop();
        const auto deadline = i % 4 == 1 ? Admission::Clock::now() + std::chrono::microseconds(50) : far();
        if (admission.enter(place, stop.get_token(), deadline) != Outcome::admitted) continue;
        const int now = ++inside;
        int seen = most;
        while (seen < now && !most.compare_exchange_weak(seen, now)) {
        }
        std::this_thread::yield();
        --inside;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most, 3);
  EXPECT_EQ(admission.running(), 0U);
  EXPECT_EQ(admission.waiting(), 0U);
}

TEST(Channel, WhoIsAheadWaitsAndAnAbandonedOneIsTold) {
  Channel channel(8);
  std::thread writer([&] {
    EXPECT_TRUE(channel.push("12345678"));
    EXPECT_TRUE(channel.push("9"));  // waits for the reader
    channel.end();
  });
  std::string bytes;
  std::string all;
  const auto until = std::chrono::steady_clock::now() + kFar;
  while (channel.pop(bytes, until) != Channel::Got::end) all += bytes;
  writer.join();
  EXPECT_EQ(all, "123456789");

  Channel full(1);
  EXPECT_TRUE(full.push("x"));
  std::thread blocked([&] { EXPECT_FALSE(full.push("y")); });
  full.abandon();
  blocked.join();
  EXPECT_EQ(Channel(1).pop(bytes, std::chrono::steady_clock::now()), Channel::Got::nothing);
}

TEST(KeyRing, OnlyWholeKeysOpen) {
  KeyRing keys;
  EXPECT_FALSE(keys.check(""));  // no keys: open
  keys.add("sk-first-key");
  keys.add("sk-second-key%20");
  EXPECT_FALSE(keys.check("Bearer sk-first-key"));
  EXPECT_FALSE(keys.check("bearer   sk-second-key%20 "));
  for (const char* const wrong :
       {"", "Bearer", "Bearer ", "Bearer sk-first-ke", "Bearer sk-first-key2", "Basic sk-first-key", "sk-first-key",
        "Bearer SK-FIRST-KEY", "Bearer sk-second-key "}) {
    const auto error = keys.check(wrong);
    ASSERT_TRUE(error) << wrong;
    EXPECT_EQ(error->status, 401);
  }
  EXPECT_THROW(keys.add("short"), Error);
  EXPECT_THROW(keys.add("has a space in it"), Error);
  EXPECT_THROW(keys.add("line\nbreak-in-it"), Error);
}

TEST(OriginGuard, OnLoopbackOnlyItsOwnNamesAndPages) {
  const OriginGuard guard(true, {"chat.example"}, "https://app.example");
  for (const char* const host :
       {"localhost", "localhost:8080", "LOCALHOST.", "127.0.0.1:1", "[::1]:8080", "chat.example:80"})
    EXPECT_FALSE(guard.check(host, "", true)) << host;
  for (const char* const host :
       {"", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8080", "[::2]", "[::1"})
    EXPECT_TRUE(guard.check(host, "", false)) << host;

  EXPECT_FALSE(guard.check("localhost:8080", "http://localhost:8080", true));
  EXPECT_FALSE(guard.check("localhost:8080", "https://app.example", true));
  EXPECT_FALSE(guard.check("localhost:8080", "http://evil.example", false));  // may ask, cannot read
  for (const char* const origin : {"http://evil.example", "null", "http://localhost", "http://localhost:8081",
                                   "http://app.example", "file://localhost:8080", "https://app.example.evil.example"})
    EXPECT_TRUE(guard.check("localhost:8080", origin, true)) << origin;
  EXPECT_TRUE(guard.shares_with("https://app.example"));
  EXPECT_FALSE(guard.shares_with("https://app.example.evil.example"));
  EXPECT_FALSE(OriginGuard(true, {}, "").shares_with(""));
}

TEST(OriginGuard, OnANetworkAnyNameUnlessSomeAreNamed) {
  EXPECT_FALSE(OriginGuard(false, {}, "").check("anything.example", "", true));
  EXPECT_TRUE(OriginGuard(false, {"a.example"}, "").check("b.example", "", true));
  EXPECT_FALSE(OriginGuard(false, {"A.example"}, "").check("a.example:443", "https://a.example:443", true));
}

TEST(Metrics, AreInPrometheusFormat) {
  Metrics metrics;
  RequestNotes notes;
  notes.route = "/v1/completions";
  notes.outcome = "stop";
  notes.queue_ms = 20;
  notes.first_token_ms = 300;
  notes.prompt_tokens = 10;
  notes.reused_tokens = 4;
  notes.generated_tokens = 7;
  metrics.count_request(notes, 200);
  metrics.count_request(notes, 200);
  metrics.count_request(notes, 429);
  metrics.count_generation(notes, 5);
  const std::string text =
      metrics.text({.running = 2, .waiting = 3, .ready = true, .model = "a\"b\\c\nd", .version = "1"});
  for (const char* const line :
       {"qwen35_info{model=\"a\\\"b\\\\c\\nd\",version=\"1\"} 1\n",
        "qwen35_http_requests_total{route=\"/v1/completions\",status=\"200\"} 2\n",
        "qwen35_http_requests_total{route=\"/v1/completions\",status=\"429\"} 1\n", "qwen35_generations_running 2\n",
        "qwen35_generations_queued 3\n", "qwen35_generations_total{outcome=\"stop\"} 1\n",
        "qwen35_prompt_tokens_total 10\n", "qwen35_reused_tokens_total 4\n", "qwen35_generated_tokens_total 7\n",
        "qwen35_time_to_first_token_seconds_bucket{le=\"0.25\"} 0\n",
        "qwen35_time_to_first_token_seconds_bucket{le=\"0.5\"} 1\n",
        "qwen35_time_to_first_token_seconds_bucket{le=\"+Inf\"} 1\n", "qwen35_time_to_first_token_seconds_sum 0.3\n",
        "qwen35_time_per_token_seconds_count 1\n", "qwen35_queue_seconds_bucket{le=\"0.025\"} 1\n", "qwen35_ready 1\n"})
    EXPECT_THAT(text, HasSubstr(line));
  // Every line is a remark, or a name, perhaps labels, and a number.
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = text.find('\n', begin);
    ASSERT_NE(end, std::string::npos);
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    if (line.starts_with("# HELP ") || line.starts_with("# TYPE ")) continue;
    const std::string value = line.substr(line.rfind(' ') + 1);
    char* parsed = nullptr;
    std::strtod(value.c_str(), &parsed);
    EXPECT_EQ(*parsed, '\0') << line;
    EXPECT_FALSE(value.empty()) << line;
  }
  EXPECT_GT(resident_bytes(), 0U);
}

TEST(AccessLog, IdsAreHarmlessAndLinesAreOne) {
  EXPECT_EQ(request_id("abc-1.2_3"), "abc-1.2_3");
  for (const std::string& hostile : {std::string(), std::string("a b"), std::string("a\nb"), std::string(65, 'a'),
                                     std::string("a\x1b[31m"), std::string("<script>"), std::string("a\0b", 3)}) {
    EXPECT_THAT(request_id(hostile), testing::StartsWith("req-"));
  }
  EXPECT_NE(request_id(""), request_id(""));
  RequestNotes notes;
  notes.id = "x";
  notes.outcome = "stop";
  EXPECT_THAT(log_line(notes, "127.0.0.1", "POST", 200), Not(HasSubstr("prompt=\"")));
  notes.prompt = "two\nlines \x1b[0m \"quoted\"";
  const std::string line = log_line(notes, "127.0.0.1", "POST", 200);
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  EXPECT_THAT(line, HasSubstr(R"(prompt="two\nlines \x1b[0m \"quoted\"")"));
}

}  // namespace
}  // namespace qwen35::server
