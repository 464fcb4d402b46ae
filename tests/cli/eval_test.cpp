// eval and perplexity on the reference model `tiny`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/models.h"
#include "cli/process.h"

namespace qwen35::test {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;

std::string join(const Json& ids, const char* separator = ",") {
  std::string text;
  for (const Json& id : ids) text += (text.empty() ? "" : separator) + std::to_string(id.get<int>());
  return text;
}

class Eval : public testing::Test {
 protected:
  void SetUp() override {
    const auto folder = tiny_model();
    if (!folder) GTEST_SKIP() << "the reference model tiny is not here";
    model_ = folder->string();
    reference_ = Json::parse(std::ifstream(*folder / "reference.json"));
  }

  Json eval(std::vector<std::string> arguments, std::string_view input = {}) {
    arguments.insert(arguments.begin(), {"eval", "--model", model_, "--json"});
    const Result result = run(arguments, input);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_THAT(result.err, IsEmpty());
    return Json::parse(result.out);
  }

  std::string model_;
  Json reference_;
};

TEST_F(Eval, GreedyTokensEqualTheReference) {
  constexpr double kClearLead = 0.01;  // below it the arithmetic's error may decide
  for (const Json& reference : reference_["cases"]) {
    const Json& expected = reference["greedy"];
    const Json result =
        eval({"--ids", join(reference["input_ids"]), "--greedy", std::to_string(expected.size()), "--top", "2"});
    ASSERT_EQ(result["greedy"].size(), expected.size());
    for (std::size_t i = 0; i < expected.size() && reference["top2_gap"][i].get<double>() > kClearLead; ++i) {
      EXPECT_EQ(result["greedy"][i], expected[i]) << "token " << i;
    }
    EXPECT_NEAR(result["top"][0][1].get<double>() - result["top"][1][1].get<double>(),
                reference["top2_gap"][0].get<double>(), 4e-3);
  }
}

TEST_F(Eval, TopAndLogSumExpFollowFromTheLogits) {
  const Json result = eval({"--ids", "143,7,12", "--all", "--top", "5"});
  ASSERT_EQ(result["logits"].size(), 3U);
  const auto last = result["logits"][2].get<std::vector<double>>();
  ASSERT_EQ(last.size(), 512U);
  double sum = 0;
  for (const double logit : last) sum += std::exp(logit);
  EXPECT_NEAR(result["logsumexp"].get<double>(), std::log(sum), 1e-9);
  ASSERT_EQ(result["top"].size(), 5U);
  const double fifth = result["top"][4][1].get<double>();
  for (const Json& entry : result["top"]) {
    EXPECT_EQ(last[entry[0].get<std::size_t>()], entry[1].get<double>());
  }
  EXPECT_EQ(std::count_if(last.begin(), last.end(), [&](double logit) { return logit > fifth; }), 4);
  EXPECT_THAT(result["greedy"], IsEmpty());
}

TEST_F(Eval, PiecesOfThePromptGiveTheSameLogits) {
  const std::string ids = join(reference_["cases"].back()["input_ids"]);
  const Json whole = eval({"--ids", ids, "--all"});
  for (const char* chunk : {"1", "7"}) {
    const Json pieces = eval({"--ids", ids, "--all", "--chunk", chunk});
    ASSERT_EQ(pieces["logits"].size(), whole["logits"].size());
    for (std::size_t row = 0; row < whole["logits"].size(); ++row) {
      for (std::size_t i = 0; i < 512; ++i) {
        ASSERT_NEAR(pieces["logits"][row][i].get<double>(), whole["logits"][row][i].get<double>(), 1e-3)
            << "chunk " << chunk << ", position " << row << ", token " << i;
      }
    }
  }
}

TEST_F(Eval, ReadsIdsFromStandardInput) {
  const Json expected = eval({"--ids", "143,7,12", "--greedy", "3"});
  EXPECT_EQ(eval({"--ids", "-", "--greedy", "3"}, "143 7\n12\r\n"), expected);
  EXPECT_EQ(eval({"--ids", "-", "--greedy", "3"}, " 143, 7,\t12"), expected);
}

TEST_F(Eval, BackendsAgree) {
  const Json cpu = eval({"--ids", "143,7,12,500", "--backend", "cpu", "--top", "512"});
  const Json reference = eval({"--ids", "143,7,12,500", "--backend", "reference", "--top", "512"});
  EXPECT_NEAR(cpu["logsumexp"].get<double>(), reference["logsumexp"].get<double>(), 1e-3);
  EXPECT_EQ(cpu["top"].size(), 512U);
  EXPECT_EQ(cpu["top"][0][0], reference["top"][0][0]);
}

TEST_F(Eval, FastComputesAsChatDoes) {
  const Json exact = eval({"--ids", "143,7,12"});
  const Json fast = eval({"--ids", "143,7,12", "--fast"});
  EXPECT_NEAR(fast["logsumexp"].get<double>(), exact["logsumexp"].get<double>(), 0.1);
}

TEST_F(Eval, TextShowsTheSameNumbers) {
  const Result result = run({"eval", "--model", model_, "--ids", "143", "--greedy", "2", "--top", "1"});
  const Json json = eval({"--ids", "143", "--greedy", "2", "--top", "1"});
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.out, HasSubstr("position 0  logsumexp "));
  EXPECT_THAT(result.out, HasSubstr(" " + std::to_string(json["top"][0][0].get<int>()) + "  "));
  EXPECT_THAT(result.out, HasSubstr("greedy " + join(json["greedy"], " ") + "\n"));
}

