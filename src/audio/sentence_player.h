#pragma once

#include <qwen35/voice.h>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>

#include "audio/alsa_sound.h"
#include "audio/synthesizer.h"

namespace qwen35 {

/// Speaks sentences on a loudspeaker, on a thread of its own, and tells the conversation how far it has come.
class SentencePlayer {
 public:
  /// All three outlive the player.
  SentencePlayer(VoiceChat& chat, Synthesizer& synthesizer, Loudspeaker& loudspeaker);
  ~SentencePlayer();
  SentencePlayer(const SentencePlayer&) = delete;
  SentencePlayer& operator=(const SentencePlayer&) = delete;

  /// Before the first sentence of a reply.
  void begin();
  void add(const Sentence& sentence);
  /// Falls silent at once, drops what is waiting, and says to the conversation what was heard. Returns when the
  /// loudspeaker is silent.
  void stop();
  /// Whether something sounds or waits to. Throws what went wrong on the player's thread.
  [[nodiscard]] bool busy();

 private:
  void loop(const std::stop_token& stop);
  void play(const Sentence& sentence);
  [[nodiscard]] bool stopped();

  VoiceChat* chat_;
  Synthesizer* synthesizer_;
  Loudspeaker* loudspeaker_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<Sentence> queue_;
  bool playing_ = false;
  bool stop_ = false;
  std::size_t played_ = 0;  ///< sentences of the present reply
  std::exception_ptr error_;
  std::jthread thread_;
};

}  // namespace qwen35
