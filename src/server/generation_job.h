#pragma once

#include <qwen35/chat.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string_view>
#include <thread>
#include <vector>

#include "server/admission.h"
#include "server/channel.h"
#include "server/engine.h"
#include "server/http_limits.h"
#include "server/metrics.h"
#include "server/openai/errors.h"
#include "server/request_notes.h"

namespace qwen35::server {

/// The generations of one request, each on a thread with a conversation of its own, none longer than the deadline. The
/// thread that writes to the client reads what they push and may stop them all.
class GenerationJob {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Stop {
    none,
    gone,      ///< the client went, or reads nothing
    late,      ///< the deadline passed
    shutdown,  ///< the server ends
    failed,    ///< another choice of the request failed
  };
  /// Makes choice `index` and returns its reply; runs on a thread of the job. Throws what the engine throws.
  using Make = std::function<Reply(std::size_t index, Chat& chat, GenerationJob& job)>;

  struct Plan {
    std::size_t choices = 1;
    std::size_t at_once = 1;  ///< of them
    Clock::time_point began;  ///< when the request came
    Milliseconds timeout{0};
    Make make;
    /// A defect of ours, for the log; called on a thread of the job.
    std::function<void(std::string_view what)> on_defect;
  };

  GenerationJob(Engine& engine, Admission& admission, Metrics& metrics, Plan plan);
  /// Stops what still runs and waits for it.
  ~GenerationJob();
  GenerationJob(const GenerationJob&) = delete;
  GenerationJob& operator=(const GenerationJob&) = delete;

  /// Safe from any thread and more than once: the first reason counts.
  void stop(Stop reason);

  // For the thread that writes.
  /// The next bytes that were pushed; passes the deadline on to those that generate.
  Channel::Got pop(std::string& bytes, Clock::time_point until);
  /// Waits for all generations and sums them up in `notes`.
  void finish(RequestNotes& notes);
  /// After the end: why there is no whole answer.
  [[nodiscard]] std::optional<ApiError> error() const;
  [[nodiscard]] bool client_gone() const { return reason_.load() == Stop::gone; }
  /// Seconds after which a refused client may come back.
  [[nodiscard]] int retry_after() const { return admission_.retry_after_seconds(); }
  /// After the end without an error: one reply a choice.
  [[nodiscard]] const std::vector<Reply>& replies() const { return replies_; }

  // For `make`.
  /// Hands a payload on as one event of a stream; false: nobody reads any more, and the job is stopped.
  bool push_event(std::string_view payload);
  /// The choice has its first token; others of the same prompt may start and find that computed.
  void begun(std::size_t index);
  [[nodiscard]] std::stop_token stop_token() const { return source_.get_token(); }
  [[nodiscard]] bool stopped() const { return reason_.load() != Stop::none; }

 private:
  void work();
  void generate(std::size_t index);
  void fail(ApiError error);
  void account(const Reply& reply, double queue_ms);

  Engine& engine_;
  Admission& admission_;
  Metrics& metrics_;
  const Plan plan_;
  const Clock::time_point deadline_;
  Channel channel_;
  std::stop_source source_;
  std::atomic<Stop> reason_{Stop::none};

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool begun_ = false;  ///< the first choice has a token, or has ended
  std::size_t next_ = 0;
  std::size_t workers_left_ = 0;
  std::optional<ApiError> error_;
  RequestNotes sums_;
  std::vector<Reply> replies_;
  std::vector<std::thread> threads_;
};

}  // namespace qwen35::server
