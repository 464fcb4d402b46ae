#include "chat/batcher.h"

#include <qwen35/error.h>

#include <algorithm>
#include <iterator>
#include <new>

namespace qwen35 {
namespace {

using Milliseconds = std::chrono::duration<double, std::milli>;

/// Tokens by which a waiting prompt moves forward a millisecond: about half of what is computed meanwhile.
constexpr double kAging = 0.25;
/// How long conversations that choose their next token are waited for: a part of the pass before, within limits.
constexpr double kPatience = 0.5;
constexpr Milliseconds kLeastPatience{2};
constexpr Milliseconds kMostPatience{20};
/// How often one who waits looks whether it was cancelled: nobody notifies of that, but a pass that ends looks too.
constexpr std::chrono::milliseconds kGlance{20};

bool is_slice(const Feed& feed) { return feed.tokens.size() > Batcher::kMostRows; }

}  // namespace

bool Batcher::Seat::forward(const Feed& feed, std::size_t left, const Cancellation& cancelled, bool& begun) {
  Job job{this, feed, left, false, &cancelled, Clock::now()};
  return batcher_.compute(job, begun);
}

bool Batcher::Seat::verify(State& state, std::span<const TokenId> tokens, std::span<float> logits,
                           std::span<SampleRequest> samples, const Cancellation& cancelled, bool& begun) {
  Job job{this, {&state, tokens, LogitRows::all, logits}, tokens.size(), true, &cancelled, Clock::now(), samples};
  return batcher_.compute(job, begun);
}

void Batcher::Seat::leave() {
  const std::lock_guard hold(batcher_.mutex_);
  if (active_) --batcher_.active_;
  active_ = false;
  batcher_.stop_expecting(*this);
}

bool Batcher::Seat::crowded() const {
  const std::lock_guard hold(batcher_.mutex_);
  return batcher_.active_ > (active_ ? 1U : 0U);
}

bool Batcher::compute(Job& job, bool& begun) {
  std::unique_lock hold(mutex_);
  if (!job.seat->active_) ++active_;
  job.seat->active_ = true;
  stop_expecting(*job.seat);
  waiting_.push_back(&job);
  arrived_.notify_one();
  while (job.stage != Job::Stage::done) {
    if (!computing_) {
      try {
        lead(hold);
      } catch (...) {  // no memory to put a pass together: nothing has begun, and another may have more luck
        std::erase(waiting_, &job);
        if (!waiting_.empty()) waiting_.front()->changed.notify_one();
        throw;
      }
    } else {
      job.changed.wait_for(hold, kGlance);
    }
    if (job.stage == Job::Stage::waiting && job.cancelled->requested()) {
      std::erase(waiting_, &job);
      break;
    }
  }
  // Nobody computes: one of those that wait has to.
  if (!computing_ && !waiting_.empty()) waiting_.front()->changed.notify_one();
  hold.unlock();
  begun = job.begun;
  if (job.error) std::rethrow_exception(job.error);
  return job.whole;
}

/// One pass for all that wait, as far as they fit.
void Batcher::lead(std::unique_lock<std::mutex>& hold) {
  computing_ = true;
  wait_for_expected(hold);
  std::vector<Job*> jobs;
  try {
    jobs = choose();
  } catch (...) {
    computing_ = false;
    throw;
  }
  const Clock::time_point start = Clock::now();
  hold.unlock();
  run(jobs);
  hold.lock();
  const Clock::time_point now = Clock::now();
  const auto patience = std::clamp(kPatience * Milliseconds(now - start), kLeastPatience, kMostPatience);
  patience_ = now + std::chrono::duration_cast<Clock::duration>(patience);
  for (Job* job : jobs) {
    job->stage = Job::Stage::done;
    if (job->whole) expect(*job->seat);
    job->changed.notify_one();
  }
  computing_ = false;
}

/// While a pass would leave conversations behind that will be here soon, and has room for them. Those that do not come
/// in time are not waited for again before their next token: a reader that is slow holds up nobody else.
void Batcher::wait_for_expected(std::unique_lock<std::mutex>& hold) {
  const auto has_room = [this] {
    std::size_t rows = 0;
    for (const Job* job : waiting_) {
      if (job->verify) return false;
      if (!is_slice(job->feed)) rows += job->feed.tokens.size();
    }
    return rows < most_rows_;
  };
  while (!expected_.empty() && has_room()) {
    if (Clock::now() >= patience_ || arrived_.wait_until(hold, patience_) == std::cv_status::timeout) {
      for (Seat* seat : expected_) seat->expected_ = false;
      expected_.clear();
    }
  }
}

/// Takes the jobs of the next pass out of those that wait; none only when all were cancelled.
std::vector<Batcher::Job*> Batcher::choose() {
  std::erase_if(waiting_, [](Job* job) {
    if (!job->cancelled->requested()) return false;
    job->stage = Job::Stage::done;
    job->changed.notify_one();
    return true;
  });
  std::vector<Job*> jobs;
  Job* slice = nullptr;
  const Clock::time_point now = Clock::now();
  const auto rank = [&](const Job& job) {
    return static_cast<double>(job.left) - kAging * Milliseconds(now - job.since).count();
  };
  std::size_t rows = 0;
  for (Job* job : waiting_) {
    const std::size_t tokens = job->feed.tokens.size();
    if (is_slice(job->feed)) {
      if (slice == nullptr || rank(*job) < rank(*slice)) slice = job;
    } else if (job->verify) {
      if (jobs.empty()) jobs.push_back(job);
      if (jobs.front() == job) break;  // by itself, when it is its turn
    } else if (rows + tokens <= most_rows_) {
      jobs.push_back(job);
      rows += tokens;
    }
  }
  if (slice != nullptr && (jobs.empty() || !jobs.front()->verify)) jobs.push_back(slice);
  std::erase_if(waiting_, [&](Job* job) { return std::find(jobs.begin(), jobs.end(), job) != jobs.end(); });
  for (Job* job : jobs) job->stage = Job::Stage::running;
  return jobs;
}

void Batcher::run(std::span<Job* const> jobs) {
  if (jobs.size() < 2) {
    for (Job* job : jobs) run_alone(*job);
    return;
  }
  const auto fail = [&] {
    for (Job* job : jobs) {
      job->begun = true;
      job->error = std::current_exception();
    }
  };
  try {
    std::vector<Feed> feeds;
    std::transform(jobs.begin(), jobs.end(), std::back_inserter(feeds), [](const Job* job) { return job->feed; });
    const bool whole = backend_.forward_batch(feeds, {});
    for (Job* job : jobs) job->begun = job->whole = whole;
  } catch (const Error& error) {
    // Refused before it began: whose fault it is shows when each goes alone. All else may have left states half fed.
    if (error.code() != ErrorCode::invalid_argument && error.code() != ErrorCode::context_limit) return fail();
    for (Job* job : jobs) run_alone(*job);
  } catch (...) {
    fail();
  }
}

void Batcher::run_alone(Job& job) {
  if (job.cancelled->requested()) return;
  job.begun = true;
  try {
    const Feed& feed = job.feed;
    if (!job.samples.empty()) {
      job.whole = backend_.verify_sampled(*feed.state, feed.tokens, job.samples, *job.cancelled);
    } else if (job.verify) {
      job.whole = backend_.verify(*feed.state, feed.tokens, feed.logits, *job.cancelled);
    } else if (feed.sample != nullptr) {
      job.whole = backend_.forward_batch(std::span(&feed, 1), *job.cancelled);
    } else {
      job.whole = backend_.forward(*feed.state, feed.tokens, feed.rows, feed.logits, *job.cancelled);
    }
  } catch (...) {
    job.error = std::current_exception();
  }
}

void Batcher::expect(Seat& seat) {
  if (seat.expected_) return;
  try {
    expected_.push_back(&seat);
    seat.expected_ = true;
  } catch (const std::bad_alloc&) {  // then nobody waits for it, which costs a little speed
  }
}

void Batcher::stop_expecting(Seat& seat) {
  if (!seat.expected_) return;
  seat.expected_ = false;
  std::erase(expected_, &seat);
  arrived_.notify_one();
}

}  // namespace qwen35
