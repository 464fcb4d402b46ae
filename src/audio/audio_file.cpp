#include "audio/audio_file.h"

#include <qwen35/error.h>
#include <samplerate.h>
#include <sndfile.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <memory>
#include <string>
#include <system_error>

namespace qwen35 {
namespace {

namespace fs = std::filesystem;

constexpr int kMinRate = 1000;
constexpr int kMaxRate = 384000;
constexpr int kMaxChannels = 32;
constexpr sf_count_t kMaxSeconds = 3600;
constexpr sf_count_t kBlock = 16384;  // frames read at once

struct CloseFile {
  void operator()(SNDFILE* file) const { sf_close(file); }
};
using File = std::unique_ptr<SNDFILE, CloseFile>;

[[noreturn]] void fail(ErrorCode code, const fs::path& path, const std::string& what) {
  throw Error(code, path.string() + ": " + what);
}

std::int16_t to_sample(float value) {
  if (!std::isfinite(value)) return 0;
  return static_cast<std::int16_t>(std::lrint(std::clamp(value * 32768.0F, -32768.0F, 32767.0F)));
}

std::vector<std::int16_t> to_samples(const std::vector<float>& values) {
  std::vector<std::int16_t> samples(values.size());
  std::ranges::transform(values, samples.begin(), to_sample);
  return samples;
}

std::vector<float> resample(const std::vector<float>& in, int from, int to) {
  if (from == to || in.empty()) return in;
  const double ratio = static_cast<double>(to) / from;
  std::vector<float> out(static_cast<std::size_t>(std::ceil(static_cast<double>(in.size()) * ratio)) + 16);
  SRC_DATA data = {};
  data.data_in = in.data();
  data.input_frames = static_cast<long>(in.size());
  data.data_out = out.data();
  data.output_frames = static_cast<long>(out.size());
  data.src_ratio = ratio;
  if (const int error = src_simple(&data, SRC_SINC_MEDIUM_QUALITY, 1); error != 0) {
    throw Error(ErrorCode::unsupported, "cannot resample from " + std::to_string(from) + " to " + std::to_string(to) +
                                            " samples a second: " + src_strerror(error));
  }
  out.resize(static_cast<std::size_t>(data.output_frames_gen));
  return out;
}

}  // namespace

Audio read_audio(const fs::path& path, int rate) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) fail(ErrorCode::not_found, path, "no such file; expected a recording in a WAV file");
  if (!fs::is_regular_file(status)) fail(ErrorCode::bad_file, path, "is no regular file; expected a WAV file");
  SF_INFO info = {};
  const File file(sf_open(path.c_str(), SFM_READ, &info));
  if (!file) fail(ErrorCode::bad_file, path, std::string(sf_strerror(nullptr)) + " Expected a WAV file.");
  if (info.samplerate < kMinRate || info.samplerate > kMaxRate || info.channels < 1 || info.channels > kMaxChannels) {
    fail(ErrorCode::unsupported, path,
         std::to_string(info.channels) + " channels of " + std::to_string(info.samplerate) +
             " samples a second; expected 1 to " + std::to_string(kMaxChannels) + " channels of " +
             std::to_string(kMinRate) + " to " + std::to_string(kMaxRate));
  }
  // The header's count of frames is not trusted: what can be read counts.
  const auto channels = static_cast<std::size_t>(info.channels);
  std::vector<float> block(static_cast<std::size_t>(kBlock) * channels);
  std::vector<float> mono;
  while (const sf_count_t got = sf_readf_float(file.get(), block.data(), kBlock)) {
    if (got < 0) break;
    if (static_cast<sf_count_t>(mono.size()) + got > kMaxSeconds * info.samplerate) {
      fail(ErrorCode::unsupported, path, "longer than an hour; cut it into shorter recordings");
    }
    for (std::size_t i = 0; i < static_cast<std::size_t>(got); ++i) {
      float sum = 0;
      for (std::size_t c = 0; c < channels; ++c) sum += block[i * channels + c];
      mono.push_back(std::isfinite(sum) ? std::clamp(sum / static_cast<float>(channels), -1.0F, 1.0F) : 0);
    }
  }
  if (sf_error(file.get()) != SF_ERR_NO_ERROR) fail(ErrorCode::bad_file, path, sf_strerror(file.get()));
  if (mono.empty()) fail(ErrorCode::bad_file, path, "holds no sound");
  return {rate, to_samples(resample(mono, info.samplerate, rate))};
}

std::vector<std::int16_t> resample(std::span<const std::int16_t> samples, int from, int to) {
  std::vector<float> values(samples.size());
  std::ranges::transform(samples, values.begin(), [](std::int16_t s) { return static_cast<float>(s) / 32768.0F; });
  return to_samples(resample(values, from, to));
}

void write_wav(const fs::path& path, const Audio& audio) {
  SF_INFO info = {};
  info.samplerate = audio.rate;
  info.channels = 1;
  info.format = SF_FORMAT_WAV | SF_FORMAT_PCM_16;
  File file(sf_open(path.c_str(), SFM_WRITE, &info));
  if (!file) fail(ErrorCode::bad_file, path, std::string("cannot be written: ") + sf_strerror(nullptr));
  const auto count = static_cast<sf_count_t>(audio.samples.size());
  bool written = sf_write_short(file.get(), audio.samples.data(), count) == count;
  written = sf_close(file.release()) == 0 && written;
  if (written) return;
  std::error_code ignored;
  if (fs::is_regular_file(path, ignored)) fs::remove(path, ignored);
  fail(ErrorCode::bad_file, path, "cannot be written whole; is the disk full?");
}

}  // namespace qwen35
