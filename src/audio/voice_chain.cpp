#include "audio/voice_chain.h"

#include <qwen35/error.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <optional>

namespace qwen35 {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kPushesASecond = 10;  // how a microphone would hand it over
constexpr int kPushesAPartial = 3;  // a partial transcript about three times a second

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

}  // namespace

VoiceChain::VoiceChain(VoiceChat& chat, Recognizer& recognizer, Synthesizer& synthesizer, VoiceChainOptions options)
    : chat_(&chat), recognizer_(&recognizer), synthesizer_(&synthesizer), options_(options) {}

std::vector<VoiceChain::Utterance> VoiceChain::find_utterances(const Audio& recording) const {
  Endpointer endpointer(recording.rate, options_.endpointer);
  std::vector<Endpointer::Found> found;
  endpointer.push(recording.samples, found);
  endpointer.finish(found);
  std::vector<Utterance> utterances;
  for (const Endpointer::Found& event : found) {
    if (event.event == Endpointer::Event::start) {
      utterances.push_back({event.at, 0, 0});
    } else {
      utterances.back().end = event.at;
      utterances.back().noticed = event.noticed;
    }
  }
  return utterances;
}

void VoiceChain::run(const Audio& recording, const OnTurn& on_turn) {
  if (recording.rate != recognizer_->rate()) {
    throw Error(ErrorCode::invalid_argument, "the recording has " + std::to_string(recording.rate) +
                                                 " samples a second, the recogniser takes " +
                                                 std::to_string(recognizer_->rate()) + "; resample it");
  }
  const std::vector<Utterance> utterances = find_utterances(recording);
  for (std::size_t i = 0; i < utterances.size(); ++i) {
    const Utterance& utterance = utterances[i];
    VoiceTurn turn;
    turn.begin = utterance.begin;
    turn.end = utterance.end;
    turn.timing.speech_seconds = static_cast<double>(utterance.end - utterance.begin) / recording.rate;
    recognize(recording, turn);
    if (!turn.question.empty()) {
      const double never = std::numeric_limits<double>::infinity();
      const bool last = i + 1 == utterances.size();
      answer(last ? never : static_cast<double>(utterances[i + 1].begin - utterance.noticed) / recording.rate, turn);
    }
    if (!on_turn(turn)) return;
  }
}

void VoiceChain::recognize(const Audio& recording, VoiceTurn& turn) {
  const std::span<const std::int16_t> speech = std::span(recording.samples).subspan(turn.begin, turn.end - turn.begin);
  const auto block = static_cast<std::size_t>(recording.rate / kPushesASecond);
  recognizer_->start();
  std::string known;
  int pushes = 0;
  for (std::size_t pos = 0; pos < speech.size(); pos += block) {
    Clock::time_point start = Clock::now();
    recognizer_->push(speech.subspan(pos, std::min(block, speech.size() - pos)));
    const bool ask = options_.prefill_ahead && ++pushes % kPushesAPartial == 0;
    std::string partial = ask ? recognizer_->partial() : std::string();
    turn.timing.recognition_ms += ms_since(start);
    if (partial.empty() || partial == known) continue;
    known = std::move(partial);
    start = Clock::now();
    chat_->partial(known);
    turn.timing.prefill_ahead_ms += ms_since(start);
  }
  const Clock::time_point start = Clock::now();
  turn.question = recognizer_->finish();
  turn.timing.recognition_end_ms = ms_since(start);
  turn.timing.recognition_ms += turn.timing.recognition_end_ms;
}

/// `seconds`: how long the answer may be played before somebody cuts in.
void VoiceChain::answer(double seconds, VoiceTurn& turn) {
  const int rate = synthesizer_->rate();
  const double most = seconds * rate;
  turn.answer.rate = rate;
  std::vector<std::int16_t>& played = turn.answer.samples;
  std::size_t sentences = 0;
  const Clock::time_point start = Clock::now();
  turn.reply = chat_->reply(turn.question, [&](const Sentence& sentence) {
    bool first = turn.timing.first_audio_ms == 0;
    const Speech speech = synthesizer_->speak(sentence.text, [&](std::span<const std::int16_t>) {
      if (first) turn.timing.first_audio_ms = ms_since(start);
      first = false;
      return true;
    });
    const auto room = static_cast<std::size_t>(
        std::min(most - static_cast<double>(played.size()), static_cast<double>(speech.samples.size())));
    played.insert(played.end(), speech.samples.begin(), speech.samples.begin() + static_cast<std::ptrdiff_t>(room));
    if (room == speech.samples.size()) {
      chat_->spoken(++sentences);
      return true;
    }
    chat_->spoken(sentences, speech.spoken_bytes(room));
    return false;
  });
  turn.timing.first_token_ms = turn.reply.metrics.first_token_ms;
  turn.timing.first_sentence_ms = turn.reply.metrics.first_sentence_ms;
  turn.timing.total_ms = ms_since(start);
}

}  // namespace qwen35
