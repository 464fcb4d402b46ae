#include "text/tool_calls.h"

#include <gtest/gtest.h>

#include <random>

#include "text/chat_template.h"
#include "text/utf8.h"

namespace qwen35 {
namespace {

using Json = nlohmann::ordered_json;

const Json& tools() {
  static const Json value = parse_json(R"([{"type": "function", "function": {"name": "f", "parameters": {"properties": {
      "i": {"type": "integer"}, "n": {"type": "number"}, "b": {"type": "boolean"}, "o": {"type": "object"},
      "a": {"type": "array"}, "s": {"type": "string"}, "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
      "either": {"type": ["integer", "string"]}, "list": {"type": ["integer", "null"]}, "any": {}}}}},
      {"name": "bare", "parameters": {"properties": {"i": {"type": "integer"}}}}])",
                                       "tools");
  return value;
}

std::string call(std::string_view name, std::initializer_list<std::pair<std::string, std::string>> parameters) {
  std::string text = "<tool_call>\n<function=" + std::string(name) + ">\n";
  for (const auto& [key, value] : parameters) text += "<parameter=" + key + ">\n" + value + "\n</parameter>\n";
  return text + "</function>\n</tool_call>";
}

std::string argument(const std::string& key, const std::string& value) {
  const ParsedAnswer parsed = parse_tool_calls(call("f", {{key, value}}), tools());
  if (parsed.tool_calls.size() != 1) return "no call";
  const std::string& text = parsed.tool_calls[0].arguments;
  const std::string head = "{\"" + key + "\": ";
  return text.starts_with(head) ? text.substr(head.size(), text.size() - head.size() - 1) : text;
}

TEST(ToolCalls, ProseAndCallsAreTakenApart) {
  const ParsedAnswer parsed =
      parse_tool_calls("Let me see.\n\n" + call("f", {{"s", "x"}}) + "\n" + call("g", {}), tools());
  EXPECT_EQ(parsed.text, "Let me see.");
  EXPECT_EQ(parsed.tool_calls, (std::vector<ToolCall>{{"f", R"({"s": "x"})"}, {"g", "{}"}}));
  EXPECT_FALSE(parsed.truncated);
  EXPECT_EQ(parse_tool_calls("plain \n", nullptr).text, "plain");
  EXPECT_TRUE(parse_tool_calls("", nullptr).tool_calls.empty());
}

