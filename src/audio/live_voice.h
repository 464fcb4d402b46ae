#pragma once

#include <qwen35/voice.h>

#include <functional>
#include <string>

#include "audio/alsa_sound.h"
#include "audio/recognizer.h"
#include "audio/synthesizer.h"

namespace qwen35 {

/// A spoken conversation on a microphone and a loudspeaker: whoever speaks while an answer sounds cuts it off. Without
/// echo cancellation the loudspeaker must not reach the microphone: headphones.
class LiveVoice {
 public:
  /// All of them outlive the conversation.
  LiveVoice(VoiceChat& chat, Recognizer& recognizer, Synthesizer& synthesizer, Microphone& microphone,
            Loudspeaker& loudspeaker)
      : chat_(&chat),
        recognizer_(&recognizer),
        synthesizer_(&synthesizer),
        microphone_(&microphone),
        loudspeaker_(&loudspeaker) {}

  /// Called with each question (empty: not understood) and, when it was made, each answer; on different threads.
  std::function<void(const std::string& question)> on_question;
  std::function<void(const VoiceReply& reply)> on_reply;

  /// Talks until `over` says so; asked ten times a second.
  void run(const std::function<bool()>& over);

 private:
  VoiceChat* chat_;
  Recognizer* recognizer_;
  Synthesizer* synthesizer_;
  Microphone* microphone_;
  Loudspeaker* loudspeaker_;
};

}  // namespace qwen35
