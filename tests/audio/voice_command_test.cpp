// The whole chain, by ear: eSpeak asks, the built command answers into a WAV file, PocketSphinx hears the answer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "audio/audio_file.h"
#include "audio/endpointer.h"
#include "audio/espeak_synthesizer.h"
#include "audio/pocketsphinx_recognizer.h"
#include "cli/models.h"
#include "cli/process.h"

namespace qwen35::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::StartsWith;

constexpr int kRate = 16000;

std::vector<std::int16_t> speak(const std::string& text) {
  const auto voice = make_espeak_synthesizer({.words_per_minute = 150});
  return resample(voice->speak(text, {}).samples, voice->rate(), kRate);
}

/// A recording: speech, then silence, and so on.
class Recording {
 public:
  Recording() { pause(0.3); }
  Recording& say(const std::string& text) {
    const auto speech = speak(text);
    audio_.samples.insert(audio_.samples.end(), speech.begin(), speech.end());
    return *this;
  }
  Recording& pause(double seconds) {
    audio_.samples.resize(audio_.samples.size() + static_cast<std::size_t>(seconds * kRate));
    return *this;
  }
  [[nodiscard]] std::string save(const std::filesystem::path& file) const {
    write_wav(file, audio_);
    return file.string();
  }

 private:
  Audio audio_{kRate, {}};
};

/// What an ear that knows these sentences (and the model's whole domain of sums) hears in a file.
std::string hear(const TemporaryFolder& folder, const std::filesystem::path& file) {
  const std::string grammar = folder.write(
      "answers.gram",
      "#JSGF V1.0;\ngrammar answers;\n"
      "public <answers> = <answer>+;\n"
      "<answer> = nice to meet you <name> | your name is <name> | <number> (plus | minus) <number> is <number> |\n"
      "  the capital of <country> is <city> | a spider has <digit> legs | an insect has <digit> legs | bees make "
      "(honey | "
      "wax);\n"
      "<name> = Peter | Oscar | Laura | Tom;\n"
      "<country> = France | Japan | Egypt | Norway;\n"
      "<city> = Paris | Tokyo | Cairo | Oslo;\n"
      "<digit> = one | two | three | four | five | six | seven | eight | nine;\n"
      "<number> = <digit> | ten | eleven | twelve | (twenty | thirty | forty | fifty | sixty | seventy | eighty | "
      "ninety) "
      "[<digit>];\n");
  const auto ear = make_pocketsphinx_recognizer({.grammar = grammar, .model = {}});
  const Audio audio = read_audio(file, kRate);
  ear->start();
  ear->push(audio.samples);
  return ear->finish();
}

class VoiceCommand : public testing::Test {
 protected:
  void SetUp() override {
    if (!mini_model()) GTEST_SKIP() << "the bundled model is not in this tree";
  }
  [[nodiscard]] std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
  [[nodiscard]] json run_voice(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"voice", "--model", "mini"});
    for (const char* more : {"--json", "--temp", "0", "--rate", "150"}) arguments.emplace_back(more);
    const Result result = run(arguments);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    return json::parse(result.out);
  }
  TemporaryFolder folder_;
};

struct Question {
  const char* name;
  const char* spoken;
  const char* heard;
  const char* answer;
  const char* sounds;
};
void PrintTo(const Question& question, std::ostream* out) { *out << question.spoken; }

class AskedAloud : public VoiceCommand, public testing::WithParamInterface<Question> {};

TEST_P(AskedAloud, IsAnsweredAloud) {
  const Question& question = GetParam();
  const json report = run_voice({"--in", Recording().say(question.spoken).save(path("q.wav")), "--out", path("a.wav")});
  ASSERT_EQ(report["turns"].size(), 1U);
  const json& turn = report["turns"][0];
  EXPECT_EQ(turn["question"], question.heard);
  EXPECT_EQ(turn["answer"], question.answer);
  EXPECT_EQ(turn["heard"], question.answer);
  EXPECT_EQ(turn["interrupted"], false);
  EXPECT_EQ(hear(folder_, path("a.wav")), question.sounds);
  const json& timing = turn["timing"];
  EXPECT_GT(timing["first_token_ms"], 0);
  EXPECT_GT(timing["first_sentence_ms"], timing["first_token_ms"]);
  EXPECT_GT(timing["first_audio_ms"], timing["first_sentence_ms"]);
  EXPECT_GE(timing["total_ms"], timing["first_audio_ms"]);
  EXPECT_GT(turn["reused_tokens"], 0);  // computed while the user spoke
}

INSTANTIATE_TEST_SUITE_P(
    Questions, AskedAloud,
    testing::Values(Question{"Sum", "What is forty two plus thirty?", "what is forty two plus thirty",
                             "42 plus 30 is 72.", "forty two plus thirty is seventy two"},
                    Question{"Capital", "What is the capital of Norway?", "what is the capital of Norway",
                             "The capital of Norway is Oslo.", "the capital of Norway is Oslo"},
                    Question{"Fact", "How many legs does a spider have?", "how many legs does a spider have",
                             "A spider has eight legs.", "a spider has eight legs"},
                    Question{"Name", "My name is Peter.", "my name is Peter", "Nice to meet you, Peter!",
                             "nice to meet you Peter"}),
    [](const auto& question) { return std::string(question.param.name); });

