#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace qwen35::cpu {

/// Worker threads for short parallel loops, hundreds a token. The calling thread does a share of the work. Between
/// loops workers spin briefly, then yield, then sleep, so a crowded machine slows us in proportion and an idle one
/// costs nothing. One thread at a time may call run(); loops do not nest.
class ThreadPool {
 public:
  /// `threads` counts the caller; 0: one for each core this process may use (its affinity mask). With `pin_threads`
  /// thread i stays on the i-th core of that mask (counted round when there are more threads); the caller, the thread
  /// that makes the pool, gets its mask back when it destroys it. Linux only, ignored elsewhere.
  explicit ThreadPool(int threads, bool pin_threads = false);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  [[nodiscard]] std::size_t threads() const { return workers_.size() + 1; }

  /// Calls body(begin, end, thread) for disjoint ranges that cover [0, n), each at most `grain` long; thread is in
  /// [0, threads()). A thread takes the ranges of its own share of [0, n) in order and then helps others
  /// out; which thread gets which range varies, and a body must not throw.
  template <typename Body>
  void run(std::size_t n, std::size_t grain, Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    run_erased(
        n, grain,
        [](void* context, std::size_t begin, std::size_t end, std::size_t thread) {
          (*static_cast<Plain*>(context))(begin, end, thread);
        },
        const_cast<std::remove_const_t<Plain>*>(&body));
  }

 private:
  using Function = void (*)(void* context, std::size_t begin, std::size_t end, std::size_t thread);

  void run_erased(std::size_t n, std::size_t grain, Function function, void* context);
  void work(std::size_t thread);
  bool claim_and_run(std::size_t thread);

  // Each thread's share of the loop under way: [end of its chunks : 32][next chunk : 32]. A chunk is claimed by adding
  // one; the value the addition returns says at once whether there was one left, so a late worker can never touch a
  // finished loop.
  struct alignas(64) Share {
    std::atomic<std::uint64_t> ticket{0};
    [[nodiscard]] bool empty(std::memory_order order) const {
      const std::uint64_t seen = ticket.load(order);
      return (seen & 0xFFFFFFFFU) >= (seen >> 32);
    }
  };
  [[nodiscard]] bool finished() const;

  std::vector<Share> shares_;
  alignas(64) std::atomic<std::uint32_t> done_{0};
  alignas(64) std::atomic<std::uint32_t> wake_{0};  ///< counts loops and the stop; what sleepers wait on
  std::atomic<std::uint32_t> sleepers_{0};
  std::atomic<bool> stop_{false};

  Function function_ = nullptr;
  void* context_ = nullptr;
  std::size_t n_ = 0;
  std::size_t grain_ = 1;
  std::vector<std::thread> workers_;
  std::vector<int> cores_;  ///< the caller's affinity mask before it was pinned; empty: nothing is pinned
  std::thread::id caller_ = std::this_thread::get_id();
};

}  // namespace qwen35::cpu