TEST_F(Eval, BadIdsAreRefusedByName) {
  for (const char* ids : {"512", "-1", "1,x", "1,2,99999999999999999999", "1;2", "0x10", "1.5", ",", ""}) {
    const Result result = run({"eval", "--model", model_, std::string("--ids=") + ids});
    EXPECT_NE(result.code, 0) << ids;
    EXPECT_THAT(result.out, IsEmpty()) << ids;
    EXPECT_THAT(result.err, HasSubstr("--ids")) << ids;
  }
}

TEST_F(Eval, MoreThanTheContextHoldsIsRefused) {
  const Result result = run({"eval", "--model", model_, "--ids", "1", "--greedy", "262144"});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, HasSubstr("262144"));
}

TEST_F(Eval, AFullDiskIsReported) {
  const Result result = run_to("/dev/full", {"eval", "--model", model_, "--ids", "1", "--json", "--all"});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, HasSubstr("cannot write to standard output"));
}

class Perplexity : public Eval {
 protected:
  void SetUp() override {
    Eval::SetUp();
    if (IsSkipped()) return;
    model_ = make_talking_model(folder_.path(), model_).string();
  }

  TemporaryFolder folder_;
};

TEST_F(Perplexity, EqualsWhatTheLogitsSay) {
  const std::string text = "Hello";  // five bytes, five tokens: no merges in this tokenizer
  const std::string file = folder_.write("text", text);
  const Json all = eval({"--ids", "72,101,108,108,111", "--all"});
  const std::vector<std::size_t> tokens = {72, 101, 108, 108, 111};
  double nll = 0;
  for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
    const auto row = all["logits"][i].get<std::vector<double>>();
    double sum = 0;
    for (const double logit : row) sum += std::exp(logit);
    nll += std::log(sum) - row[tokens[i + 1]];
  }
  const Result result = run({"perplexity", "--model", model_, file, "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const Json json = Json::parse(result.out);
  EXPECT_EQ(json["tokens"], 5);
  EXPECT_EQ(json["scored_tokens"], 4);
  EXPECT_EQ(json["windows"], 1);
  EXPECT_NEAR(json["mean_nll"].get<double>(), nll / 4, 1e-5);
  EXPECT_NEAR(json["perplexity"].get<double>(), std::exp(nll / 4), 1e-2);
}

TEST_F(Perplexity, WindowsBeginAfresh) {
  const auto mean = [&](const std::string& text, const std::string& context) {
    const Result result =
        run({"perplexity", "--model", model_, folder_.write("text", text), "--json", "--context", context});
    EXPECT_EQ(result.code, 0) << result.err;
    return Json::parse(result.out);
  };
  const double first = mean("abcd", "100")["mean_nll"].get<double>();
  const double second = mean("wxyz", "100")["mean_nll"].get<double>();
  const Json both = mean("abcdwxyz", "4");
  EXPECT_EQ(both["windows"], 2);
  EXPECT_EQ(both["scored_tokens"], 6);
  EXPECT_NEAR(both["mean_nll"].get<double>(), (first + second) / 2, 1e-5);
  // A tail of one token has nothing to be predicted from.
  EXPECT_EQ(mean("abcdw", "4")["scored_tokens"], 3);
}

TEST_F(Perplexity, ControlTokensOnlyWhenAskedFor) {
  const std::string file = folder_.write("text", "a<|im_end|>b");
  const Result plain = run({"perplexity", "--model", model_, file, "--json"});
  const Result special = run({"perplexity", "--model", model_, file, "--json", "--special"});
  EXPECT_EQ(Json::parse(plain.out)["tokens"], 12);
  EXPECT_EQ(Json::parse(special.out)["tokens"], 3);
}

TEST_F(Perplexity, WhatCannotBeScoredIsRefused) {
  EXPECT_THAT(run({"perplexity", "--model", model_, folder_.write("one", "a")}).err, HasSubstr("at least 2"));
  EXPECT_THAT(run({"perplexity", "--model", model_, folder_.write("none", "")}).err, HasSubstr("at least 2"));
  EXPECT_THAT(run({"perplexity", "--model", model_, (folder_.path() / "absent").string()}).err, HasSubstr("absent"));
  EXPECT_THAT(run({"perplexity", "--model", model_, folder_.path().string()}).err, HasSubstr("is a folder"));
  const Result result = run({"perplexity", "--model", model_, "-"}, "from standard input");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("perplexity "));
}

}  // namespace
}  // namespace qwen35::test
