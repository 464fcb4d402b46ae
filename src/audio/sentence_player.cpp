#include "audio/sentence_player.h"

#include <algorithm>
#include <utility>

namespace qwen35 {

SentencePlayer::SentencePlayer(VoiceChat& chat, Synthesizer& synthesizer, Loudspeaker& loudspeaker)
    : chat_(&chat),
      synthesizer_(&synthesizer),
      loudspeaker_(&loudspeaker),
      thread_([this](const std::stop_token& stop) { loop(stop); }) {}

SentencePlayer::~SentencePlayer() {
  const std::lock_guard lock(mutex_);
  stop_ = true;
}

void SentencePlayer::begin() {
  const std::lock_guard lock(mutex_);
  queue_.clear();
  stop_ = false;
  played_ = 0;
}

void SentencePlayer::add(const Sentence& sentence) {
  const std::lock_guard lock(mutex_);
  if (!stop_) queue_.push_back(sentence);
  changed_.notify_all();
}

void SentencePlayer::stop() {
  std::unique_lock lock(mutex_);
  queue_.clear();
  stop_ = true;
  changed_.wait(lock, [this] { return !playing_; });
}

bool SentencePlayer::busy() {
  const std::lock_guard lock(mutex_);
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  return playing_ || !queue_.empty();
}

bool SentencePlayer::stopped() {
  const std::lock_guard lock(mutex_);
  return stop_;
}

void SentencePlayer::loop(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return !queue_.empty(); })) {
    const Sentence sentence = std::move(queue_.front());
    queue_.pop_front();
    playing_ = true;
    lock.unlock();
    std::exception_ptr error;
    try {
      play(sentence);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (error) {
      error_ = error;
      queue_.clear();
    }
    playing_ = false;
    changed_.notify_all();
  }
}

void SentencePlayer::play(const Sentence& sentence) {
  const Speech speech = synthesizer_->speak(sentence.text, [this](auto) { return !stopped(); });
  const auto block = static_cast<std::size_t>(synthesizer_->rate() / 50);
  std::size_t given = 0;
  while (given < speech.samples.size() && !stopped()) {
    const std::size_t count = std::min(block, speech.samples.size() - given);
    loudspeaker_->play(std::span(speech.samples).subspan(given, count));
    given += count;
    const std::size_t sounded = given - std::min(loudspeaker_->waiting(), given);
    chat_->spoken(played_, speech.spoken_bytes(sounded));
  }
  if (stopped()) {
    const std::size_t sounded = given - std::min(loudspeaker_->waiting(), given);
    loudspeaker_->stop();
    chat_->spoken(played_, speech.spoken_bytes(sounded));
    return;
  }
  bool last = false;
  {
    const std::lock_guard lock(mutex_);
    last = queue_.empty();
    ++played_;
  }
  if (last) loudspeaker_->drain();
  chat_->spoken(played_);
}

}  // namespace qwen35
