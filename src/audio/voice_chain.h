#pragma once

#include <qwen35/voice.h>

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "audio/audio_file.h"
#include "audio/endpointer.h"
#include "audio/recognizer.h"
#include "audio/synthesizer.h"

namespace qwen35 {

/// Where the time of one turn went, in milliseconds of this machine's clock. From the end of recognition on, each
/// counts from there.
struct TurnTiming {
  double speech_seconds = 0;      ///< length of the question
  double recognition_ms = 0;      ///< all work of the recogniser on it, most of it while the user speaks
  double prefill_ahead_ms = 0;    ///< computing partial transcripts, while the user speaks
  double recognition_end_ms = 0;  ///< what was left to do when the question had been heard
  double first_token_ms = 0;
  double first_sentence_ms = 0;
  double first_audio_ms = 0;  ///< the first samples of the answer
  double total_ms = 0;        ///< the last ones
};

/// One question and its answer.
struct VoiceTurn {
  std::size_t begin = 0;  ///< where the question lies in the recording, in samples
  std::size_t end = 0;
  std::string question;  ///< as recognised; empty: not understood, and there is no answer
  VoiceReply reply;
  Audio answer;  ///< what was played of it
  TurnTiming timing;
};

struct VoiceChainOptions {
  EndpointerOptions endpointer;
  bool prefill_ahead = true;  ///< compute partial transcripts while the user speaks
};

/// The whole chain on a recording: recogniser, model, synthesizer. The recording is the time line: an answer is played
/// from the moment at which the end of its question is noticed, and a question that begins while it plays cuts it off,
/// so that the history holds the words that had sounded. What the machine takes to compute is measured, not played.
class VoiceChain {
 public:
  /// The three outlive the chain.
  VoiceChain(VoiceChat& chat, Recognizer& recognizer, Synthesizer& synthesizer, VoiceChainOptions options = {});

  /// Called after each turn; return false to stop.
  using OnTurn = std::function<bool(const VoiceTurn& turn)>;

  /// All turns of `recording`, which has the recogniser's rate. Throws invalid_argument for another rate.
  void run(const Audio& recording, const OnTurn& on_turn);

 private:
  struct Utterance {
    std::size_t begin, end, noticed;
  };
  [[nodiscard]] std::vector<Utterance> find_utterances(const Audio& recording) const;
  void recognize(const Audio& recording, VoiceTurn& turn);
  void answer(double seconds, VoiceTurn& turn);

  VoiceChat* chat_;
  Recognizer* recognizer_;
  Synthesizer* synthesizer_;
  VoiceChainOptions options_;
};

}  // namespace qwen35
