// eSpeak NG and PocketSphinx behind their interfaces: what one says the other hears.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/error.h>
#include <unistd.h>

#include <fstream>

#include "audio/audio_file.h"
#include "audio/espeak_synthesizer.h"
#include "audio/pocketsphinx_recognizer.h"

namespace qwen35 {
namespace {

namespace fs = std::filesystem;

TEST(Espeak, SpeaksWithTheTimeOfEachWord) {
  const auto voice = make_espeak_synthesizer({});
  const std::string text = "It costs 25 euros, très cher.";
  std::size_t streamed = 0;
  const Speech speech = voice->speak(text, [&](std::span<const std::int16_t> block) {
    streamed += block.size();
    return true;
  });
  EXPECT_EQ(streamed, speech.samples.size());
  EXPECT_GT(speech.samples.size(), static_cast<std::size_t>(voice->rate()));
  ASSERT_EQ(speech.words.size(), 6U);
  std::size_t sample = 0;
  std::vector<std::string> words;
  std::size_t begin = 0;
  for (const Speech::Word& word : speech.words) {
    EXPECT_LT(sample, word.sample_end);
    sample = word.sample_end;
    words.push_back(text.substr(begin, word.text_end - begin));
    begin = word.text_end;
  }
  EXPECT_THAT(words, testing::ElementsAre("It", " costs", " 25", " euros,", " très", " cher."));
  EXPECT_EQ(sample, speech.samples.size());
  EXPECT_EQ(speech.spoken_bytes(0), 0U);
  EXPECT_EQ(speech.spoken_bytes(speech.words[1].sample_end), 8U);
  EXPECT_EQ(speech.spoken_bytes(speech.words[1].sample_end - 1), 2U);
  EXPECT_EQ(speech.spoken_bytes(sample), text.size());
}

TEST(Espeak, StopsWhenToldAndPassesExceptionsOn) {
  const auto voice = make_espeak_synthesizer({});
  const std::string text = "One two three four five six seven eight nine ten.";
  const std::size_t all = voice->speak(text, {}).samples.size();
  EXPECT_LT(voice->speak(text, [](auto) { return false; }).samples.size(), all / 2);
  EXPECT_THROW(voice->speak(text, [](auto) -> bool { throw std::runtime_error("player"); }), std::runtime_error);
  EXPECT_GT(voice->speak(text, {}).samples.size(), all * 9 / 10);  // it varies by some milliseconds
  EXPECT_TRUE(voice->speak("", {}).words.empty());
}

TEST(Espeak, RefusesUnknownVoicesAndRates) {
  EXPECT_THROW(make_espeak_synthesizer({.voice = "no-such-voice"}), Error);
  EXPECT_THROW(make_espeak_synthesizer({.words_per_minute = 79}), Error);
  EXPECT_THROW(make_espeak_synthesizer({.words_per_minute = 451}), Error);
}

class PocketSphinx : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("qwen35-ps-" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  [[nodiscard]] fs::path grammar(const std::string& rules) const {
    std::ofstream(folder_ / "g.gram") << "#JSGF V1.0;\ngrammar g;\n" << rules;
    return folder_ / "g.gram";
  }
  static std::string message(const PocketSphinxOptions& options) {
    try {
      make_pocketsphinx_recognizer(options);
    } catch (const Error& error) {
      return error.what();
    }
    return "made";
  }
  fs::path folder_;
};

TEST_F(PocketSphinx, HearsWhatTheGrammarKnows) {
  const auto ear = make_pocketsphinx_recognizer(
      {.grammar = grammar("public <s> = the weather in Paris is (sunny | cloudy) | turn the lights (on | off);\n"),
       .model = {}});
  const auto voice = make_espeak_synthesizer({.words_per_minute = 150});
  for (const std::string text : {"the weather in Paris is cloudy", "turn the lights on"}) {
    const auto samples = resample(voice->speak(text, {}).samples, voice->rate(), ear->rate());
    ear->start();
    std::string partial;
    for (std::size_t pos = 0; pos < samples.size(); pos += 1600) {
      ear->push(std::span(samples).subspan(pos, std::min<std::size_t>(1600, samples.size() - pos)));
      partial = ear->partial();
    }
    EXPECT_FALSE(partial.empty());
    EXPECT_EQ(ear->finish(), text);
  }
  ear->start();
  ear->push(std::vector<std::int16_t>(16000));
  EXPECT_EQ(ear->finish(), "");
}

TEST_F(PocketSphinx, RefusesBadGrammarsByName) {
  EXPECT_THAT(message({.grammar = folder_ / "none.gram", .model = {}}), testing::HasSubstr("none.gram"));
  EXPECT_THAT(message({.grammar = grammar("public <s> = (unclosed;\n"), .model = {}}), testing::HasSubstr("g.gram"));
  EXPECT_THAT(message({.grammar = grammar("public <s> = xyzzyq hello;\n"), .model = {}}), testing::HasSubstr("xyzzyq"));
  EXPECT_THAT(message({.grammar = grammar("<s> = hello;\n"), .model = {}}), testing::HasSubstr("g.gram"));
  EXPECT_THAT(message({.grammar = {}, .model = folder_}), testing::HasSubstr(folder_.string()));
  EXPECT_EQ(message({.grammar = fs::path(QWEN35_VOICE_DATA) / "mini.gram", .model = {}}), "made");
}

TEST_F(PocketSphinx, CallsOutOfOrderAreRefused) {
  const auto ear = make_pocketsphinx_recognizer({.grammar = grammar("public <s> = hello;\n"), .model = {}});
  EXPECT_THROW(ear->push({}), Error);
  EXPECT_THROW(ear->finish(), Error);
  ear->start();
  ear->start();
  EXPECT_EQ(ear->finish(), "");
}

}  // namespace
}  // namespace qwen35
