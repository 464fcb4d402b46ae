#include "load_run.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <fstream>
#include <memory>
#include <mutex>
#include <thread>

namespace qwen35::load {
namespace {

/// Between two looks at the server's memory: 10 s, or less in a short run.
double sample_seconds(const LoadPlan& plan) { return std::clamp(plan.seconds / 40, 0.25, 10.0); }

Clock::duration seconds(double value) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(value));
}

/// What the clients share.
class Run {
 public:
  Run(const LoadPlan& plan, const RequestShape& request, const ConversationShape& conversation)
      : plan_(plan), request_(request), conversation_(conversation) {
    result_.plan = plan;
    began_ = Clock::now() + seconds(plan.warm_seconds);
    end_ = began_ + seconds(plan.seconds);
    result_.began = began_;
  }

  LoadResult go() {
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < plan_.clients; ++i) {
      threads.emplace_back([this] { plan_.rate > 0 ? serve_arrivals() : ask_again_and_again(); });
    }
    std::thread sampler([this] { sample_memory(); });
    if (plan_.rate > 0) arrive();
    for (std::thread& thread : threads) thread.join();
    {
      const std::lock_guard hold(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    sampler.join();
    result_.wall_seconds = std::chrono::duration<double>(Clock::now() - began_).count();
    return std::move(result_);
  }

 private:
  std::unique_ptr<Conversation> new_conversation() {
    return std::make_unique<Conversation>(conversation_, next_number_.fetch_add(1), plan_.seed);
  }

  void turn(LoadClient& client, Conversation& conversation, Clock::time_point due) {
    Outcome outcome = client.send(conversation.ask(), due);
    conversation.answer(outcome.error.empty() ? outcome.text : "");
    outcome.text.clear();
    const std::lock_guard hold(mutex_);
    if (due >= began_) result_.outcomes.push_back(std::move(outcome));
  }

  /// Closed loop: the next question follows the reply.
  void ask_again_and_again() {
    LoadClient client(request_);
    std::unique_ptr<Conversation> conversation;
    while (Clock::now() < end_) {
      if (conversation == nullptr || conversation->over()) conversation = new_conversation();
      turn(client, *conversation, Clock::now());
    }
  }

  /// Open loop: requests come at times of their own; each goes on with a conversation that waits, or begins one.
  void arrive() {
    std::mt19937_64 random(plan_.seed);
    std::exponential_distribution<double> pause(plan_.rate);
    for (Clock::time_point due = Clock::now(); due < end_; due += seconds(pause(random))) {
      std::this_thread::sleep_until(due);
      const std::lock_guard hold(mutex_);
      if (due_.size() + busy_ >= plan_.clients) {
        if (due >= began_) ++result_.not_sent;
        continue;
      }
      due_.push_back(due);
      changed_.notify_one();
    }
    const std::lock_guard hold(mutex_);
    no_more_ = true;
    changed_.notify_all();
  }

  void serve_arrivals() {
    LoadClient client(request_);
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return !due_.empty() || no_more_; });
      if (due_.empty()) return;
      const Clock::time_point due = due_.front();
      due_.pop_front();
      std::unique_ptr<Conversation> conversation;
      if (waiting_.empty()) {
        conversation = new_conversation();
      } else {
        conversation = std::move(waiting_.front());
        waiting_.pop_front();
      }
      ++busy_;
      lock.unlock();
      turn(client, *conversation, due);
      lock.lock();
      --busy_;
      if (!conversation->over()) waiting_.push_back(std::move(conversation));
    }
  }

  void sample_memory() {
    if (plan_.pid == 0) return;
    std::unique_lock lock(mutex_);
    for (Clock::time_point next = began_;; next += seconds(sample_seconds(plan_))) {
      if (changed_.wait_until(lock, next, [this] { return over_; })) return;
      result_.memory.push_back(
          {std::chrono::duration<double>(Clock::now() - began_).count(), resident_bytes(plan_.pid)});
    }
  }

  const LoadPlan& plan_;
  const RequestShape& request_;
  const ConversationShape& conversation_;
  Clock::time_point began_;
  Clock::time_point end_;
  std::atomic<std::size_t> next_number_ = 0;

  std::mutex mutex_;  ///< guards what follows
  std::condition_variable changed_;
  LoadResult result_;
  std::deque<Clock::time_point> due_;
  std::deque<std::unique_ptr<Conversation>> waiting_;
  std::size_t busy_ = 0;
  bool no_more_ = false;
  bool over_ = false;
};

}  // namespace

LoadResult run_load(const LoadPlan& plan, const RequestShape& request, const ConversationShape& conversation) {
  return Run(plan, request, conversation).go();
}

std::size_t resident_bytes(int pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string word; status >> word;) {
    if (word != "VmRSS:") continue;
    std::size_t kilobytes = 0;
    status >> kilobytes;
    return kilobytes * 1024;
  }
  return 0;
}

}  // namespace qwen35::load
