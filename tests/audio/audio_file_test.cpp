// Sound files: every sample format, any rate, hostile headers.
#include "audio/audio_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/error.h>
#include <sndfile.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <numbers>
#include <random>
#include <string>

namespace qwen35 {
namespace {

namespace fs = std::filesystem;

class AudioFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("qwen35-audio-" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  [[nodiscard]] fs::path file(const std::string& name) const { return folder_ / name; }
  [[nodiscard]] fs::path write(const std::string& name, const std::string& bytes) const {
    std::ofstream(file(name), std::ios::binary) << bytes;
    return file(name);
  }

  fs::path folder_;
};

/// `seconds` of a tone of half the full scale.
std::vector<float> tone(double hertz, int rate, double seconds, int channels = 1) {
  std::vector<float> samples;
  for (int i = 0; i < static_cast<int>(seconds * rate); ++i) {
    for (int c = 0; c < channels; ++c) {
      samples.push_back(static_cast<float>(0.5 * std::sin(2 * std::numbers::pi * hertz * i / rate)));
    }
  }
  return samples;
}

/// Amplitude of the part of `hertz` in the middle half of `audio`, as a share of the full scale.
double amplitude(const Audio& audio, double hertz) {
  double re = 0;
  double im = 0;
  const std::size_t begin = audio.samples.size() / 4;
  const std::size_t end = audio.samples.size() * 3 / 4;
  for (std::size_t i = begin; i < end; ++i) {
    const double phase = 2 * std::numbers::pi * hertz * static_cast<double>(i) / audio.rate;
    re += audio.samples[i] / 32768.0 * std::cos(phase);
    im += audio.samples[i] / 32768.0 * std::sin(phase);
  }
  return 2 * std::hypot(re, im) / static_cast<double>(end - begin);
}

void save(const fs::path& path, int format, int rate, int channels, const std::vector<float>& samples) {
  SF_INFO info = {};
  info.samplerate = rate;
  info.channels = channels;
  info.format = SF_FORMAT_WAV | format;
  SNDFILE* out = sf_open(path.c_str(), SFM_WRITE, &info);
  ASSERT_NE(out, nullptr) << sf_strerror(nullptr);
  sf_writef_float(out, samples.data(), static_cast<sf_count_t>(samples.size()) / channels);
  sf_close(out);
}

TEST_F(AudioFile, EveryFormatAndRateBecomesTheSameTone) {
  for (const int format :
       {SF_FORMAT_PCM_U8, SF_FORMAT_PCM_16, SF_FORMAT_PCM_24, SF_FORMAT_PCM_32, SF_FORMAT_FLOAT, SF_FORMAT_DOUBLE}) {
    for (const int rate : {8000, 16000, 22050, 44100, 48000}) {
      for (const int channels : {1, 2}) {
        save(file("t.wav"), format, rate, channels, tone(440, rate, 0.5, channels));
        const Audio audio = read_audio(file("t.wav"), 16000);
        EXPECT_EQ(audio.rate, 16000);
        EXPECT_NEAR(audio.seconds(), 0.5, 0.002);
        EXPECT_NEAR(amplitude(audio, 440), 0.5, 0.01) << format << " " << rate << " " << channels;
      }
    }
  }
}

TEST_F(AudioFile, WhatTheNewRateCannotHoldIsFilteredOut) {
  save(file("t.wav"), SF_FORMAT_PCM_16, 48000, 1, tone(12000, 48000, 0.5));  // would alias to 4,000 Hz
  EXPECT_LT(amplitude(read_audio(file("t.wav"), 16000), 4000), 0.001);
}

TEST_F(AudioFile, WhatIsWrittenReadsBack) {
  Audio audio{22050, {0, 1, -1, 32767, -32768, 1234}};
  write_wav(file("w.wav"), audio);
  EXPECT_EQ(read_audio(file("w.wav"), 22050).samples, audio.samples);
  EXPECT_THROW(write_wav("/no-such-folder/w.wav", audio), Error);
  EXPECT_THROW(write_wav("/dev/full", audio), Error);
}

TEST_F(AudioFile, WhatIsNoSoundIsRefusedByName) {
  const auto message = [](const fs::path& path) -> std::string {
    try {
      read_audio(path, 16000);
    } catch (const Error& error) {
      return error.what();
    }
    return "read";
  };
  EXPECT_THAT(message(file("none.wav")), testing::HasSubstr("none.wav"));
  EXPECT_THAT(message(folder_), testing::HasSubstr("regular"));
  EXPECT_THAT(message(write("text.wav", "Hello, this is no sound at all.")), testing::HasSubstr("text.wav"));
  EXPECT_THAT(message(write("empty.wav", "")), testing::HasSubstr("empty.wav"));
  save(file("silent.wav"), SF_FORMAT_PCM_16, 16000, 1, {});
  EXPECT_THAT(message(file("silent.wav")), testing::HasSubstr("no sound"));
}

TEST_F(AudioFile, FloatsThatAreNoNumbersBecomeSilence) {
  save(file("nan.wav"), SF_FORMAT_FLOAT, 16000, 1, {0.5F, std::nanf(""), INFINITY, -INFINITY, 9.0F});
  const Audio audio = read_audio(file("nan.wav"), 16000);
  EXPECT_EQ(audio.samples, (std::vector<std::int16_t>{16384, 0, 0, 0, 32767}));
}

TEST_F(AudioFile, DamagedHeadersAreReadOrRefusedButNeverTrusted) {
  save(file("good.wav"), SF_FORMAT_PCM_16, 16000, 1, tone(440, 16000, 0.1));
  std::ifstream in(file("good.wav"), std::ios::binary);
  const std::string good((std::istreambuf_iterator<char>(in)), {});
  std::mt19937 random(1);
  int refused = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string bad = good;
    for (int i = 0; i < 3; ++i) bad[random() % 44] = static_cast<char>(random());
    if (round % 4 == 0) bad.resize(random() % bad.size());
    try {
      // No more sound than there are bytes, resampled from at least 1,000 a second.
      EXPECT_LE(read_audio(write("bad.wav", bad), 16000).samples.size(), bad.size() * 17 + 64);
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace qwen35
