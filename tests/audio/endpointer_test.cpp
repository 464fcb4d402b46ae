// Where speech begins and ends.
#include "audio/endpointer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace qwen35 {
namespace {

constexpr int kRate = 16000;

/// A recording put together from stretches of noise.
class Sound {
 public:
  Sound& add(double seconds, double amplitude) {
    std::normal_distribution<double> noise(0, amplitude * 32768);
    for (int i = 0; i < static_cast<int>(seconds * kRate); ++i) {
      samples_.push_back(
          static_cast<std::int16_t>(std::clamp(amplitude > 0 ? noise(random_) : 0.0, -32768.0, 32767.0)));
    }
    return *this;
  }
  [[nodiscard]] std::vector<Endpointer::Found> find(std::size_t block = 1600) const {
    Endpointer endpointer(kRate);
    std::vector<Endpointer::Found> found;
    for (std::size_t pos = 0; pos < samples_.size(); pos += block) {
      endpointer.push(std::span(samples_).subspan(pos, std::min(block, samples_.size() - pos)), found);
    }
    endpointer.finish(found);
    return found;
  }

 private:
  std::mt19937 random_{5};
  std::vector<std::int16_t> samples_;
};

double seconds(std::size_t samples) { return static_cast<double>(samples) / kRate; }

TEST(Endpointer, FindsUtterancesInSilenceAndNoise) {
  for (const double background : {0.0, 0.001, 0.01}) {
    const auto found = Sound()
                           .add(1, background)
                           .add(1, 0.1)
                           .add(0.3, background)
                           .add(0.5, 0.1)
                           .add(1.5, background)
                           .add(1, 0.1)
                           .find();
    ASSERT_EQ(found.size(), 4U) << background;
    EXPECT_EQ(found[0].event, Endpointer::Event::start);
    EXPECT_EQ(found[1].event, Endpointer::Event::end);
    EXPECT_NEAR(seconds(found[0].at), 0.8, 0.05);  // 0.2 s of padding; the pause of 0.3 s is inside
    EXPECT_NEAR(seconds(found[1].at), 3.0, 0.05);
    EXPECT_NEAR(seconds(found[1].noticed), 3.4, 0.05);
    EXPECT_NEAR(seconds(found[2].at), 4.1, 0.05);
    EXPECT_NEAR(seconds(found[3].at), 5.3, 0.01);
  }
}

TEST(Endpointer, ClicksAndSteadyNoiseAreNoSpeech) {
  EXPECT_TRUE(Sound().add(1, 0).add(0.02, 0.5).add(1, 0).find().empty());
  EXPECT_TRUE(Sound().add(10, 0.002).find().empty());
  EXPECT_TRUE(Sound().find().empty());
}

TEST(Endpointer, BlocksDoNotMatter) {
  Sound sound;
  sound.add(1, 0.001).add(1, 0.1).add(1, 0.001).add(0.7, 0.05).add(1, 0.001);
  const auto expected = sound.find(1600);
  for (const std::size_t block : {1U, 37U, 160U, 100000U}) {
    const auto found = sound.find(block);
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i].at, expected[i].at);
  }
}

}  // namespace
}  // namespace qwen35
