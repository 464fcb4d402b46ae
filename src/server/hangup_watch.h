#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "server/http_limits.h"

namespace qwen35::server {

/// One thread that looks after sockets nobody reads: those of clients who wait for an answer, to notice when they go,
/// and those of clients who were refused, so that they can read why before the connection ends. Thread-safe.
class HangupWatch {
 public:
  /// Watches until it is destroyed; must not outlive the HangupWatch or the descriptor.
  class Watch {
   public:
    Watch() = default;
    Watch(HangupWatch& owner, std::uint64_t id) : owner_(&owner), id_(id) {}
    Watch(Watch&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)), id_(other.id_) {}
    Watch& operator=(Watch&& other) noexcept {
      std::swap(owner_, other.owner_);
      std::swap(id_, other.id_);
      return *this;
    }
    ~Watch() {
      if (owner_ != nullptr) owner_->forget(id_);
    }

   private:
    HangupWatch* owner_ = nullptr;
    std::uint64_t id_ = 0;
  };

  HangupWatch();
  ~HangupWatch();
  HangupWatch(const HangupWatch&) = delete;
  HangupWatch& operator=(const HangupWatch&) = delete;

  /// Calls `gone` once, on the thread of the watch, when the peer of `fd` closes its side, or the connection breaks.
  /// Once the Watch is destroyed it is not called any more. It must be quick, and make or destroy no Watch.
  [[nodiscard]] Watch watch(int fd, std::function<void()> gone);

  /// Takes `fd` over: tells the peer that nothing more comes, reads and forgets what it still sends, and closes when it
  /// closes too, at the latest after `limit`. Closing at once would let the system throw away what the peer has not
  /// read yet.
  void linger(int fd, Milliseconds limit);

 private:
  using Clock = std::chrono::steady_clock;
  struct Watched {
    std::uint64_t id;
    int fd;
    std::function<void()> gone;
  };
  struct Lingering {
    int fd;
    Clock::time_point until;
  };

  void run();
  void forget(std::uint64_t id);
  void wake();
  bool drained(const Lingering& lingering, bool readable) const;

  std::mutex mutex_;
  bool stopping_ = false;
  std::uint64_t next_id_ = 1;
  std::vector<Watched> watched_;
  std::vector<Lingering> lingering_;
  int wake_fd_;
  std::thread thread_;
};

}  // namespace qwen35::server
