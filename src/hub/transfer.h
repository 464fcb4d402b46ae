#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "hub/cache.h"
#include "hub/file_lock.h"
#include "hub/http.h"
#include "hub/partial_file.h"

namespace qwen35::hub {

using Clock = std::chrono::steady_clock;

/// How long to go on.
struct Patience {
  int retries = 5;        ///< tries in a row that bring nothing
  int backoff_ms = 1000;  ///< before the first of them

  /// The wait before try number `attempt` (from 1): doubling, at most 30 s, a quarter of it at random so that many
  /// clients do not come back at once; never less than the server asked for, and of that at most 5 minutes.
  [[nodiscard]] std::chrono::milliseconds wait(int attempt, double asked_seconds) const;
};

/// One file on its way into the cache: waits for its lock, receives, resumes, checks. The blob is whole when it is
/// done().
class Transfer {
 public:
  Transfer(const CachedRepository& repository, RemoteFile file, std::string url, const HttpSettings& settings,
           const Patience& patience, const Disk& disk);

  [[nodiscard]] const RemoteFile& file() const { return file_; }
  [[nodiscard]] bool done() const { return done_; }
  [[nodiscard]] bool running() const { return exchange_ != nullptr; }
  [[nodiscard]] bool due(Clock::time_point now) const { return !done_ && !running() && now >= next_; }
  [[nodiscard]] Clock::time_point next() const { return next_; }
  [[nodiscard]] std::uint64_t bytes_done() const;                      ///< of this file, on the disk
  [[nodiscard]] std::uint64_t received() const { return received_; }   ///< from the network, what was thrown away too
  [[nodiscard]] const std::string& remark() const { return remark_; }  ///< why it waits

  /// To be called when due(): begins to receive and returns the exchange to run; nullptr: nothing to run, because it
  /// is done or must wait. Throws.
  Exchange* begin(const std::function<void()>& tick);
  [[nodiscard]] Exchange* exchange() const { return exchange_.get(); }
  /// The exchange has ended. Throws what ends the whole download.
  void ended(const Outcome& outcome);

 private:
  bool take(const Answer& answer, std::span<const std::byte> bytes);
  [[nodiscard]] std::string problem_with(const Answer& answer) const;
  void complete();
  void begin_anew(const std::string& why);
  void pause(std::chrono::milliseconds time, const std::string& remark);

  const CachedRepository& repository_;
  RemoteFile file_;
  std::string url_;
  const HttpSettings& settings_;
  const Patience& patience_;
  const Disk& disk_;

  std::optional<FileLock> lock_;
  std::optional<PartialFile> partial_;
  std::unique_ptr<Exchange> exchange_;
  std::string etag_;      ///< of the bytes so far, in this process
  std::string mismatch_;  ///< why what comes cannot be the file; "" so far
  bool checked_ = false;  ///< whether this exchange's headers were looked at
  std::uint64_t start_ = 0;
  std::uint64_t most_ = 0;  ///< the furthest that it ever was: progress is what goes beyond
  std::uint64_t received_ = 0;
  int attempts_ = 0;  ///< in a row without progress
  int restarts_ = 0;  ///< because of what came
  bool done_ = false;
  Clock::time_point next_{};
  std::string remark_;
};

}  // namespace qwen35::hub
