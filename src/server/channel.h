#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace qwen35::server {

/// What threads that generate hand to the thread that writes to the client. Bounded: who is ahead waits. Thread-safe.
class Channel {
 public:
  enum class Got {
    data,
    nothing,  ///< the time is up
    end,      ///< nothing more comes
  };

  explicit Channel(std::size_t limit = std::size_t{64} << 10U) : limit_(limit) {}

  /// Adds bytes; waits while there are too many. False: nobody reads any more.
  bool push(std::string_view bytes) {
    std::unique_lock hold(mutex_);
    changed_.wait(hold, [this] { return bytes_.size() < limit_ || abandoned_; });
    if (abandoned_) return false;
    bytes_ += bytes;
    changed_.notify_all();
    return true;
  }
  /// Nothing more is added.
  void end() {
    const std::lock_guard hold(mutex_);
    ended_ = true;
    changed_.notify_all();
  }
  /// Nothing more is read: pushes return at once.
  void abandon() {
    const std::lock_guard hold(mutex_);
    abandoned_ = true;
    changed_.notify_all();
  }

  /// Waits until there is something and takes all of it.
  Got pop(std::string& bytes, std::chrono::steady_clock::time_point until) {
    std::unique_lock hold(mutex_);
    changed_.wait_until(hold, until, [this] { return !bytes_.empty() || ended_; });
    if (!bytes_.empty()) {
      bytes = std::exchange(bytes_, {});
      changed_.notify_all();
      return Got::data;
    }
    return ended_ ? Got::end : Got::nothing;
  }

 private:
  const std::size_t limit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string bytes_;
  bool ended_ = false;
  bool abandoned_ = false;
};

}  // namespace qwen35::server