TEST(ToolCalls, ValuesTakeTheTypeOfTheirSchema) {
  EXPECT_EQ(argument("i", "5"), "5");
  EXPECT_EQ(argument("i", "-12345678901234567890123"), "-12345678901234567890123");
  EXPECT_EQ(argument("i", "5.5"), "\"5.5\"");
  EXPECT_EQ(argument("i", "five"), "\"five\"");
  EXPECT_EQ(argument("n", "5"), "5");
  EXPECT_EQ(argument("n", " 5.5 "), "5.5");
  EXPECT_EQ(argument("b", "true"), "true");
  EXPECT_EQ(argument("b", "False"), "false");
  EXPECT_EQ(argument("b", "1"), "\"1\"");
  EXPECT_EQ(argument("o", "{\"x\":\n[1, {}]}"), "{\"x\": [1, {}]}");
  EXPECT_EQ(argument("o", "[1]"), "\"[1]\"");
  EXPECT_EQ(argument("a", "[1, \"b\"]"), "[1, \"b\"]");
  EXPECT_EQ(argument("s", "5"), "\"5\"");
  EXPECT_EQ(argument("s", "true"), "\"true\"");
  EXPECT_EQ(argument("maybe", "3"), "3");
  EXPECT_EQ(argument("maybe", "None"), "null");
  EXPECT_EQ(argument("list", "null"), "null");
  EXPECT_EQ(argument("either", "3"), "\"3\"");
  EXPECT_EQ(argument("any", "3"), "\"3\"");
  EXPECT_EQ(argument("unknown", "3"), "\"3\"");
  EXPECT_EQ(argument("o", std::string(100'000, '[')), "\"" + std::string(100'000, '[') + "\"");
  EXPECT_EQ(parse_tool_calls(call("bare", {{"i", "3"}}), tools()).tool_calls[0].arguments, R"({"i": 3})");
  EXPECT_EQ(parse_tool_calls(call("f", {{"i", "3"}}), nullptr).tool_calls[0].arguments, R"({"i": "3"})");
}

TEST(ToolCalls, OneLineEndOnEitherSideBelongsToTheMarkup) {
  EXPECT_EQ(argument("s", ""), R"("")");
  EXPECT_EQ(argument("s", "\nx\n"), R"("\nx\n")");
  EXPECT_EQ(argument("s", "a\nb"), R"("a\nb")");
  EXPECT_EQ(
      parse_tool_calls("<tool_call><function=f><parameter=s>x</parameter></function></tool_call>", tools()).tool_calls,
      (std::vector<ToolCall>{{"f", R"({"s": "x"})"}}));
}

TEST(ToolCalls, ValuesMayHoldMarkup) {
  EXPECT_EQ(argument("s", "</tool_call>"), R"("</tool_call>")");
  EXPECT_EQ(argument("s", "<parameter=s>\nx"), R"("<parameter=s>\nx")");
  EXPECT_EQ(argument("s", "a </parameter> b"), R"("a </parameter> b")");
  EXPECT_EQ(argument("s", "<tool_call>\n<function=g>"), R"("<tool_call>\n<function=g>")");
}

TEST(ToolCalls, ARepeatedParameterKeepsTheLastValue) {
  EXPECT_EQ(parse_tool_calls(call("f", {{"s", "1"}, {"i", "2"}, {"s", "3"}}), tools()).tool_calls[0].arguments,
            R"({"s": "3", "i": 2})");
}

TEST(ToolCalls, ForgottenEndsAreForgiven) {
  const ToolCall expected{"f", R"({"s": "x"})"};
  const std::string parameter = "<parameter=s>\nx\n</parameter>\n";
  for (const std::string& text : {"<tool_call>\n<function=f>\n" + parameter + "</function>",
                                  "<tool_call>\n<function=f>\n" + parameter + "</tool_call>",
                                  "<tool_call>\n<function=f>\n" + parameter + "</function>\n\n"}) {
    const ParsedAnswer parsed = parse_tool_calls(text, tools());
    EXPECT_EQ(parsed.tool_calls, std::vector<ToolCall>{expected}) << text;
    EXPECT_EQ(parsed.text, "");
    EXPECT_FALSE(parsed.truncated);
  }
  EXPECT_EQ(parse_tool_calls("<tool_call><function=f></function><function=g></function></tool_call>", tools())
                .tool_calls.size(),
            2U);
}

TEST(ToolCalls, EveryTruncationIsToldOrShown) {
  const std::string whole = "Yes. " + call("f", {{"s", "a"}, {"i", "1"}});
  const std::size_t complete = whole.find("</function>") + 11;
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    const ParsedAnswer parsed = parse_tool_calls(whole.substr(0, size), tools());
    const bool begun = size >= whole.find("<tool_call>") + 11;
    EXPECT_EQ(parsed.tool_calls.size(), size >= complete ? 1U : 0U) << size;
    EXPECT_EQ(parsed.truncated, begun && size < complete) << size;
    if (begun && size < complete) {
      EXPECT_EQ(parsed.text, "Yes.") << size;
    }
  }
}

TEST(ToolCalls, WhatIsNoCallIsShownAsWritten) {
  for (const std::string text :
       {"<tool_call>\n{\"name\": \"f\"}\n</tool_call>", "<tool_call></tool_call>",
        "<tool_call>\n<function=>\n</function>\n</tool_call>", "<tool_call>\n<function=f\n>\n</tool_call>",
        "<tool_call>\n<function=f>\nwords\n</function>\n</tool_call>", "see <tool_call> in the manual"}) {
    const ParsedAnswer parsed = parse_tool_calls(text, tools());
    EXPECT_EQ(parsed.text, text);
    EXPECT_TRUE(parsed.tool_calls.empty());
    EXPECT_FALSE(parsed.truncated) << text;
  }
  const ParsedAnswer mixed = parse_tool_calls("<tool_call>oops</tool_call>\n" + call("f", {}), tools());
  EXPECT_EQ(mixed.text, "<tool_call>oops</tool_call>");
  EXPECT_EQ(mixed.tool_calls.size(), 1U);
}

/// What the template writes for calls is read back as these calls.
TEST(ToolCalls, TheTemplatesOwnTextIsReadBack) {
  std::mt19937 random(4);
  const std::vector<std::string> values = {
      "x",          "",        "\n",           " a ",       "</parameter>", "</tool_call>", "\u4F60\u597D",
      "{\"a\": 1}", "<think>", "two\n\nlines", "<|im_end|>"};
  for (int round = 0; round < 300; ++round) {
    Json calls = Json::array();
    for (std::size_t k = 1 + random() % 3; k > 0; --k) {
      Json arguments = Json::object();
      arguments["s"] = values[random() % values.size()];
      if (random() % 2 != 0) arguments["i"] = static_cast<int>(random() % 1000) - 500;
      if (random() % 2 != 0) arguments["b"] = random() % 2 != 0;
      if (random() % 2 != 0) arguments["a"] = {1, nullptr, {{"k", "v"}}, 2.5};
      if (random() % 2 != 0) arguments["maybe"] = nullptr;
      calls.push_back({{"name", "f"}, {"arguments", arguments}});
    }
    const Json messages = Json::array(
        {{{"role", "user"}, {"content", "q"}}, {{"role", "assistant"}, {"content", "Well."}, {"tool_calls", calls}}});
    std::string text = render_chat(messages, nullptr, {}, 1).text;
    text = text.substr(text.find("Well."));
    text = text.substr(0, text.rfind("<|im_end|>"));
    const ParsedAnswer parsed = parse_tool_calls(text, tools());
    EXPECT_EQ(parsed.text, "Well.");
    ASSERT_EQ(parsed.tool_calls.size(), calls.size()) << text;
    for (std::size_t k = 0; k < calls.size(); ++k) {
      EXPECT_EQ(parse_json(parsed.tool_calls[k].arguments, "arguments"), calls[k]["arguments"]) << text;
    }
  }
}

TEST(ToolCalls, NoAnswerCostsQuadraticTime) {
  for (const std::string piece : {"<tool_call>", "<tool_call><function=f><parameter=s></parameter>x", "</parameter>",
                                  "<tool_call>x</tool_call>", "<tool_call><function=f></function>"}) {
    std::string text;
    while (text.size() < 1'000'000) text += piece;
    const ParsedAnswer parsed = parse_tool_calls(text, tools());
    EXPECT_LE(parsed.text.size(), text.size());
  }
}

TEST(ToolCalls, IllFormedBytesBecomeReplacementCharacters) {
  EXPECT_EQ(argument("s", "\xFF"), "\"\uFFFD\"");
  EXPECT_EQ(parse_tool_calls("\xE2\x82", nullptr).text, "\uFFFD");
}

}  // namespace
}  // namespace qwen35
