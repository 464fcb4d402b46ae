#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <list>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

namespace qwen35::server {

/// Lets at most so many generations run at once; the rest wait in the order they came, and of those only so many.
/// Thread-safe.
class Admission {
 public:
  using Clock = std::chrono::steady_clock;

  enum class Outcome {
    admitted,
    full,       ///< too many wait already
    late,       ///< the deadline came first
    abandoned,  ///< the client went
    closed,     ///< the server takes no more
  };

  /// A place among those that run, given back by the destructor. Must not outlive the Admission.
  class Place {
   public:
    Place() = default;
    explicit Place(Admission& owner) : owner_(&owner), began_(Clock::now()) {}
    Place(Place&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)), began_(other.began_) {}
    Place& operator=(Place&& other) noexcept {
      std::swap(owner_, other.owner_);
      std::swap(began_, other.began_);
      return *this;
    }
    ~Place() {
      if (owner_ != nullptr) owner_->leave(Clock::now() - began_);
    }

   private:
    Admission* owner_ = nullptr;
    Clock::time_point began_;
  };

  /// `parallel` at least 1.
  Admission(std::size_t parallel, std::size_t queue) : parallel_(parallel), queue_(queue) {}

  /// Waits for a place. `expected`: the caller belongs to a request that was admitted before (another choice of it), so
  /// the queue's bound does not hold for it.
  Outcome enter(Place& place, const std::stop_token& abandoned, Clock::time_point deadline, bool expected = false);

  /// From now on nobody is admitted; those that wait are told so.
  void close();

  [[nodiscard]] std::size_t running() const;
  [[nodiscard]] std::size_t waiting() const;
  /// In how many seconds it is worth trying again when the queue is full: what the last generations took, at least 1.
  [[nodiscard]] int retry_after_seconds() const;

 private:
  struct Waiter {
    bool admitted = false;
  };
  void leave(Clock::duration took);
  void promote();

  const std::size_t parallel_;
  const std::size_t queue_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  bool closed_ = false;
  std::size_t running_ = 0;
  std::list<Waiter> waiting_;  ///< the first has waited longest
  double recent_seconds_ = 0;  ///< a generation's length, later ones counting more; 0: not known yet
};

}  // namespace qwen35::server
