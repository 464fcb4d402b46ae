#include "cli/memory_bandwidth.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sched.h>
#endif

namespace qwen35::cli {
namespace {

// Chunks are claimed one by one, so that a core which the host slows down holds up nobody. A chunk is long enough for
// the prefetchers' start not to show (some microseconds of its 100).
constexpr std::size_t kChunkWords = (std::size_t{4} << 20) / sizeof(std::uint64_t);
constexpr std::size_t kChunks = ReadTest::kBytes / sizeof(std::uint64_t) / kChunkWords;
constexpr std::size_t kPasses = 6;
static_assert(kChunks * kChunkWords * sizeof(std::uint64_t) == ReadTest::kBytes);

// One plain sum, vectorised by the compiler for each instruction set: the count is a constant. An addition takes a
// cycle and a load brings 32 or 64 bytes, several times what memory delivers, so one accumulator does not hold it up.
[[gnu::always_inline]] inline std::uint64_t sum_words(const std::uint64_t* words) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kChunkWords; ++i) sum += words[i];
  return sum;
}

using Sum = std::uint64_t (*)(const std::uint64_t*);

std::uint64_t sum_plain(const std::uint64_t* words) { return sum_words(words); }
#if defined(__x86_64__)
[[gnu::target("avx2")]] std::uint64_t sum_avx2(const std::uint64_t* words) { return sum_words(words); }
[[gnu::target("avx512f")]] std::uint64_t sum_avx512(const std::uint64_t* words) { return sum_words(words); }
#endif

Sum select_sum() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return sum_avx512;
  if (__builtin_cpu_supports("avx2")) return sum_avx2;
#endif
  return sum_plain;
}

}  // namespace

void ReadTest::Unmap::operator()(std::uint64_t* words) const noexcept { ::munmap(words, kBytes); }

ReadTest::ReadTest(std::size_t threads, std::vector<int> cores) : cores_(std::move(cores)) {
  void* map = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) throw std::bad_alloc();
  words_.reset(static_cast<std::uint64_t*>(map));
#if defined(MADV_HUGEPAGE)
  ::madvise(map, kBytes, MADV_HUGEPAGE);  // the ceiling is that of memory, not of address translation
#endif
  // Untouched pages would all be the one page of zeros, which the cache holds.
  std::fill_n(words_.get(), kBytes / sizeof(std::uint64_t), std::uint64_t{1});
  try {
    start(threads);
  } catch (...) {
    finish();
    throw;
  }
}

ReadTest::~ReadTest() { finish(); }

void ReadTest::start(std::size_t threads) {
  threads_.reserve(threads);
  for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this, i] { work(i); });
}

void ReadTest::finish() noexcept {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  begin_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

double ReadTest::sample() {
  std::unique_lock lock(mutex_);
  next_chunk_.store(0, std::memory_order_relaxed);
  running_ = threads_.size();
  ++round_;
  const auto start = std::chrono::steady_clock::now();
  begin_.notify_all();
  end_.wait(lock, [this] { return running_ == 0; });
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return static_cast<double>(kPasses * kBytes) / seconds.count();
}

void ReadTest::work(std::size_t thread) {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cores_[thread % cores_.size()], &set);
  sched_setaffinity(0, sizeof(set), &set);
#endif
  const Sum sum = select_sum();
  std::size_t seen = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    begin_.wait(lock, [&] { return stop_ || round_ != seen; });
    if (stop_) return;
    seen = round_;
    lock.unlock();
    std::uint64_t total = 0;
    for (;;) {
      const std::size_t chunk = next_chunk_.fetch_add(1, std::memory_order_relaxed);
      if (chunk >= kPasses * kChunks) break;
      total += sum(words_.get() + chunk % kChunks * kChunkWords);
    }
    sum_.fetch_add(total, std::memory_order_relaxed);
    lock.lock();
    if (--running_ == 0) end_.notify_all();
  }
}

}  // namespace qwen35::cli
