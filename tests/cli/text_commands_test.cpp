// tokenize, detokenize and render as processes.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/models.h"
#include "cli/process.h"

namespace qwen35::test {
namespace {

using nlohmann::json;

/// A folder with a tokenizer and nothing else: these commands need no weights.
class TextCommands : public testing::Test {
 protected:
  TextCommands() {
    std::filesystem::copy_file(std::filesystem::path(QWEN35_TEST_DATA) / "text" / "tiny_tokenizer.json",
                               folder_.path() / "tokenizer.json");
  }

  Result tokenize(std::vector<std::string> options, const std::string& input) const {
    options.insert(options.begin(), {"tokenize", "--model", folder_.path().string()});
    return run(options, input);
  }
  Result detokenize(std::vector<std::string> options, const std::string& input) const {
    options.insert(options.begin(), {"detokenize", "--model", folder_.path().string()});
    return run(options, input);
  }

  TemporaryFolder folder_;
};

TEST_F(TextCommands, TextSurvivesTheRoundTrip) {
  const std::string text = "What's the weather, caf\u00E9?\n\n \u4F60\u597D <|im_end|> \U0001F600\n";
  const Result ids = tokenize({}, text);
  EXPECT_EQ(ids.code, 0) << ids.err;
  EXPECT_EQ(ids.out.find_first_not_of("0123456789 \n"), std::string::npos);
  EXPECT_EQ(detokenize({}, ids.out).out, text);
  const Result array = tokenize({"--json"}, text);
  EXPECT_EQ(detokenize({}, array.out).out, text);
  EXPECT_EQ(detokenize({}, json::parse(array.out).dump(2)).out, text);
}

TEST_F(TextCommands, ControlTokensAreReadOnRequestOnly) {
  const json plain = json::parse(tokenize({"--json"}, "<|im_end|>").out);
  const json special = json::parse(tokenize({"--json", "--special"}, "<|im_end|>").out);
  EXPECT_GT(plain.size(), 1U);
  EXPECT_EQ(special.size(), 1U);
  EXPECT_EQ(detokenize({}, special.dump()).out, "<|im_end|>");
  EXPECT_EQ(detokenize({"--skip-special"}, special.dump()).out, "");
}

TEST_F(TextCommands, JsonLinesGoBothWays) {
  const std::string input = "\"a\\nb\"\n\"\"\n\"<think>\"\n\"\\u4f60\"\n";
  const Result ids = tokenize({"--jsonl", "--special"}, input);
  EXPECT_EQ(ids.code, 0) << ids.err;
  EXPECT_EQ(detokenize({"--jsonl"}, ids.out).out, "\"a\\nb\"\n\"\"\n\"<think>\"\n\"\u4F60\"\n");
  // A token that is half a character is no JSON string: it is shown as U+FFFD there.
  const json half = json::array({json::parse(tokenize({"--json"}, "\u00A7").out)[0]});
  EXPECT_EQ(detokenize({"--jsonl"}, half.dump() + "\n").out, "\"\uFFFD\"\n");
  EXPECT_EQ(detokenize({}, half.dump()).out, "\xC2");
}

TEST_F(TextCommands, EmptyInputGivesNothing) {
  EXPECT_EQ(tokenize({}, "").out, "\n");
  EXPECT_EQ(tokenize({"--json"}, "").out, "[]\n");
  EXPECT_EQ(tokenize({"--jsonl"}, "").out, "");
  EXPECT_EQ(detokenize({}, "").out, "");
}

TEST_F(TextCommands, BadInputIsRefusedWithItsPlace) {
  const auto refused = [](const Result& result, const std::string& message) {
    EXPECT_EQ(result.code, 1);
    EXPECT_EQ(result.err, "error: " + message + "\n");
  };
  refused(tokenize({"--jsonl"}, "\"a\"\n3\n"),
          "line 2 of standard input is a JSON number; with --jsonl each line is a JSON string");
  refused(detokenize({}, "1 two"), "standard input holds \"two\"; expected token ids, whole numbers from 0");
  refused(detokenize({}, "[1.5]"), "standard input holds 1.5; expected token ids, whole numbers from 0");
  refused(detokenize({}, "99999"), "token id 99999 is not in the vocabulary of 429 ids");
  refused(detokenize({}, "-1"), "token id -1 is not in the vocabulary of 429 ids");
  EXPECT_EQ(detokenize({}, "99999999999").code, 1);
  EXPECT_EQ(tokenize({"--jsonl", "--json"}, "").code, 2);
  EXPECT_EQ(run({"tokenize", "--model", folder_.path().string() + "/none"}, "x").code, 1);
}

TEST(RenderCommand, EveryTemplateCaseIsPrintedAsItIs) {
  const json cases =
      json::parse(std::ifstream(std::filesystem::path(QWEN35_TEST_DATA) / "text" / "template_cases.json"));
  for (std::size_t i = 0; i < cases.size(); i += cases.size() / 12) {
    const json& item = cases[i];
    // Through ordered text, since the order of keys in tools and arguments is part of the result.
    nlohmann::ordered_json request = {{"messages", item["messages"]}};
    for (const auto& [key, value] : item["options"].items()) request[key] = value;
    if (request.contains("tools") || request.dump().find("arguments") != std::string::npos) continue;
    const Result result = run({"render"}, request.dump());
    if (item.contains("error")) {
      EXPECT_EQ(result.code, 1);
      EXPECT_EQ(result.err, "error: " + item["error"].get<std::string>() + "\n");
    } else {
      EXPECT_EQ(result.code, 0) << result.err;
      EXPECT_EQ(result.out, item["text"].get<std::string>());
    }
  }
}

TEST(RenderCommand, ToolsKeepTheOrderOfTheirKeys) {
  const Result result = run({"render"}, R"({"messages": [{"role": "user", "content": "x"}, {"role": "assistant",
      "content": "", "tool_calls": [{"name": "f", "arguments": {"z": 1, "a": true}}]}],
      "tools": [{"type": "function", "name": "f", "a": 1.0}], "enable_thinking": true, "add_generation_prompt": true})");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.out.find("\n{\"type\": \"function\", \"name\": \"f\", \"a\": 1.0}\n</tools>"), std::string::npos);
  EXPECT_TRUE(
      result.out.ends_with("<tool_call>\n<function=f>\n<parameter=z>\n1\n</parameter>\n<parameter=a>\nTrue\n"
                           "</parameter>\n</function>\n</tool_call><|im_end|>\n<|im_start|>assistant\n<think>\n"));
}

TEST(RenderCommand, BadRequestsAreRefused) {
  EXPECT_EQ(run({"render"}, "[]").err,
            "error: standard input is a JSON array; expected an object such as {\"messages\": [...]}\n");
  EXPECT_EQ(run({"render"}, "{}").err, "error: No messages provided.\n");
  EXPECT_EQ(run({"render"}, R"({"messages": [{"role": "user", "content": "x"}], "enable_thinking": "yes"})").err,
            "error: enable_thinking is a JSON string; expected true or false\n");
  EXPECT_EQ(run({"render"}, std::string(100'000, '[')).code, 1);
  EXPECT_EQ(run({"render", "--nonsense"}, "").code, 2);
}

}  // namespace
}  // namespace qwen35::test