TEST_F(VoiceCommand, SeveralRecordingsAreOneConversation) {
  const json report = run_voice({"--in", Recording().say("My name is Laura.").save(path("1.wav")), "--in",
                                 Recording().say("Do you know my name?").save(path("2.wav")), "--out", path("a.wav")});
  ASSERT_EQ(report["turns"].size(), 2U);
  EXPECT_EQ(report["turns"][1]["answer"], "Your name is Laura.");
  EXPECT_EQ(hear(folder_, path("a.wav")), "nice to meet you Laura your name is Laura");
  EXPECT_EQ(report["messages"].size(), 4U);
}

TEST_F(VoiceCommand, AQuestionOverAnAnswerCutsItOff) {
  // One time line: the second question begins while the answer to the first one (6 s long) has played for a while.
  const std::string file = Recording()
                               .say("My name is Peter.")
                               .pause(5)
                               .say("What is gravity?")
                               .pause(3)
                               .say("Do you know my name?")
                               .save(path("q.wav"));
  const json report = run_voice({"--in", file, "--out", path("a.wav")});
  ASSERT_EQ(report["turns"].size(), 3U);
  EXPECT_EQ(report["turns"][0]["interrupted"], false);
  const json& cut = report["turns"][1];
  EXPECT_EQ(cut["question"], "what is gravity");
  EXPECT_EQ(cut["interrupted"], true);
  EXPECT_EQ(cut["finish_reason"], "cancelled");  // it was still being made
  // The words whose sound fits into the time that the answer had, and no other.
  const std::string heard = cut["heard"];
  const std::string answer = cut["answer"];
  ASSERT_THAT(answer, StartsWith(heard));
  EXPECT_THAT(heard, StartsWith("Gravity is the force"));
  EXPECT_LT(heard.size(), answer.size());
  const auto voice = make_espeak_synthesizer({.words_per_minute = 150});
  const std::string sentence = "Gravity is the force that pulls things toward each other.";
  const Speech speech = voice->speak(sentence, {});
  const auto played = static_cast<std::size_t>(cut["answer_seconds"].get<double>() * voice->rate() + 0.5);
  EXPECT_EQ(heard, sentence.substr(0, speech.spoken_bytes(played)));
  // The silence of 3 s, less what it takes to notice that the question is over and to begin the next one's padding.
  EXPECT_NEAR(cut["answer_seconds"], 3 - 0.6 - 0.2, 0.6);
  // The history holds just that, and the next answer is right.
  EXPECT_EQ(report["messages"][3]["content"], heard);
  EXPECT_EQ(report["turns"][2]["question"], "do you know my name");
  EXPECT_EQ(report["turns"][2]["answer"], "Your name is Peter.");
  EXPECT_EQ(report["messages"].size(), 6U);
}

TEST_F(VoiceCommand, PrintsTextAndTimes) {
  const Result result =
      run({"voice", "--model", "mini", "-i", Recording().say("What is the capital of Norway?").save(path("q.wav")),
           "--text", "--timing", "--temp", "0", "--memory-budget", "1", "--no-prefill-ahead"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, StartsWith("you: what is the capital of Norway\nqwen35: The capital of Norway is Oslo.\n"));
  EXPECT_THAT(result.out, HasSubstr("\n  first token "));
  EXPECT_THAT(result.out, HasSubstr("\n  first sentence "));
  EXPECT_THAT(result.out, HasSubstr("\n  first audio "));
}

TEST(VoiceUsage, HelpHasAnExampleAndUnknownOptionsAreWrongUsage) {
  const Result help = run({"voice", "--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.out, HasSubstr("qwen35 voice --in question.wav --out answer.wav"));
  EXPECT_EQ(run({"voice", "--no-such-option"}).code, 2);
}

TEST_F(VoiceCommand, WhatCannotBeDoneIsNamed) {
  const std::string question = Recording().say("What is the capital of Norway?").save(path("q.wav"));
  const auto expect_error = [](const std::vector<std::string>& arguments, const char* what) {
    const Result result = run(arguments);
    EXPECT_EQ(result.code, 1);
    EXPECT_THAT(result.err, StartsWith("error: "));
    EXPECT_THAT(result.err, HasSubstr(what));
  };
  expect_error({"voice", "--model", "mini", "--in", path("none.wav")}, "none.wav");
  expect_error({"voice", "--model", "mini", "--in", folder_.write("text.wav", "no sound")}, "text.wav");
  expect_error({"voice", "--model", "mini", "--in", question, "--heard-grammar", "none.gram"}, "none.gram");
  expect_error({"voice", "--model", "mini", "--in", question, "--voice", "klingonish"}, "klingonish");
  expect_error({"voice", "--model", "mini", "--in", question, "--model", "no-such-model"}, "no-such-model");
  expect_error({"voice", "--model", "mini", "--in", question, "--temp", "0", "--out", "/no-such-folder/a.wav"},
               "/no-such-folder/a.wav");
  expect_error({"voice", "--model", "mini", "--in", Recording().pause(1).save(path("silence.wav"))},
               "nothing was understood");
  expect_error({"voice", "--model", "mini", "--mic", "--device", "no-such-device"}, "no-such-device");
  EXPECT_EQ(run({"voice"}).code, 2);
  EXPECT_EQ(run({"voice", "--mic", "--in", question}).code, 2);
  EXPECT_EQ(run({"voice", "--model", "mini", "--in", question, "--rate", "10"}).code, 2);
}

}  // namespace
}  // namespace qwen35::test
