#include "server/admission.h"

#include <algorithm>
#include <cmath>

namespace qwen35::server {

Admission::Outcome Admission::enter(Place& place, const std::stop_token& abandoned, Clock::time_point deadline,
                                    bool expected) {
  std::unique_lock hold(mutex_);
  if (closed_) return Outcome::closed;
  if (abandoned.stop_requested()) return Outcome::abandoned;
  if (running_ < parallel_ && waiting_.empty()) {
    ++running_;
    place = Place(*this);
    return Outcome::admitted;
  }
  if (!expected && waiting_.size() >= queue_) return Outcome::full;

  const auto self = waiting_.emplace(waiting_.end());
  // Wakes for a stop too. A place may come together with the stop or the deadline: then it is given back.
  changed_.wait_until(hold, abandoned, deadline, [&] { return self->admitted || closed_; });
  const bool admitted = self->admitted;
  waiting_.erase(self);
  if (admitted) {
    place = Place(*this);
    return Outcome::admitted;
  }
  if (closed_) return Outcome::closed;
  return abandoned.stop_requested() ? Outcome::abandoned : Outcome::late;
}

/// Gives free places to those that have waited longest.
void Admission::promote() {
  if (closed_) return;
  for (Waiter& waiter : waiting_) {
    if (running_ >= parallel_) break;
    if (waiter.admitted) continue;
    waiter.admitted = true;
    ++running_;
  }
  changed_.notify_all();
}

void Admission::leave(Clock::duration took) {
  const std::lock_guard hold(mutex_);
  const double seconds = std::chrono::duration<double>(took).count();
  recent_seconds_ = recent_seconds_ == 0 ? seconds : 0.8 * recent_seconds_ + 0.2 * seconds;
  --running_;
  promote();
}

void Admission::close() {
  const std::lock_guard hold(mutex_);
  closed_ = true;
  changed_.notify_all();
}

std::size_t Admission::running() const {
  const std::lock_guard hold(mutex_);
  return running_;
}

std::size_t Admission::waiting() const {
  const std::lock_guard hold(mutex_);
  return static_cast<std::size_t>(
      std::count_if(waiting_.begin(), waiting_.end(), [](const Waiter& waiter) { return !waiter.admitted; }));
}

int Admission::retry_after_seconds() const {
  const std::lock_guard hold(mutex_);
  // One place in the queue becomes free each time a generation ends; a client that comes back then may have it.
  const double until_next = recent_seconds_ / static_cast<double>(parallel_);
  return static_cast<int>(std::clamp(std::ceil(until_next), 1.0, 60.0));
}

}  // namespace qwen35::server
