// Wrong usage, exit codes, help and what happens when the output cannot be written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/process.h"

namespace qwen35::test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

TEST(Usage, AloneItPrintsTheCommands) {
  const Result result = run({});
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.err, IsEmpty());
  for (const char* command : {"chat", "generate", "voice", "tokenize", "detokenize", "render", "eval", "perplexity",
                              "bench", "info", "convert", "synth", "pull", "list", "remove"}) {
    EXPECT_THAT(result.out, HasSubstr(std::string("\n  ") + command + " ")) << command;
  }
}

TEST(Usage, VersionIsOneLine) {
  const Result result = run({"--version"});
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.out, testing::MatchesRegex("qwen35 [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

class EveryCommand : public testing::TestWithParam<const char*> {};

TEST_P(EveryCommand, HelpHasAnExample) {
  const Result result = run({GetParam(), "--help"});
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.err, IsEmpty());
  EXPECT_THAT(result.out, HasSubstr("Usage: qwen35 " + std::string(GetParam())));
  const std::size_t example = result.out.find("\nExample");
  ASSERT_NE(example, std::string::npos);
  EXPECT_THAT(result.out.substr(example), HasSubstr("qwen35 " + std::string(GetParam())));
}

TEST_P(EveryCommand, AnUnknownOptionIsWrongUsage) {
  const Result result = run({GetParam(), "--no-such-option"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.out, IsEmpty());
  EXPECT_THAT(result.err, StartsWith("error: "));
  EXPECT_THAT(result.err, HasSubstr("qwen35 " + std::string(GetParam()) + " --help"));
}

INSTANTIATE_TEST_SUITE_P(Usage, EveryCommand,
                         testing::Values("chat", "generate", "tokenize", "detokenize", "render", "eval", "perplexity",
                                         "bench", "info", "convert", "synth", "pull", "list", "remove"),
                         [](const auto& test) { return std::string(test.param); });

TEST(Usage, AnUnknownCommandIsNamed) {
  const Result result = run({"chatter"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("chatter"));
}

using Arguments = std::vector<std::string>;

class WrongUsage : public testing::TestWithParam<Arguments> {};

TEST_P(WrongUsage, ExitsWithTwoAndSaysWhatIsWrong) {
  const Result result = run(GetParam());
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.out, IsEmpty());
  EXPECT_THAT(result.err, HasSubstr(GetParam().back().empty() ? "--" : GetParam().back()));
}

INSTANTIATE_TEST_SUITE_P(
    Usage, WrongUsage,
    testing::Values(
        Arguments{"chat", "--temp", "nan"}, Arguments{"chat", "--temp", "inf"}, Arguments{"chat", "--temp", "-0.1"},
        Arguments{"chat", "--temp", "warm"}, Arguments{"chat", "--top-k", "-1"},
        Arguments{"chat", "--top-k", "2147483648"}, Arguments{"chat", "--top-p", "0"},
        Arguments{"chat", "--top-p", "1.01"}, Arguments{"chat", "--max-tokens", "0"},
        Arguments{"chat", "--max-tokens", "1e99"}, Arguments{"chat", "--repetition-penalty", "0"},
        Arguments{"chat", "--seed", "-1"}, Arguments{"chat", "--seed", "18446744073709551616"},
        Arguments{"chat", "--threads", "1.5"}, Arguments{"chat", "--min-p", "1"}, Arguments{"chat", "--min-p", "nan"},
        Arguments{"chat", "--presence-penalty", "2.1"}, Arguments{"chat", "--frequency-penalty", "-3"},
        Arguments{"chat", "--no-repeat-ngram", "1"}, Arguments{"chat", "--no-repeat-ngram", "257"},
        Arguments{"chat", "--logit-bias", "7"}, Arguments{"chat", "--logit-bias", "x=1"},
        Arguments{"chat", "--logit-bias", "7=100.5"}, Arguments{"chat", "--logit-bias", "7=nan"},
        Arguments{"chat", "--context-policy", "shift"}, Arguments{"chat", "--history", "none"},
        Arguments{"chat", "--session-memory", "-1"}, Arguments{"chat", "--session-memory", "18446744073709551615"},
        Arguments{"generate", "--prompt", "x", "--json", "--logprobs", "21"}, Arguments{"chat", "--threads", "-2"},
        Arguments{"chat", "--backend", "gpu"}, Arguments{"eval", "--model", "m", "--ids", "1", "--top", "-3"},
        Arguments{"eval", "--model", "m", "--ids", "1", "--greedy", "1e30"},
        Arguments{"synth", "--config", "c", "--out", "o", "--seed", "-1"},
        Arguments{"perplexity", "--model", "m", "file", "--context", "1"}));

TEST(Usage, WhatIsRequiredIsAskedFor) {
  EXPECT_EQ(run({"eval", "--ids", "1"}).code, 2);
  EXPECT_EQ(run({"eval", "--model", "m"}).code, 2);
  EXPECT_EQ(run({"perplexity", "--model", "m"}).code, 2);
  EXPECT_EQ(run({"generate"}).code, 2);
  EXPECT_EQ(run({"generate", "--prompt", "a", "--messages", "b"}).code, 2);
  EXPECT_EQ(run({"generate", "--prompt", "a", "--json", "--stream"}).code, 2);
  EXPECT_EQ(run({"generate", "--jsonl", "--stream"}).code, 2);
}

TEST(Usage, WhatExcludesEachOtherIsNamed) {
  const auto error = [](const Arguments& arguments) {
    const Result result = run(arguments);
    EXPECT_EQ(result.code, 2);
    EXPECT_THAT(result.out, IsEmpty());
    return result.err;
  };
  EXPECT_THAT(error({"chat", "--json-object", "--grammar", "g"}),
              testing::AllOf(HasSubstr("--json-object"), HasSubstr("--grammar")));
  EXPECT_THAT(error({"chat", "--json-schema", "{}", "--json-object"}),
              testing::AllOf(HasSubstr("--json-object"), HasSubstr("--json-schema")));
  EXPECT_THAT(error({"chat", "--json-schema", "{}", "--grammar", "g"}),
              testing::AllOf(HasSubstr("--grammar"), HasSubstr("--json-schema")));
  EXPECT_THAT(error({"generate", "--prompt", "x", "--logprobs", "1"}), HasSubstr("--json"));
  EXPECT_THAT(error({"bench", "--model", "m", "--conversation", "--prompt", "5"}),
              testing::AllOf(HasSubstr("--conversation"), HasSubstr("--prompt")));
  EXPECT_THAT(error({"bench", "--model", "m", "--cancels", "5"}), HasSubstr("--conversation"));
}

TEST(Usage, AMissingModelIsNamed) {
  for (const Arguments& arguments :
       {Arguments{"chat"}, {"generate", "--prompt", "x"}, {"eval", "--ids", "1"}, {"bench"}, {"info"}, {"tokenize"}}) {
    Arguments all = arguments;
    all.insert(all.end(), {"--model", "no-such-model"});
    const Result result = run(all, "x");
    EXPECT_EQ(result.code, 1) << arguments[0];
    EXPECT_THAT(result.out, IsEmpty()) << arguments[0];
    EXPECT_THAT(result.err, StartsWith("error: ")) << arguments[0];
    EXPECT_THAT(result.err, HasSubstr("no-such-model")) << arguments[0];
  }
}

TEST(Usage, AFullDiskIsReported) {
  for (const Arguments& arguments : {Arguments{}, {"--version"}, {"chat", "--help"}}) {
    const Result result = run_to("/dev/full", arguments);
    EXPECT_EQ(result.code, 1);
    EXPECT_THAT(result.err, HasSubstr("cannot write to standard output"));
  }
}

}  // namespace
}  // namespace qwen35::test
