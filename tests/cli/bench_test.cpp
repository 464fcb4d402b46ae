// bench on the reference model `tiny`, and the parts it measures with. No test asserts a time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>
#include <tuple>
#include <utility>

#include "cli/models.h"
#include "cli/process.h"

namespace qwen35::test {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class Bench : public testing::Test {
 protected:
  void SetUp() override {
    const auto folder = tiny_model();
    if (!folder) GTEST_SKIP() << "the reference model tiny is not here";
    model_ = folder->string();
  }

  [[nodiscard]] std::vector<std::string> command(const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {"bench", "--model", model_, "--reps", "2", "--gen", "3", "--threads", "2"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  [[nodiscard]] Json bench(std::vector<std::string> more) const {
    more.emplace_back("--json");
    const Result result = run(command(more));
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_THAT(result.err, IsEmpty());
    return Json::parse(result.out);
  }

  static void expect_summary(const Json& entry, const char* median) {
    EXPECT_GT(entry["min"], 0) << entry;
    EXPECT_LE(entry["min"], entry[median]) << entry;
    EXPECT_LE(entry[median], entry["max"]) << entry;
  }

  std::string model_;
};

TEST_F(Bench, JsonHoldsEveryMeasurement) {
  const Json json = bench({"--prompt", "5,9", "--depth", "0,7,4", "--accuracy", "6"});
  ASSERT_EQ(json["prefill"].size(), 2U);
  EXPECT_EQ(json["prefill"][0]["tokens"], 5);
  EXPECT_EQ(json["prefill"][1]["tokens"], 9);
  for (const Json& entry : json["prefill"]) expect_summary(entry, "tokens_per_second");
  ASSERT_EQ(json["decode"].size(), 3U);
  EXPECT_EQ(json["decode"][0]["depth"], 0);
  EXPECT_EQ(json["decode"][1]["depth"], 7);
  EXPECT_EQ(json["decode"][2]["depth"], 4);
  for (const Json& entry : json["decode"]) expect_summary(entry, "tokens_per_second");
  EXPECT_EQ(json["sampling"], json["backend"].get<std::string>().starts_with("cuda") ? "device" : "none");
  EXPECT_EQ(json["first_token"]["tokens"], 20);
  expect_summary(json["first_token"], "ms");
  expect_summary(json["bandwidth"], "measured");
  const Json& state = json["state"];
  EXPECT_EQ(state["depth"], 4);  // the last one
  for (const char* what : {"decode", "snapshot", "decode_after_snapshot", "restore", "decode_after_restore"}) {
    SCOPED_TRACE(what);
    EXPECT_LE(state[what]["min"], state[what]["ms"]);
    EXPECT_LE(state[what]["ms"], state[what]["max"]);
    EXPECT_GE(state[what]["min"], 0);
  }
  ASSERT_EQ(state["verify"].size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(state["verify"][i]["tokens"], std::size_t{2} << i);
    EXPECT_GT(state["verify"][i]["min"], 0);
  }
  EXPECT_GT(json["load_ms"], 0);
  EXPECT_GT(json["ttft_ms"], json["load_ms"]);
  EXPECT_TRUE(json["load_cold_ms"].is_null() || json["load_cold_ms"] > 0);  // not every file system lets go of pages
  EXPECT_GT(json["peak_rss"], json["weight_bytes"]);
  EXPECT_EQ(json["threads"], 2);
  EXPECT_EQ(json["repetitions"], 2);
  EXPECT_EQ(json["accuracy"]["positions"], 6);
  EXPECT_GT(json["accuracy"]["worst_cosine"], 0.999);
  EXPECT_LE(json["accuracy"]["worst_cosine"], json["accuracy"]["mean_cosine"]);
}

TEST_F(Bench, WeightBytesAreThoseOfInfo) {
  const Json json = bench({"--prompt", "2", "--depth", "0", "--rates-only"});
  const Json info = Json::parse(run({"info", "--model", model_, "--json"}).out);
  EXPECT_EQ(json["weight_bytes"], info["bytes_per_token"]);
  const double reached =
      json["weight_bytes"].get<double>() * json["decode"][0]["tokens_per_second"].get<double>() / 1e9;
  EXPECT_NEAR(json["bandwidth"]["reached"].get<double>(), reached, 0.006);
}

TEST_F(Bench, RatesOnlyLeavesTheRestOut) {
  const Json json = bench({"--prompt", "2", "--depth", "0", "--rates-only"});
  for (const char* name : {"load_ms", "load_cold_ms", "ttft_ms", "peak_rss", "accuracy"}) {
    EXPECT_TRUE(json.at(name).is_null()) << name;
  }
  EXPECT_EQ(json["prefill"].size(), 1U);
}

TEST_F(Bench, ATokenizerIsPartOfTheLoad) {
  const TemporaryFolder folder;
  const std::string talking = make_talking_model(folder.path(), model_).string();
  EXPECT_EQ(bench({"--prompt", "2", "--depth", "0", "--accuracy", "0"})["tokenizer"], false);
  const Json json = bench({"--prompt", "2", "--depth", "0", "--accuracy", "0", "--model", talking});
  EXPECT_EQ(json["tokenizer"], true);
  EXPECT_TRUE(json["accuracy"].is_null());
  std::ignore = folder.write("talking/tokenizer.json", "{");
  const Result broken = run(command({"--model", talking}));
  EXPECT_EQ(broken.code, 1);
  EXPECT_THAT(broken.err, HasSubstr("tokenizer.json"));
}

TEST_F(Bench, TheReferenceBackendIsMeasuredToo) {
  const Json json = bench({"--backend", "reference", "--prompt", "3", "--depth", "2", "--accuracy", "4"});
  EXPECT_THAT(json["backend"].get<std::string>(), HasSubstr("reference"));
  EXPECT_GE(json["accuracy"]["worst_cosine"], 0.9999999);
}

TEST_F(Bench, TextIsATable) {
  const Result result = run(command({"--prompt", "5,9", "--depth", "0,7", "--accuracy", "4"}));
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, IsEmpty());
  for (const char* row : {"\nprefill 5 ", "\nprefill 9 ", "\ndecode 3 at depth 0 ", "\ndecode 3 at depth 7 ",
                          "\nmemory read test ", "\nload, files in the page cache ", "\nload to first token",
                          "\npeak memory ", "\nagainst float32 ", "no tokenizer.json"}) {
    EXPECT_THAT(result.out, HasSubstr(row));
  }
}

TEST_F(Bench, MoreThanTheContextHoldsIsRefused) {
  struct Case {
    std::vector<std::string> options;
    const char* named;
  };
  for (const Case& one : {Case{{"--prompt", "4,262145"}, "--prompt 262145"},
                          Case{{"--depth", "0,262142"}, "--depth 262142 and --gen 3 take 262145 positions"},
                          Case{{"--gen", "262140", "--depth", "0"}, "--gen 262140"}}) {
    const Result result = run(command(one.options));
    EXPECT_EQ(result.code, 1);
    EXPECT_THAT(result.out, IsEmpty());
    EXPECT_THAT(result.err, StartsWith("error: "));
    EXPECT_THAT(result.err, HasSubstr(one.named));
    EXPECT_THAT(result.err, HasSubstr("holds 262144"));
  }
}

TEST_F(Bench, CtrlCEndsItWithoutAResult) {
  Process process({"bench", "--model", model_, "--reps", "1000", "--gen", "100000", "--prompt", "1", "--depth", "0"});
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  process.interrupt();
  EXPECT_EQ(process.wait(), 130);
}

TEST_F(Bench, AFullDiskIsReported) {
  const Result result = run_to("/dev/full", command({"--prompt", "1", "--depth", "0", "--rates-only"}));
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, HasSubstr("cannot write to standard output"));
}

class ConversationBench : public testing::Test {
 protected:
  void SetUp() override {
    if (!mini_model()) GTEST_SKIP() << "models/qwen35-mini is not in this tree";
  }

