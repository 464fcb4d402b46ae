#include "server/generation_job.h"

#include <algorithm>
#include <exception>
#include <new>
#include <string>
#include <utility>

namespace qwen35::server {
namespace {

double milliseconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

GenerationJob::GenerationJob(Engine& engine, Admission& admission, Metrics& metrics, Plan plan)
    : engine_(engine),
      admission_(admission),
      metrics_(metrics),
      plan_(std::move(plan)),
      deadline_(plan_.began + plan_.timeout),
      replies_(plan_.choices) {
  workers_left_ = std::clamp<std::size_t>(plan_.at_once, 1, plan_.choices);
  threads_.reserve(workers_left_);
  try {
    for (std::size_t i = workers_left_; i > 0; --i) threads_.emplace_back([this] { work(); });
  } catch (...) {  // no thread to be had
    stop(Stop::failed);
    for (std::thread& thread : threads_) thread.join();
    throw std::bad_alloc();
  }
}

GenerationJob::~GenerationJob() {
  stop(Stop::gone);
  channel_.abandon();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void GenerationJob::stop(Stop reason) {
  Stop none = Stop::none;
  if (!reason_.compare_exchange_strong(none, reason)) return;
  if (reason == Stop::gone) channel_.abandon();
  source_.request_stop();
  const std::lock_guard hold(mutex_);
  changed_.notify_all();
}

void GenerationJob::fail(ApiError error) {
  {
    const std::lock_guard hold(mutex_);
    if (!error_) error_ = std::move(error);
  }
  stop(Stop::failed);
}

void GenerationJob::begun(std::size_t index) {
  if (index != 0) return;
  const std::lock_guard hold(mutex_);
  if (begun_) return;
  begun_ = true;
  changed_.notify_all();
}

bool GenerationJob::push_event(std::string_view payload) {
  std::string event = "data: ";
  event.append(payload).append("\n\n");
  if (channel_.push(event)) return true;
  stop(Stop::gone);
  return false;
}

void GenerationJob::work() {
  while (true) {
    std::size_t index = 0;
    {
      std::unique_lock hold(mutex_);
      index = next_;
      if (index >= plan_.choices || stopped()) break;
      ++next_;
      if (index > 0) changed_.wait(hold, [this] { return begun_ || stopped(); });
    }
    if (stopped()) break;
    try {
      generate(index);
    } catch (const ApiError& error) {
      fail(error);
    } catch (const std::exception& error) {
      ApiError answer = from_exception(error);
      if (answer.status == 500 && plan_.on_defect) plan_.on_defect(error.what());
      fail(std::move(answer));
    } catch (...) {
      if (plan_.on_defect) plan_.on_defect("an exception of unknown type");
      fail({500, "server_error", "internal_error", "", "the server failed to answer this request"});
    }
    begun(index);
  }
  const std::lock_guard hold(mutex_);
  if (--workers_left_ == 0) channel_.end();
}

void GenerationJob::generate(std::size_t index) {
  Admission::Place place;
  switch (admission_.enter(place, source_.get_token(), deadline_, index > 0)) {
    case Admission::Outcome::admitted:
      break;
    case Admission::Outcome::full:
      throw too_many_requests("the server has as many requests as it takes; try again in " +
                              std::to_string(admission_.retry_after_seconds()) + " s");
    case Admission::Outcome::closed:
      throw unavailable("the server is about to stop; try again");
    case Admission::Outcome::late:
      stop(Stop::late);
      return;
    case Admission::Outcome::abandoned:
      return;
  }
  const double queue_ms = milliseconds_since(plan_.began);
  Chat chat = engine_.conversation();
  Reply reply = plan_.make(index, chat, *this);
  account(reply, queue_ms);
  const std::lock_guard hold(mutex_);
  replies_[index] = std::move(reply);
}

void GenerationJob::account(const Reply& reply, double queue_ms) {
  const qwen35::Metrics& m = reply.metrics;
  RequestNotes notes;
  switch (reason_.load()) {
    case Stop::none:
      notes.outcome = to_string(reply.finish_reason);
      break;
    case Stop::gone:
      notes.outcome = "client_gone";
      break;
    case Stop::late:
      notes.outcome = "timeout";
      break;
    case Stop::shutdown:
      notes.outcome = "shutdown";
      break;
    case Stop::failed:
      notes.outcome = "error";
      break;
  }
  notes.queue_ms = queue_ms;
  notes.prompt_tokens = m.prompt_tokens;
  notes.reused_tokens = m.reused_tokens;
  notes.generated_tokens = m.thinking_tokens + m.reply_tokens;
  if (notes.generated_tokens > 0) notes.first_token_ms = queue_ms + m.time_to_first_token_ms;
  metrics_.count_generation(notes, m.decode_tokens_per_second > 0 ? 1000 / m.decode_tokens_per_second : 0);

  const std::lock_guard hold(mutex_);
  const bool first = sums_.outcome.empty();
  sums_.outcome = notes.outcome;
  sums_.queue_ms = first ? queue_ms : std::min(sums_.queue_ms, queue_ms);
  sums_.first_token_ms = first ? notes.first_token_ms : std::min(sums_.first_token_ms, notes.first_token_ms);
  sums_.prompt_tokens += notes.prompt_tokens;
  sums_.reused_tokens += notes.reused_tokens;
  sums_.generated_tokens += notes.generated_tokens;
}

Channel::Got GenerationJob::pop(std::string& bytes, Clock::time_point until) {
  while (true) {
    if (!stopped() && Clock::now() >= deadline_) stop(Stop::late);
    const bool in_time = !stopped() && deadline_ < until;
    const Channel::Got got = channel_.pop(bytes, in_time ? deadline_ : until);
    if (got != Channel::Got::nothing || !in_time) return got;
  }
}

void GenerationJob::finish(RequestNotes& notes) {
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
  const std::lock_guard hold(mutex_);
  notes.outcome = sums_.outcome.empty() ? "refused" : sums_.outcome;
  if (sums_.outcome.empty()) {
    if (reason_.load() == Stop::gone) notes.outcome = "client_gone";
    if (reason_.load() == Stop::late) notes.outcome = "timeout";
  }
  notes.queue_ms = sums_.queue_ms;
  notes.first_token_ms = sums_.first_token_ms;
  notes.prompt_tokens = sums_.prompt_tokens;
  notes.reused_tokens = sums_.reused_tokens;
  notes.generated_tokens = sums_.generated_tokens;
}

std::optional<ApiError> GenerationJob::error() const {
  const std::lock_guard hold(mutex_);
  if (error_) return error_;
  if (reason_.load() == Stop::late) return request_timeout(std::chrono::duration<double>(plan_.timeout).count());
  if (reason_.load() == Stop::shutdown) return unavailable("the server stops before the answer is whole; try again");
  return std::nullopt;
}

}  // namespace qwen35::server
