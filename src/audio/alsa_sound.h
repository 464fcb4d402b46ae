#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

typedef struct _snd_pcm snd_pcm_t;

namespace qwen35 {

struct ClosePcm {
  void operator()(snd_pcm_t* pcm) const;
};

/// Mono sound of 16 bits from an ALSA device. Not thread-safe. Throws not_found naming the device when it does not
/// open, bad_file when it stops working.
class Microphone {
 public:
  /// `device`: as `arecord -L` lists them. `rate`: samples a second.
  Microphone(const std::string& device, int rate);
  /// Waits until `samples` are full.
  void read(std::span<std::int16_t> samples);

 private:
  std::string device_;
  std::unique_ptr<snd_pcm_t, ClosePcm> pcm_;
};

/// Mono sound of 16 bits to an ALSA device. Errors as Microphone's. play() and drain() belong to one thread.
class Loudspeaker {
 public:
  Loudspeaker(const std::string& device, int rate);
  /// Hands over sound; waits while the device's buffer (a fifth of a second) is full.
  void play(std::span<const std::int16_t> samples);
  /// Samples handed over that have not sounded yet.
  [[nodiscard]] std::size_t waiting() const;
  /// Waits until all has sounded.
  void drain();
  /// Drops what has not sounded yet.
  void stop();

 private:
  std::string device_;
  std::unique_ptr<snd_pcm_t, ClosePcm> pcm_;
};

}  // namespace qwen35
