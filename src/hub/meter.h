#pragma once

#include <chrono>
#include <cstdint>
#include <deque>

namespace qwen35::hub {

/// The rate of something that grows, over the last five seconds.
class Meter {
 public:
  using Clock = std::chrono::steady_clock;

  void add(Clock::time_point now, std::uint64_t total) {
    samples_.push_back({now, total});
    while (samples_.size() > 2 && now - samples_.front().time > std::chrono::seconds(5)) samples_.pop_front();
  }
  /// Units a second; 0: not known yet.
  [[nodiscard]] double rate() const {
    if (samples_.size() < 2) return 0;
    const std::chrono::duration<double> time = samples_.back().time - samples_.front().time;
    if (time.count() < 0.05) return 0;
    return static_cast<double>(samples_.back().total - samples_.front().total) / time.count();
  }

 private:
  struct Sample {
    Clock::time_point time;
    std::uint64_t total;
  };
  std::deque<Sample> samples_;
};

}  // namespace qwen35::hub
