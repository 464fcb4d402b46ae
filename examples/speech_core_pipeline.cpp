// A speech-core pipeline around the model, with a fake ear and a fake voice: the user tells a name, asks something,
// cuts the answer off in the middle and asks for the name. Needs -DQWEN35_WITH_SPEECH_CORE=DIR.
#include <qwen35/speech_core.h>
#include <speech_core/pipeline/voice_pipeline.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int kRate = 16000;

/// Speech is what is loud.
class LoudnessVad : public speech_core::VADInterface {
 public:
  float process_chunk(const float* samples, std::size_t length) override {
    float peak = 0;
    for (std::size_t i = 0; i < length; ++i) peak = std::max(peak, samples[i]);
    return peak > 0.1F ? 1.0F : 0.0F;
  }
  void reset() override {}
  [[nodiscard]] int input_sample_rate() const override { return kRate; }
  [[nodiscard]] std::size_t chunk_size() const override { return 512; }
};

/// Hears what the script says next.
class ScriptedEar : public speech_core::STTInterface {
 public:
  explicit ScriptedEar(std::deque<std::string> script) : script_(std::move(script)) {}
  speech_core::TranscriptionResult transcribe(const float* /*audio*/, std::size_t /*length*/, int /*rate*/) override {
    speech_core::TranscriptionResult result;
    if (!script_.empty()) {
      result.text = script_.front();
      script_.pop_front();
    }
    return result;
  }
  [[nodiscard]] int input_sample_rate() const override { return kRate; }

 private:
  std::deque<std::string> script_;
};

/// A tenth of a second of tone for each letter.
class ToneVoice : public speech_core::TTSInterface {
 public:
  void synthesize(const std::string& text, const std::string& /*language*/,
                  speech_core::TTSChunkCallback on_chunk) override {
    const std::vector<float> letter(kRate / 10, 0.5F);
    for (std::size_t i = 0; i < text.size(); ++i) on_chunk(letter.data(), letter.size(), i + 1 == text.size());
  }
  [[nodiscard]] int output_sample_rate() const override { return kRate; }
};

/// What the pipeline reports, and the player that would play it.
class Player {
 public:
  explicit Player(qwen35::SpeechCoreLlm& llm) : llm_(&llm) {}

  void on_event(const speech_core::PipelineEvent& event) {
    const std::lock_guard lock(mutex_);
    switch (event.type) {
      case speech_core::EventType::TranscriptionCompleted:
        llm_->begin_turn();  // a cancel from now on means the reply to come
        std::cout << "user:  " << event.text << '\n';
        break;
      case speech_core::EventType::ResponseCreated:
        queued_ = 0;
        break;
      case speech_core::EventType::ResponseAudioDelta:
        queued_ += event.audio_data.size() / sizeof(std::int16_t);
        break;
      case speech_core::EventType::ResponseDone:
        ++answers_;
        done_.notify_all();
        break;
      case speech_core::EventType::ResponseInterrupted:
        std::cout << "model: " << llm_->heard_share(played_) << " [cut off]\n";
        break;
      case speech_core::EventType::Error:
        std::cout << "error: " << event.text << '\n';
        break;
      default:
        break;
    }
  }

  /// Waits for the sound of answer `number` and plays this share of it.
  bool play(int number, double share) {
    std::unique_lock lock(mutex_);
    played_ = share;
    return done_.wait_for(lock, std::chrono::seconds(60), [&] { return answers_ >= number && queued_ > 0; });
  }

 private:
  qwen35::SpeechCoreLlm* llm_;
  std::mutex mutex_;
  std::condition_variable done_;
  std::size_t queued_ = 0;
  double played_ = 0;
  int answers_ = 0;
};

/// The microphone: `seconds` of speech, then of silence, as fast as a microphone gives it: the pipeline hands its
/// cancels to a thread of its own, which needs the time between two words to run.
void speak(speech_core::VoicePipeline& pipeline, double seconds) {
  constexpr std::size_t kChunk = 512;
  constexpr double kChunkSeconds = static_cast<double>(kChunk) / kRate;
  constexpr double kSilence = 0.5;
  const std::vector<float> loud(kChunk, 0.5F);
  const std::vector<float> quiet(kChunk, 0.0F);
  for (double t = 0; t < seconds + kSilence; t += kChunkSeconds) {
    pipeline.push_audio((t < seconds ? loud : quiet).data(), kChunk);
    std::this_thread::sleep_for(std::chrono::duration<double>(kChunkSeconds));
  }
}

}  // namespace

int main(int argc, char** argv) try {
  qwen35::SpeechCoreLlm llm(qwen35::Chat::from_pretrained(argc > 1 ? argv[1] : "mini"),
                            {.temperature = 0, .enable_thinking = false});
  ScriptedEar ear({"My name is Anna.", "What is gravity?", "What is my name?"});
  ToneVoice voice;
  LoudnessVad vad;
  Player player(llm);
  speech_core::AgentConfig config;
  config.warmup_stt = false;
  config.eager_stt = false;
  config.min_interruption_duration = 0.3F;
  config.interruption_recovery_timeout = 0;
  config.post_playback_guard = 0;
  config.max_response_duration = 0;
  speech_core::VoicePipeline pipeline(ear, voice, &llm, vad, config,
                                      [&player](const speech_core::PipelineEvent& event) { player.on_event(event); });
  pipeline.start();
  speak(pipeline, 1);
  bool answered = player.play(1, 1);
  pipeline.wait_idle();
  pipeline.resume_listening();  // all of the first answer was played
  speak(pipeline, 1);
  answered = answered && player.play(2, 0.45);
  pipeline.wait_idle();
  speak(pipeline, 1);  // while the second one plays: an interruption, and the next question
  answered = answered && player.play(3, 1);
  pipeline.wait_idle();
  pipeline.stop();

  std::cout << "\nwhat the model remembers:\n";
  for (const qwen35::Message& message : llm.conversation().messages()) {
    std::cout << "  " << message.role << ": " << message.content << '\n';
  }
  return answered ? 0 : 1;
} catch (const qwen35::Error& error) {
  std::cerr << "error: " << error.what() << '\n';
  return 1;
}
