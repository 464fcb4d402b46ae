#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace qwen35::cli {

/// Measures how fast `threads` threads together read memory: the ceiling of whatever must read all its weights. Thread
/// i stays on the i-th of `cores` (Linux; counted round), as a backend's pinned threads do. Between samples the threads
/// sleep. Holds kBytes of memory. Not thread-safe.
class ReadTest {
 public:
  /// Far more than any cache that a decoded token's weights would not fit in either.
  static constexpr std::size_t kBytes = std::size_t{512} << 20;

  /// Throws std::bad_alloc, or std::system_error where no thread can be started. `threads` and `cores` at least one.
  ReadTest(std::size_t threads, std::vector<int> cores);
  ~ReadTest();
  ReadTest(const ReadTest&) = delete;
  ReadTest& operator=(const ReadTest&) = delete;

  /// Reads the buffer a few times, for about a tenth of a second. Bytes a second.
  double sample();

 private:
  struct Unmap {
    void operator()(std::uint64_t* words) const noexcept;
  };

  void start(std::size_t threads);
  void finish() noexcept;
  void work(std::size_t thread);

  std::unique_ptr<std::uint64_t, Unmap> words_;
  std::vector<int> cores_;

  // One round at a time: sample() raises round_, every thread claims chunks until none is left and counts itself out.
  std::mutex mutex_;
  std::condition_variable begin_;
  std::condition_variable end_;
  std::size_t round_ = 0;
  std::size_t running_ = 0;
  bool stop_ = false;
  std::atomic<std::size_t> next_chunk_{0};
  std::atomic<std::uint64_t> sum_{0};  ///< so that no read can be left out
  std::vector<std::thread> threads_;
};

}  // namespace qwen35::cli
