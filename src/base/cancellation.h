#pragma once

#include <atomic>
#include <stop_token>
#include <utility>

namespace qwen35 {

/// Whether somebody wants the work in progress to stop: a flag, a stop token, both or (by default) neither. Asked
/// between pieces of work; may be set from any thread. The flag must outlive it.
class Cancellation {
 public:
  Cancellation() = default;
  explicit Cancellation(const std::atomic<bool>& flag, std::stop_token token = {})
      : flag_(&flag), token_(std::move(token)) {}

  [[nodiscard]] bool requested() const noexcept {
    return (flag_ != nullptr && flag_->load(std::memory_order_relaxed)) || token_.stop_requested();
  }

 private:
  const std::atomic<bool>* flag_ = nullptr;
  std::stop_token token_;
};

}  // namespace qwen35
