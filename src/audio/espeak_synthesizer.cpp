#include "audio/espeak_synthesizer.h"

#include <espeak-ng/speak_lib.h>
#include <qwen35/error.h>

#include <algorithm>
#include <exception>

namespace qwen35 {
namespace {

constexpr int kBlockMs = 60;

/// What the callback of one text fills.
struct Job {
  const std::string* text = nullptr;
  const Synthesizer::OnAudio* on_audio = nullptr;
  int rate = 0;
  Speech speech;
  std::size_t text_pos = 0;  ///< bytes of `text` that hold `text_characters` characters
  int text_characters = 0;
  std::exception_ptr error;

  /// The byte at which the character `number` (from 0) begins; asked for in rising order.
  std::size_t byte_of(int number) {
    while (text_characters < number && text_pos < text->size()) {
      ++text_pos;
      while (text_pos < text->size() && (static_cast<unsigned char>((*text)[text_pos]) & 0xC0U) == 0x80) ++text_pos;
      ++text_characters;
    }
    return text_pos;
  }

  void add_word(const espeak_EVENT& event) {
    const auto begin =
        static_cast<std::size_t>(std::max(event.audio_position, 0)) * static_cast<std::size_t>(rate) / 1000;
    const std::size_t text_begin = byte_of(event.text_position - 1);
    if (!speech.words.empty()) speech.words.back().sample_end = begin;
    // "17" makes several events of one word; they all end where it does.
    const std::size_t end = std::min(text->find(' ', text_begin), text->size());
    if (speech.words.empty() || speech.words.back().text_end < end) speech.words.push_back({end, 0});
  }
};

/// Returns 0 to go on, 1 to stop. No exception may pass through the library.
int on_sound(short* samples, int count, espeak_EVENT* events) {
  Job& job = *static_cast<Job*>(events->user_data);
  try {
    for (const espeak_EVENT* event = events; event->type != espeakEVENT_LIST_TERMINATED; ++event) {
      if (event->type == espeakEVENT_WORD) job.add_word(*event);
    }
    if (samples == nullptr || count <= 0) return 0;
    const std::span<const std::int16_t> block(samples, static_cast<std::size_t>(count));
    job.speech.samples.insert(job.speech.samples.end(), block.begin(), block.end());
    return *job.on_audio && !(*job.on_audio)(block) ? 1 : 0;
  } catch (...) {
    job.error = std::current_exception();
    return 1;
  }
}

class EspeakSynthesizer final : public Synthesizer {
 public:
  explicit EspeakSynthesizer(const EspeakOptions& options) : options_(options) {
    if (options.words_per_minute < espeakRATE_MINIMUM || options.words_per_minute > espeakRATE_MAXIMUM) {
      throw Error(ErrorCode::invalid_argument, "a speaking rate of " + std::to_string(options.words_per_minute) +
                                                   " words a minute; expected 80 to 450");
    }
    static const int rate = espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, kBlockMs, nullptr, espeakINITIALIZE_DONT_EXIT);
    if (rate <= 0) {
      throw Error(ErrorCode::not_found, "eSpeak NG does not start; on Debian install espeak-ng-data");
    }
    rate_ = rate;
    use_voice();
  }

  [[nodiscard]] int rate() const override { return rate_; }

  Speech speak(const std::string& text, const OnAudio& on_audio) override {
    use_voice();
    Job job;
    job.text = &text;
    job.on_audio = &on_audio;
    job.rate = rate_;
    espeak_SetSynthCallback(on_sound);
    const espeak_ERROR result = espeak_Synth(text.c_str(), text.size() + 1, 0, POS_CHARACTER, 0,
                                             espeakCHARS_UTF8 | espeakENDPAUSE, nullptr, &job);
    if (job.error) std::rethrow_exception(job.error);
    if (result != EE_OK) {
      throw Error(ErrorCode::internal,
                  "eSpeak NG cannot speak \"" + text + "\" (error " + std::to_string(result) + ")");
    }
    if (!job.speech.words.empty()) {
      job.speech.words.back() = {text.size(), job.speech.samples.size()};
    }
    return std::move(job.speech);
  }

 private:
  /// The voice is the process's; another synthesizer may have set its own.
  void use_voice() const {
    if (espeak_SetVoiceByName(options_.voice.c_str()) != EE_OK) {
      throw Error(ErrorCode::not_found,
                  "eSpeak NG has no voice \"" + options_.voice + "\"; \"espeak-ng --voices\" lists them");
    }
    espeak_SetParameter(espeakRATE, options_.words_per_minute, 0);
  }

  EspeakOptions options_;
  int rate_ = 0;
};

}  // namespace

std::unique_ptr<Synthesizer> make_espeak_synthesizer(const EspeakOptions& options) {
  return std::make_unique<EspeakSynthesizer>(options);
}

}  // namespace qwen35
