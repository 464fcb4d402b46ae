#include "backend/cpu/thread_pool.h"

#include <algorithm>
#include <limits>
#include <span>

#include "base/usable_cores.h"

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace qwen35::cpu {
namespace {

// How long a worker looks for the next loop before it yields, and before it sleeps. A spin is about 20 ns: the first
// covers the gaps between the loops of one token, the second the sampling between tokens.
constexpr int kSpins = 2000;
constexpr int kYields = 2000;

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Keeps the calling thread on `cores`. A refusal changes nothing: pinning is for even measurements, not for results.
void stay_on([[maybe_unused]] std::span<const int> cores) noexcept {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(core, &set);
  sched_setaffinity(0, sizeof(set), &set);
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads, bool pin_threads) {
  const std::size_t count = threads > 0 ? static_cast<std::size_t>(threads) : usable_cores().size();
  shares_ = std::vector<Share>(count);
  if (pin_threads) cores_ = usable_cores();
  for (std::size_t i = 1; i < count; ++i) {
    workers_.emplace_back([this, i] {
      if (!cores_.empty()) stay_on(std::span(cores_).subspan(i % cores_.size(), 1));
      work(i);
    });
  }
  if (!cores_.empty()) stay_on(std::span(cores_).first(1));
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  wake_.fetch_add(1);
  wake_.notify_all();
  for (auto& worker : workers_) worker.join();
  if (!cores_.empty() && std::this_thread::get_id() == caller_) stay_on(cores_);
}

void ThreadPool::run_erased(std::size_t n, std::size_t grain, Function function, void* context) {
  if (n == 0) return;
  // Chunks are counted in 31 bits, so that failed claims cannot carry into the count.
  grain = std::max({grain, std::size_t{1}, n / std::size_t{std::numeric_limits<std::int32_t>::max()} + 1});
  const std::size_t chunks = (n + grain - 1) / grain;
  if (chunks == 1 || workers_.empty()) {
    for (std::size_t begin = 0; begin < n; begin += grain) function(context, begin, std::min(begin + grain, n), 0);
    return;
  }
  function_ = function;
  context_ = context;
  n_ = n;
  grain_ = grain;
  done_.store(0, std::memory_order_relaxed);
  for (std::size_t i = 0; i < shares_.size(); ++i) {
    const std::uint64_t begin = chunks * i / shares_.size();
    const std::uint64_t end = chunks * (i + 1) / shares_.size();
    shares_[i].ticket.store(end << 32 | begin, std::memory_order_seq_cst);
  }
  // Sequential consistency between these and the pair in work(): either we see the sleeper or it sees a ticket.
  if (sleepers_.load(std::memory_order_seq_cst) != 0) {
    wake_.fetch_add(1, std::memory_order_seq_cst);
    wake_.notify_all();
  }
  while (claim_and_run(0)) {
  }
  for (int spins = 0; done_.load(std::memory_order_acquire) != chunks; ++spins) {
    if (spins < kSpins)
      pause();
    else
      std::this_thread::yield();
  }
}

bool ThreadPool::claim_and_run(std::size_t thread) {
  for (std::size_t i = 0; i < shares_.size(); ++i) {
    Share& share = shares_[(thread + i) % shares_.size()];
    if (share.empty(std::memory_order_relaxed)) continue;
    const std::uint64_t claim = share.ticket.fetch_add(1, std::memory_order_acquire);
    const std::uint64_t chunk = claim & 0xFFFFFFFFU;
    if (chunk >= (claim >> 32)) continue;
    const std::size_t begin = static_cast<std::size_t>(chunk) * grain_;
    function_(context_, begin, std::min(begin + grain_, n_), thread);
    done_.fetch_add(1, std::memory_order_release);
    return true;
  }
  return false;
}

bool ThreadPool::finished() const {
  return std::all_of(shares_.begin(), shares_.end(),
                     [](const Share& share) { return share.empty(std::memory_order_seq_cst); });
}

void ThreadPool::work(std::size_t thread) {
  int idle = 0;
  while (!stop_.load(std::memory_order_relaxed)) {
    if (claim_and_run(thread)) {
      idle = 0;
    } else if (++idle < kSpins) {
      pause();
    } else if (idle < kSpins + kYields) {
      std::this_thread::yield();
    } else {
      const std::uint32_t ticket_count = wake_.load(std::memory_order_seq_cst);
      sleepers_.fetch_add(1, std::memory_order_seq_cst);
      if (finished() && !stop_.load()) wake_.wait(ticket_count);
      sleepers_.fetch_sub(1, std::memory_order_seq_cst);
      idle = 0;
    }
  }
}

}  // namespace qwen35::cpu