  [[nodiscard]] static std::vector<std::string> command(const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {
        "bench", "--conversation", "--model", mini_model()->string(), "--reps", "2", "--cancels", "2", "--gen",
        "24",    "--depth",        "40,300"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
};

TEST_F(ConversationBench, JsonHoldsEveryMeasurement) {
  const Result result = run(command({"--json"}));
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, IsEmpty());
  const Json json = Json::parse(result.out);
  ASSERT_EQ(json["first_token"].size(), 2U);
  EXPECT_EQ(json["first_token"][1]["depth"], 300);
  for (const Json& turn : json["first_token"]) {
    EXPECT_GT(turn["ms"], 0);
    // All of the history is reused, and the turn is the same whatever stands before it.
    EXPECT_NEAR(turn["history_tokens"].get<double>(), turn["depth"].get<double>(), 60);
    EXPECT_NEAR(turn["computed_tokens"].get<double>(), 33, 10);
    EXPECT_EQ(turn["computed_tokens"], json["first_token"][0]["computed_tokens"]);
  }
  EXPECT_GT(json["first_token_ratio"], 0);
  EXPECT_EQ(json["state"]["depth"], 300);
  EXPECT_TRUE(json["state"].contains("decode_after_restore"));
  const Json& lookup = json["lookup"];
  for (const char* kind : {"repeating", "ordinary"}) {
    EXPECT_EQ(lookup[kind]["tokens"], 24) << kind;
    EXPECT_GT(lookup[kind]["with"]["tokens_per_second"], 0) << kind;
    EXPECT_GT(lookup[kind]["without"]["tokens_per_second"], 0) << kind;
    EXPECT_LE(lookup[kind]["accepted"], lookup[kind]["drafted"]) << kind;
  }
  EXPECT_GT(lookup["repeating"]["accepted"], 10);
  EXPECT_LT(lookup["ordinary"]["accepted"], 10);
  for (const char* kind : {"prefill", "decode"}) EXPECT_LE(json["cancel"][kind]["count"], 2) << kind;
}

TEST_F(ConversationBench, TextIsATable) {
  const Result result = run(command({}));
  EXPECT_EQ(result.code, 0) << result.err;
  for (const char* row : {"\nfirst token, ", "one token at depth 300", "\ncancel in prefill", "\ncancel in decode",
                          "repeating, with lookup", "ordinary, without", "times as fast"}) {
    EXPECT_THAT(result.out, HasSubstr(row));
  }
}

TEST_F(ConversationBench, WhatItNeedsIsNamed) {
  const Result deep = run(command({"--depth", "40000"}));
  EXPECT_EQ(deep.code, 1);
  EXPECT_THAT(deep.err, HasSubstr("--depth"));
  if (const auto tiny = tiny_model()) {
    const Result mute = run({"bench", "--conversation", "--model", tiny->string()});
    EXPECT_EQ(mute.code, 1);
    EXPECT_THAT(mute.err, HasSubstr("tokenizer.json"));
  }
}

class BadList : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(BadList, IsWrongUsage) {
  const auto& [option, text] = GetParam();
  const Result result = run({"bench", "--model", "m", std::string(option) + "=" + text});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.out, IsEmpty());
  EXPECT_THAT(result.err, HasSubstr(option));
  EXPECT_THAT(result.err, HasSubstr(text));
}

INSTANTIATE_TEST_SUITE_P(Bench, BadList,
                         testing::Values(std::pair{"--prompt", "0"}, std::pair{"--prompt", "512,"},
                                         std::pair{"--prompt", ",512"}, std::pair{"--prompt", "1,,2"},
                                         std::pair{"--prompt", "1.5"}, std::pair{"--prompt", "1e3"},
                                         std::pair{"--prompt", "1 2"}, std::pair{"--prompt", "1000000001"},
                                         std::pair{"--prompt", "99999999999999999999"}, std::pair{"--depth", "-1"},
                                         std::pair{"--depth", "0,x"}, std::pair{"--depth", "0x10"},
                                         std::pair{"--gen", "0"}, std::pair{"--gen", "nan"}, std::pair{"--reps", "0"},
                                         std::pair{"--reps", "1001"}, std::pair{"--accuracy", "-1"},
                                         std::pair{"--accuracy", "1025"}));

TEST_F(Bench, AnOptionGivenTwiceCountsAsGivenLast) {
  const Json json = bench({"--prompt", "2", "--prompt", "3", "--depth", "0", "--rates-only"});
  ASSERT_EQ(json["prefill"].size(), 1U);
  EXPECT_EQ(json["prefill"][0]["tokens"], 3);
}

}  // namespace
}  // namespace qwen35::test
