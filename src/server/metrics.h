#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "server/request_notes.h"

namespace qwen35::server {

/// Counts of values up to certain bounds, as Prometheus has them.
class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}
  void add(double value);
  /// Appends the lines of `name`; `labels`: "" or like `route="/health"`.
  void write(std::string& out, const std::string& name, const std::string& labels = {}) const;

 private:
  std::vector<double> bounds_;
  std::vector<std::uint64_t> counts_;
  double sum_ = 0;
};

/// What is true at the moment of asking.
struct Gauges {
  std::size_t running = 0;
  std::size_t waiting = 0;
  std::size_t connections = 0;
  bool ready = false;
  std::size_t weight_bytes = 0;   ///< model and tokenizer
  std::size_t session_bytes = 0;  ///< most that states and checkpoints may take together
  std::size_t request_bytes = 0;  ///< most that one running request takes
  std::string model;
  std::string version;
};

/// What the server has done so far, in Prometheus' text format. Thread-safe.
class Metrics {
 public:
  Metrics();
  /// A request whose answer is written.
  void count_request(const RequestNotes& notes, int status);
  /// A generation that began: its first token came after `first_token_ms`, `queue_ms` of them in the queue.
  void count_generation(const RequestNotes& notes, double ms_per_token);
  [[nodiscard]] std::string text(const Gauges& gauges) const;

 private:
  mutable std::mutex mutex_;
  double started_;  ///< seconds since 1970
  std::map<std::pair<std::string, int>, std::uint64_t> requests_;
  std::map<std::string, std::uint64_t> outcomes_;
  std::map<std::string, Histogram> durations_;  ///< by route
  std::uint64_t prompt_tokens_ = 0;
  std::uint64_t reused_tokens_ = 0;
  std::uint64_t generated_tokens_ = 0;
  Histogram queue_;
  Histogram first_token_;
  Histogram per_token_;
};

/// Bytes of memory this process has in use (resident) now; 0: not known.
std::size_t resident_bytes();

}  // namespace qwen35::server
