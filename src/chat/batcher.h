#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "base/cancellation.h"

namespace qwen35 {

/// Puts the forward passes of all conversations over one model together (continuous batching, after Orca, Yu et al.
/// 2022): conversations run on threads of their own, and whoever finds nobody computing computes for all that wait.
///
/// One pass takes a token (or a few) of every conversation that decodes, up to Backend::max_rows(), and beside them one
/// slice of a prompt. Which conversations are in a pass changes none of their results, see Backend::forward_batch(). Of
/// several prompts the one with the least left goes first; what has waited long moves forward, so that none starves.
///
/// Conversations that have just had their token are waited for, a part of a pass long: they are choosing their next.
class Batcher {
 public:
  /// Tokens of one conversation that are no slice: what one round of the products' registers takes.
  static constexpr std::size_t kMostRows = 8;
  /// Tokens that a prompt is fed in one pass while others wait; a whole number of the delta rule's chunks, so that the
  /// results are those of longer passes.
  static constexpr std::size_t kCrowdedSlice = 64;

  explicit Batcher(Backend& backend) : backend_(backend), most_rows_(std::max(backend.max_rows(), kMostRows)) {}
  Batcher(const Batcher&) = delete;
  Batcher& operator=(const Batcher&) = delete;

  /// Passes asked for and not yet begun.
  [[nodiscard]] std::size_t waiting() const {
    const std::lock_guard hold(mutex_);
    return waiting_.size();
  }

  /// A conversation's place among the others. One thread at a time; the batcher must outlive it.
  class Seat {
   public:
    explicit Seat(Batcher& batcher) : batcher_(batcher) {}
    ~Seat() { leave(); }
    Seat(const Seat&) = delete;
    Seat& operator=(const Seat&) = delete;

    /// Backend::forward(), together with what others ask for. `left`: tokens of the prompt from here on, these
    /// included. Throws what it throws. False: cancelled, before it or in it; `begun` then says whether the state is
    /// lost.
    bool forward(const Feed& feed, std::size_t left, const Cancellation& cancelled, bool& begun);
    /// Backend::verify(), for tokens that are guesses; with `samples`, Backend::verify_sampled().
    bool verify(State& state, std::span<const TokenId> tokens, std::span<float> logits,
                std::span<SampleRequest> samples, const Cancellation& cancelled, bool& begun);
    /// No pass follows soon: nobody waits for this conversation until its next.
    void leave();
    /// Whether other conversations are computing too; a guess then costs them time.
    [[nodiscard]] bool crowded() const;

   private:
    friend class Batcher;
    Batcher& batcher_;
    bool active_ = false;    ///< has asked since it last left
    bool expected_ = false;  ///< had its token in a pass and is choosing the next
  };

 private:
  using Clock = std::chrono::steady_clock;

  struct Job {
    Seat* seat;
    Feed feed;
    std::size_t left;
    bool verify;
    const Cancellation* cancelled;
    Clock::time_point since;
    std::span<SampleRequest> samples = {};  ///< of a verification pass
    enum class Stage { waiting, running, done } stage = Stage::waiting;
    bool begun = false;
    bool whole = false;
    std::exception_ptr error = {};
    std::condition_variable changed = {};
  };

  bool compute(Job& job, bool& begun);
  void lead(std::unique_lock<std::mutex>& hold);
  void wait_for_expected(std::unique_lock<std::mutex>& hold);
  [[nodiscard]] std::vector<Job*> choose();
  void run(std::span<Job* const> jobs);
  void run_alone(Job& job);
  void expect(Seat& seat);
  void stop_expecting(Seat& seat);

  Backend& backend_;
  const std::size_t most_rows_;  ///< tokens of one pass that are no slices
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<Job*> waiting_;  ///< in the order of their coming
  bool computing_ = false;
  std::size_t active_ = 0;        ///< seats that are
  std::vector<Seat*> expected_;   ///< seats that are
  Clock::time_point patience_{};  ///< until when they are waited for
};

}  // namespace qwen35
