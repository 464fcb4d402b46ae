// tokenize, detokenize, render, info, convert and synth as a user meets them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/models.h"
#include "cli/process.h"

namespace qwen35::test {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;

class Commands : public testing::Test {
 protected:
  void SetUp() override {
    const auto tiny = tiny_model();
    if (!tiny) GTEST_SKIP() << "the reference model tiny is not here";
    tiny_ = tiny->string();
    model_ = make_talking_model(folder_.path(), *tiny).string();
  }

  static std::string output(const std::vector<std::string>& arguments, std::string_view input = {}) {
    const Result result = run(arguments, input);
    EXPECT_EQ(result.code, 0) << arguments[0] << ": " << result.err;
    return result.out;
  }

  [[nodiscard]] std::string inside(const std::string& name) const { return (folder_.path() / name).string(); }

  TemporaryFolder folder_;
  std::string tiny_;
  std::string model_;
};

TEST_F(Commands, TokenizeAndBack) {
  EXPECT_EQ(output({"tokenize", "--model", model_}, "Hi\n"), "72 105 10\n");
  EXPECT_EQ(output({"tokenize", "--model", model_, "--json"}, "Hi"), "[72, 105]\n");
  EXPECT_EQ(output({"tokenize", "--model", model_, "--special"}, "<|im_end|>"), "258\n");
  EXPECT_EQ(output({"tokenize", "--model", model_, "--jsonl"}, "\"Hi\"\n\"\"\n"), "[72, 105]\n[]\n");
  EXPECT_EQ(output({"detokenize", "--model", model_}, "72, 105 10"), "Hi\n");
  EXPECT_EQ(output({"detokenize", "--model", model_, "--skip-special"}, "[72, 258, 105]"), "Hi");
  EXPECT_EQ(output({"detokenize", "--model", model_, "--jsonl"}, "[72, 105]\n"), "\"Hi\"\n");
  const std::string text = "caf\xC3\xA9 \xE4\xBD\xA0\xE5\xA5\xBD <|im_start|>";
  EXPECT_EQ(output({"detokenize", "--model", model_}, output({"tokenize", "--model", model_}, text)), text);
}

TEST_F(Commands, DetokenizeRefusesWhatIsNoId) {
  for (const char* ids : {"x", "-1", "99999", "4294967296", "[1.5]"}) {
    const Result result = run({"detokenize", "--model", model_}, ids);
    EXPECT_EQ(result.code, 1) << ids;
    EXPECT_THAT(result.err, testing::StartsWith("error: ")) << ids;
  }
}

TEST_F(Commands, RenderPrintsThePrompt) {
  EXPECT_EQ(output({"render"},
                   R"({"messages": [{"role": "user", "content": "Hi"}], "add_generation_prompt": true,
                       "enable_thinking": true})"),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n");
  const Result result = run({"render"}, "{\"messages\": []}");
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.out, IsEmpty());
}

TEST_F(Commands, InfoTellsTheSizes) {
  const Json info = Json::parse(output({"info", "--model", tiny_, "--json"}));
  EXPECT_EQ(info["vocab_size"], 512);
  EXPECT_EQ(info["hidden_size"], 64);
  EXPECT_EQ(info["num_layers"], 4);
  EXPECT_EQ(info["bits_per_weight"], 16.0);
  EXPECT_GT(info["bytes_per_token"].get<std::size_t>(), 2U * 512 * 64);
  EXPECT_THAT(output({"info", "--model", tiny_}), HasSubstr("vocabulary 512"));
}

TEST_F(Commands, SynthDrawsTheReferenceWeights) {
  output({"synth", "--config", tiny_ + "/config.json", "--seed", "1", "--out", inside("drawn")});
  const std::vector<std::string> eval = {"--ids", "143,7,12", "--top", "512", "--json"};
  const auto logits = [&](const std::string& model) {
    std::vector<std::string> arguments = {"eval", "--model", model};
    arguments.insert(arguments.end(), eval.begin(), eval.end());
    return Json::parse(output(arguments));
  };
  EXPECT_EQ(logits(inside("drawn")), logits(tiny_));
}

TEST_F(Commands, ConvertQuantisesAndRefusesToOverwrite) {
  const std::string target = inside("quantised");
  output({"convert", model_, target, "--bits", "8", "--group", "32"});
  const Json info = Json::parse(output({"info", "--model", target, "--json"}));
  EXPECT_EQ(info["bits_per_weight"], 9.0);  // 8, and two bf16 numbers for every 32
  EXPECT_EQ(output({"tokenize", "--model", target}, "Hi"), "72 105\n");
  const Json exact = Json::parse(output({"eval", "--model", model_, "--ids", "143", "--json"}));
  const Json close = Json::parse(output({"eval", "--model", target, "--ids", "143", "--json"}));
  EXPECT_NEAR(close["logsumexp"].get<double>(), exact["logsumexp"].get<double>(), 0.1);
  EXPECT_NE(close["logsumexp"], exact["logsumexp"]);

  const Result again = run({"convert", model_, target, "--bits", "4"});
  EXPECT_EQ(again.code, 1);
  EXPECT_THAT(again.err, HasSubstr("quantised"));
  EXPECT_EQ(Json::parse(output({"info", "--model", target, "--json"})), info);
}

TEST_F(Commands, AnInterruptedSynthLeavesNothing) {
  // Large enough (about 1.2 GB) to be still at it when the interrupt comes.
  Json config = Json::parse(std::ifstream(tiny_ + "/config.json"));
  config["vocab_size"] = 300000;
  config["hidden_size"] = 2048;
  const std::string file = folder_.write("large.json", config.dump());
  Process synth({"synth", "--config", file, "--out", inside("large")});
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  synth.interrupt();
  EXPECT_EQ(synth.wait(), 130);
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
    EXPECT_THAT(entry.path().filename().string(), testing::AnyOf("large.json", "talking"));
  }
}

}  // namespace
}  // namespace qwen35::test
