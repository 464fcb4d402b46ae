#include "audio/alsa_sound.h"

#include <alsa/asoundlib.h>
#include <qwen35/error.h>

namespace qwen35 {
namespace {

constexpr unsigned kCaptureLatency = 1'000'000;  // microseconds: how long nobody may read before sound is lost
constexpr unsigned kPlayLatency = 200'000;

/// ALSA prints its complaints on standard error; our message has the reason.
void say_nothing(const char* /*file*/, int /*line*/, const char* /*function*/, int /*error*/, const char* /*format*/,
                 ...) {}

std::unique_ptr<snd_pcm_t, ClosePcm> open(const std::string& device, int rate, snd_pcm_stream_t direction,
                                          unsigned latency) {
  snd_lib_error_set_handler(say_nothing);
  const bool capture = direction == SND_PCM_STREAM_CAPTURE;
  const auto fail = [&](int error) {
    throw Error(ErrorCode::not_found, std::string("there is no ") + (capture ? "microphone" : "loudspeaker") + " \"" +
                                          device + "\" that ALSA can use: " + snd_strerror(error) + "; \"" +
                                          (capture ? "arecord" : "aplay") +
                                          " -L\" lists the devices, --in and --out use files instead");
  };
  snd_pcm_t* raw = nullptr;
  if (const int error = snd_pcm_open(&raw, device.c_str(), direction, 0); error < 0) fail(error);
  std::unique_ptr<snd_pcm_t, ClosePcm> pcm(raw);
  constexpr int kResample = 1;
  if (const int error = snd_pcm_set_params(raw, SND_PCM_FORMAT_S16, SND_PCM_ACCESS_RW_INTERLEAVED, 1,
                                           static_cast<unsigned>(rate), kResample, latency);
      error < 0) {
    fail(error);
  }
  return pcm;
}

[[noreturn]] void broken(const std::string& device, long error) {
  throw Error(ErrorCode::bad_file,
              "the sound device \"" + device + "\" stopped working: " + snd_strerror(static_cast<int>(error)));
}

}  // namespace

void ClosePcm::operator()(snd_pcm_t* pcm) const { snd_pcm_close(pcm); }

Microphone::Microphone(const std::string& device, int rate)
    : device_(device), pcm_(open(device, rate, SND_PCM_STREAM_CAPTURE, kCaptureLatency)) {}

void Microphone::read(std::span<std::int16_t> samples) {
  while (!samples.empty()) {
    snd_pcm_sframes_t got = snd_pcm_readi(pcm_.get(), samples.data(), samples.size());
    if (got < 0) got = snd_pcm_recover(pcm_.get(), static_cast<int>(got), 1);  // an overrun: sound was lost
    if (got < 0) broken(device_, got);
    samples = samples.subspan(static_cast<std::size_t>(got));
  }
}

Loudspeaker::Loudspeaker(const std::string& device, int rate)
    : device_(device), pcm_(open(device, rate, SND_PCM_STREAM_PLAYBACK, kPlayLatency)) {}

void Loudspeaker::play(std::span<const std::int16_t> samples) {
  while (!samples.empty()) {
    snd_pcm_sframes_t put = snd_pcm_writei(pcm_.get(), samples.data(), samples.size());
    if (put < 0) put = snd_pcm_recover(pcm_.get(), static_cast<int>(put), 1);  // it ran dry between two sentences
    if (put < 0) broken(device_, put);
    samples = samples.subspan(static_cast<std::size_t>(put));
  }
}

std::size_t Loudspeaker::waiting() const {
  snd_pcm_sframes_t delay = 0;
  if (snd_pcm_delay(pcm_.get(), &delay) < 0 || delay < 0) return 0;
  return static_cast<std::size_t>(delay);
}

void Loudspeaker::drain() {
  snd_pcm_drain(pcm_.get());
  snd_pcm_prepare(pcm_.get());
}

void Loudspeaker::stop() {
  snd_pcm_drop(pcm_.get());
  snd_pcm_prepare(pcm_.get());
}

}  // namespace qwen35
