#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace qwen35::cli {

/// Whether escape sequences may be written to `fd`: a terminal, NO_COLOR unset or empty, TERM not "dumb".
bool use_colour(int fd);

/// A line on standard error, on a terminal only, until the object goes: for a wait of unknown length.
class Notice {
 public:
  explicit Notice(const std::string& text);
  ~Notice();
  Notice(const Notice&) = delete;
  Notice& operator=(const Notice&) = delete;

 private:
  bool shown_;
};

/// One line on standard error that tells how far a long task is: only on a terminal, and only once a second has passed.
/// Erased by the destructor. Not thread-safe.
class Progress {
 public:
  /// `what`: e.g. "reading"; `total`: units of work, 0 when not known.
  Progress(std::string what, std::size_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(std::size_t done);

 private:
  using Clock = std::chrono::steady_clock;
  std::string what_;
  std::size_t total_;
  bool terminal_;
  bool shown_ = false;
  Clock::time_point next_;
};

}  // namespace qwen35::cli
