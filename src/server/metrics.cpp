#include "server/metrics.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string_view>

namespace qwen35::server {
namespace {

const std::vector<double> kWaits{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};
const std::vector<double> kTokenTimes{0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28};
const std::vector<double> kDurations{0.001, 0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300};

std::string number(double value) {
  std::array<char, 64> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

/// A label's value as the format wants it.
std::string quoted(std::string_view value) {
  std::string out = "\"";
  for (const char c : value) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

void describe(std::string& out, std::string_view name, std::string_view type, std::string_view help) {
  out.append("# HELP ").append(name).append(" ").append(help).append("\n# TYPE ").append(name).append(" ");
  out.append(type) += '\n';
}

void line(std::string& out, std::string_view name, const std::string& labels, const std::string& value) {
  out.append(name);
  if (!labels.empty()) out.append("{").append(labels).append("}");
  out.append(" ").append(value) += '\n';
}

void single(std::string& out, std::string_view name, std::string_view type, std::string_view help,
            const std::string& value) {
  describe(out, name, type, help);
  line(out, name, {}, value);
}

}  // namespace

std::size_t resident_bytes() {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen("/proc/self/statm", "r"), &std::fclose);
  unsigned long total = 0;
  unsigned long resident = 0;
  if (file == nullptr || std::fscanf(file.get(), "%lu %lu", &total, &resident) != 2) return 0;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

void Histogram::add(double value) {
  const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), value);
  ++counts_[static_cast<std::size_t>(at - bounds_.begin())];
  sum_ += value;
}

void Histogram::write(std::string& out, const std::string& name, const std::string& labels) const {
  const std::string before = labels.empty() ? "" : labels + ",";
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    total += counts_[i];
    const std::string bound = i < bounds_.size() ? number(bounds_[i]) : "+Inf";
    line(out, name + "_bucket", before + "le=\"" + bound + "\"", std::to_string(total));
  }
  line(out, name + "_sum", labels, number(sum_));
  line(out, name + "_count", labels, std::to_string(total));
}

Metrics::Metrics()
    : started_(std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count()),
      queue_(kWaits),
      first_token_(kWaits),
      per_token_(kTokenTimes) {}

void Metrics::count_request(const RequestNotes& notes, int status) {
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - notes.began;
  const std::lock_guard hold(mutex_);
  ++requests_[{notes.route, status}];
  durations_.try_emplace(notes.route, kDurations).first->second.add(took.count());
}

void Metrics::count_generation(const RequestNotes& notes, double ms_per_token) {
  const std::lock_guard hold(mutex_);
  ++outcomes_[notes.outcome];
  prompt_tokens_ += notes.prompt_tokens;
  reused_tokens_ += notes.reused_tokens;
  generated_tokens_ += notes.generated_tokens;
  queue_.add(notes.queue_ms / 1000);
  if (notes.first_token_ms > 0) first_token_.add(notes.first_token_ms / 1000);
  if (ms_per_token > 0) per_token_.add(ms_per_token / 1000);
}

std::string Metrics::text(const Gauges& gauges) const {
  std::string out;
  const std::lock_guard hold(mutex_);
  describe(out, "qwen35_info", "gauge", "What is served.");
  line(out, "qwen35_info", "model=" + quoted(gauges.model) + ",version=" + quoted(gauges.version), "1");
  single(out, "qwen35_ready", "gauge", "1 while requests are taken, 0 while loading or draining.",
         gauges.ready ? "1" : "0");
  describe(out, "qwen35_http_requests_total", "counter", "Requests answered, by route and status.");
  for (const auto& [key, count] : requests_)
    line(out, "qwen35_http_requests_total",
         "route=" + quoted(key.first) + ",status=\"" + std::to_string(key.second) + "\"", std::to_string(count));
  describe(out, "qwen35_http_request_duration_seconds", "histogram", "From a request's head to its answer's end.");
  for (const auto& [route, histogram] : durations_)
    histogram.write(out, "qwen35_http_request_duration_seconds", "route=" + quoted(route));
  single(out, "qwen35_http_connections", "gauge", "Open connections.", std::to_string(gauges.connections));
  single(out, "qwen35_generations_running", "gauge", "Generations being computed.", std::to_string(gauges.running));
  single(out, "qwen35_generations_queued", "gauge", "Generations that wait for a place.",
         std::to_string(gauges.waiting));
  describe(out, "qwen35_generations_total", "counter", "Generations that ended, by how.");
  for (const auto& [outcome, count] : outcomes_)
    line(out, "qwen35_generations_total", "outcome=" + quoted(outcome), std::to_string(count));
  single(out, "qwen35_prompt_tokens_total", "counter", "Tokens of prompts, reused ones included.",
         std::to_string(prompt_tokens_));
  single(out, "qwen35_reused_tokens_total", "counter", "Of these, tokens that were not computed again.",
         std::to_string(reused_tokens_));
  single(out, "qwen35_generated_tokens_total", "counter", "Tokens generated, thinking included.",
         std::to_string(generated_tokens_));
  describe(out, "qwen35_queue_seconds", "histogram", "From a request's arrival to its place among the running.");
  queue_.write(out, "qwen35_queue_seconds");
  describe(out, "qwen35_time_to_first_token_seconds", "histogram", "From a request's arrival to its first token.");
  first_token_.write(out, "qwen35_time_to_first_token_seconds");
  describe(out, "qwen35_time_per_token_seconds", "histogram", "Between two tokens of a reply, its mean.");
  per_token_.write(out, "qwen35_time_per_token_seconds");
  single(out, "qwen35_weight_bytes", "gauge", "Bytes of model and tokenizer.", std::to_string(gauges.weight_bytes));
  single(out, "qwen35_session_limit_bytes", "gauge", "Most bytes that idle states and checkpoints take together.",
         std::to_string(gauges.session_bytes));
  single(out, "qwen35_request_limit_bytes", "gauge", "Most bytes that the state of one running request takes.",
         std::to_string(gauges.request_bytes));
  single(out, "process_resident_memory_bytes", "gauge", "Resident memory.", std::to_string(resident_bytes()));
  single(out, "process_start_time_seconds", "gauge", "When the process began, in seconds since 1970.",
         number(started_));
  return out;
}

}  // namespace qwen35::server
