#include "backend/cpu/thread_pool.h"

#include <gtest/gtest.h>

#include <array>
#include <barrier>
#include <chrono>
#include <numeric>

#if defined(__linux__)
#include <sched.h>
#endif

namespace qwen35::cpu {
namespace {

TEST(ThreadPool, CoversEveryIndexOnce) {
  for (const int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.threads(), static_cast<std::size_t>(threads));
    for (const std::size_t n : {0U, 1U, 2U, 63U, 64U, 1000U}) {
      for (const std::size_t grain : {1U, 3U, 64U, 5000U}) {
        std::vector<int> seen(n);
        pool.run(n, grain, [&](std::size_t begin, std::size_t end, std::size_t thread) {
          EXPECT_LE(end - begin, grain);
          EXPECT_LT(thread, pool.threads());
          for (std::size_t i = begin; i < end; ++i) ++seen[i];
        });
        EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), 0), static_cast<int>(n));
        EXPECT_TRUE(std::all_of(seen.begin(), seen.end(), [](int count) { return count == 1; }));
      }
    }
  }
}

TEST(ThreadPool, ManyShortLoopsFollowEachOther) {
  ThreadPool pool(4);
  std::vector<std::size_t> values(64);
  for (std::size_t round = 0; round < 20000; ++round) {
    pool.run(values.size(), 4, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t i = begin; i < end; ++i) values[i] += i;
    });
  }
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], i * 20000);
}

TEST(ThreadPool, WakesWorkersThatFellAsleep) {
  ThreadPool pool(3);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    std::atomic<int> count{0};
    pool.run(100, 1, [&](std::size_t, std::size_t, std::size_t) { ++count; });
    EXPECT_EQ(count.load(), 100);
  }
}

// As many busy threads as cores: the pool's threads lose theirs again and again, in the middle of a share too.
TEST(ThreadPool, WorksBesideBusyLoops) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> busy;
  for (unsigned i = 0; i < std::max(1U, std::thread::hardware_concurrency()); ++i) {
    busy.emplace_back([&] {
      while (!stop.load(std::memory_order_relaxed)) {
      }
    });
  }
  ThreadPool pool(3);
  std::vector<std::size_t> values(64);
  for (std::size_t round = 0; round < 300; ++round) {
    pool.run(values.size(), 2, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t i = begin; i < end; ++i) values[i] += i;
    });
  }
  stop = true;
  for (std::thread& thread : busy) thread.join();
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], i * 300);
}

#if defined(__linux__)
std::vector<int> allowed_cores() {
  cpu_set_t set;
  std::vector<int> cores;
  EXPECT_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

TEST(ThreadPool, PinnedThreadsStayOnTheirCore) {
  constexpr std::size_t kThreads = 3;
  const std::vector<int> before = allowed_cores();
  {
    ThreadPool pool(kThreads, true);
    std::array<std::vector<int>, kThreads> seen;
    std::barrier together(kThreads);  // no thread takes a second range before each has one
    pool.run(kThreads, 1, [&](std::size_t, std::size_t, std::size_t thread) {
      seen[thread] = allowed_cores();
      together.arrive_and_wait();
    });
    for (std::size_t i = 0; i < kThreads; ++i) {
      EXPECT_EQ(seen[i], std::vector<int>{before[i % before.size()]}) << "thread " << i;
    }
  }
  EXPECT_EQ(allowed_cores(), before);
}

TEST(ThreadPool, ThreadsMayMoveUnlessPinned) {
  const std::vector<int> before = allowed_cores();
  const ThreadPool pool(2);
  EXPECT_EQ(allowed_cores(), before);
}
#endif

}  // namespace
}  // namespace qwen35::cpu
