#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace qwen35 {

/// Mono sound, 16 bits a sample.
struct Audio {
  int rate = 0;  ///< samples a second
  std::vector<std::int16_t> samples;

  [[nodiscard]] double seconds() const { return rate > 0 ? static_cast<double>(samples.size()) / rate : 0; }
};

/// Reads a sound file (WAV with 8 to 32 bits or float, and whatever else libsndfile knows), mixes its channels into one
/// and resamples to `rate`. At most an hour. Throws not_found, bad_file or unsupported naming the file.
Audio read_audio(const std::filesystem::path& path, int rate);

/// `samples` at `from` samples a second, resampled to `to` with a band-limited sinc filter.
std::vector<std::int16_t> resample(std::span<const std::int16_t> samples, int from, int to);

/// Writes a WAV file of 16 bits. Throws Error naming the file; half a file is removed.
void write_wav(const std::filesystem::path& path, const Audio& audio);

}  // namespace qwen35
