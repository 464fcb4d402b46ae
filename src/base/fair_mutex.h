#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

#include "base/cancellation.h"

namespace qwen35 {

/// A lock that goes to whoever has waited longest, and that a waiter may give up: conversations over one model take
/// turns with it, a slice of work each.
class FairMutex {
 public:
  /// Waits for its turn. False: `cancelled` was seen first, and the lock is not held.
  bool lock(const Cancellation& cancelled = {}) {
    std::unique_lock hold(mutex_);
    const std::uint64_t ticket = next_++;
    while (ticket != serving_) {
      changed_.wait_for(hold, std::chrono::milliseconds(2));  // nobody notifies of a cancel
      skip_given_up();
      if (ticket != serving_ && cancelled.requested()) {
        given_up_.push_back(ticket);
        return false;
      }
    }
    return true;
  }

  void unlock() {
    const std::lock_guard hold(mutex_);
    ++serving_;
    skip_given_up();
    changed_.notify_all();
  }

 private:
  void skip_given_up() {
    for (auto it = given_up_.begin(); it != given_up_.end();) {
      if (*it != serving_) {
        ++it;
        continue;
      }
      given_up_.erase(it);
      ++serving_;
      it = given_up_.begin();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t next_ = 0;
  std::uint64_t serving_ = 0;            ///< the ticket whose turn it is, held or not
  std::vector<std::uint64_t> given_up_;  ///< tickets that nobody waits with any more
};

}  // namespace qwen35
