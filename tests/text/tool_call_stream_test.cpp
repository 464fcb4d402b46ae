#include "text/tool_call_stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "text/chat_template.h"
#include "text/python_json.h"
#include "text/unicode.h"
#include "text/utf8.h"
#include "text/utf8_stream.h"

namespace qwen35 {
namespace {

using Json = nlohmann::ordered_json;
using Kind = ToolCallEvent::Kind;

const Json& tools() {
  static const Json value = parse_json(R"([{"type": "function", "function": {"name": "f", "parameters": {"properties": {
      "i": {"type": "integer"}, "o": {"type": "object"}, "a": {"type": "array"}, "s": {"type": "string"}}}}}])",
                                       "tools");
  return value;
}

/// Everything a stream gave, as parse_tool_calls() reports it.
struct Collector {
  ParsedAnswer parsed;
  std::string shown;  ///< text as it was given, not trimmed
  void add(const std::vector<ToolCallEvent>& events) {
    for (std::size_t i = 0; i < events.size(); ++i) {
      const ToolCallEvent& event = events[i];
      EXPECT_FALSE(parsed.truncated) << "nothing follows an unfinished call";
      if (event.kind == Kind::text) {
        EXPECT_FALSE(event.text.empty());
        EXPECT_TRUE(is_valid_utf8(event.text));
        if (i > 0) {
          EXPECT_NE(events[i - 1].kind, Kind::text);
        }
        shown += event.text;
      } else if (event.kind == Kind::call) {
        parsed.tool_calls.push_back(event.call);
      } else {
        parsed.truncated = true;
        parsed.unfinished = event.unfinished;
      }
    }
  }
  ParsedAnswer result() {
    parsed.text = strip_right(shown);
    return parsed;
  }
};

void expect_same(const ParsedAnswer& a, const ParsedAnswer& b, const std::string& answer) {
  EXPECT_EQ(a.text, b.text) << answer;
  EXPECT_EQ(a.tool_calls, b.tool_calls) << answer;
  EXPECT_EQ(a.truncated, b.truncated) << answer;
  EXPECT_EQ(a.unfinished, b.unfinished) << answer;
}

std::string call(const std::string& name, const std::vector<std::pair<std::string, std::string>>& parameters) {
  std::string text = "<tool_call>\n<function=" + name + ">\n";
  for (const auto& [key, value] : parameters) text += "<parameter=" + key + ">\n" + value + "\n</parameter>\n";
  return text + "</function>\n</tool_call>";
}

TEST(ToolCallStream, ACallComesWithTheLastByteOfItsFunction) {
  const std::string text = "Look: " + call("f", {{"i", "3"}, {"s", "x"}}) + "\n" + call("g", {}) + " Done.";
  const std::vector<std::size_t> whole = {text.find("</function>") + 11, text.rfind("</function>") + 11};
  ToolCallStream stream(tools());
  std::string shown;
  std::vector<ToolCall> calls;
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (const ToolCallEvent& event : stream.push({&text[i], 1})) {
      if (event.kind == Kind::text) shown += event.text;
      if (event.kind == Kind::call) {
        ASSERT_LT(calls.size(), whole.size());
        EXPECT_EQ(i + 1, whole[calls.size()]);
        calls.push_back(event.call);
      }
    }
    if (i == 5) {
      EXPECT_EQ(shown, "Look: ");  // text does not wait
    }
    if (i < whole[0]) {
      EXPECT_EQ(stream.in_call(), i >= text.find("<tool_call>") + 10) << i;
    }
  }
  EXPECT_TRUE(stream.finish().empty());
  EXPECT_EQ(shown, "Look: \n Done.");
  EXPECT_EQ(calls, (std::vector<ToolCall>{{"f", R"({"i": 3, "s": "x"})"}, {"g", "{}"}}));
}

TEST(ToolCallStream, AForgottenFunctionEndIsForgivenAtTheCallsEnd) {
  ToolCallStream stream(tools());
  EXPECT_TRUE(stream.push("<tool_call><function=f><parameter=s>x</parameter>").empty());
  EXPECT_TRUE(stream.push("</tool_call").empty());
  const auto events = stream.push(">");
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].call, (ToolCall{"f", R"({"s": "x"})"}));
}

TEST(ToolCallStream, AnUnfinishedCallIsReportedAsItStands) {
  const std::string whole = call("get_time", {{"s", "a"}, {"i", "1"}});
  const std::size_t complete = whole.find("</function>") + 11;
  const std::size_t named = whole.find(">\n<parameter") + 1;
  for (std::size_t size = 11; size < complete; ++size) {
    const ParsedAnswer parsed = parse_tool_calls("Yes. " + whole.substr(0, size), tools());
    EXPECT_TRUE(parsed.truncated) << size;
    EXPECT_EQ(parsed.unfinished.text, whole.substr(0, size));
    EXPECT_EQ(parsed.unfinished.name, size >= named ? "get_time" : "") << size;
  }
  const ParsedAnswer second =
      parse_tool_calls("<tool_call><function=f></function> <function=g><parameter=s>x", tools());
  EXPECT_EQ(second.tool_calls.size(), 1U);
  EXPECT_EQ(second.unfinished, (UnfinishedCall{"g", "<function=g><parameter=s>x"}));
  for (std::size_t size = complete; size <= whole.size(); ++size) {
    const ParsedAnswer parsed = parse_tool_calls(whole.substr(0, size), tools());
    EXPECT_FALSE(parsed.truncated) << size;
    EXPECT_EQ(parsed.text, "") << size;
  }
}

TEST(ToolCallStream, AGoodCallBehindABadOneIsFound) {
  const std::string good = call("f", {{"s", "x"}});
  for (const std::string bad : {"<tool_call>", "<tool_call> see\n", "<tool_call><function=\n",
                                "<tool_call>\n<function=g>\nwords", "<tool_call><function=g><parameter=>"}) {
    const ParsedAnswer parsed = parse_tool_calls(bad + good, tools());
    EXPECT_EQ(parsed.tool_calls, (std::vector<ToolCall>{{"f", R"({"s": "x"})"}})) << bad;
    EXPECT_EQ(parsed.text, strip_right(bad)) << bad;
    EXPECT_FALSE(parsed.truncated);
  }
}

/// Well-made and mutated markup, cut at random (inside characters too): the same as in one piece.
TEST(ToolCallStream, HoweverTheAnswerIsCutTheResultIsThatOfTheWhole) {
  std::mt19937 random(6);
  const std::vector<std::string> parts = {
      "<tool_call>",   "</tool_call>", "<function=f>", "<function=", "</function>", "<parameter=s>",
      "<parameter=o>", "</parameter>", "<parameter=",  "\n",         "\n",          " ",
      "words",         "中",           "\u3000",       "<",          ">",           "{\"a\": [1]}",
      "\xF0\x9F",      "</param"};
  std::size_t calls = 0;
  std::size_t unfinished = 0;
  std::size_t prose = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string answer;
    if (random() % 2 == 0) {
      for (std::size_t i = random() % 25; i > 0; --i) answer += parts[random() % parts.size()];
    } else {
      for (std::size_t i = random() % 3; i > 0; --i) {
        if (random() % 2 == 0) answer += "Text 中 ";
        std::vector<std::pair<std::string, std::string>> parameters;
        if (random() % 2 == 0) parameters.emplace_back("o", R"({"x": {"y": [1, {"z": "</parameter>"}]}})");
        if (random() % 2 == 0) parameters.emplace_back("s", parts[random() % parts.size()]);
        if (random() % 2 == 0) parameters.emplace_back("i", "-4");
        answer += call("f", parameters) + (random() % 2 == 0 ? "\n" : "");
      }
      for (std::size_t i = random() % 3; i > 0 && !answer.empty(); --i) {  // small damage
        const std::size_t at = random() % answer.size();
        switch (random() % 3) {
          case 0:
            answer.erase(at, 1 + random() % 12);
            break;
          case 1:
            answer.insert(at, parts[random() % parts.size()]);
            break;
          default:
            answer.resize(at);
        }
      }
    }
    const ParsedAnswer whole = parse_tool_calls(answer, tools());
    calls += whole.tool_calls.size();
    unfinished += whole.truncated ? 1 : 0;
    prose += whole.text.empty() ? 0 : 1;
    for (const std::size_t longest : {1U, 3U, 30U}) {
      ToolCallStream stream(tools());
      Utf8Stream utf8;
      Collector collector;
      for (std::size_t at = 0; at < answer.size();) {
        const std::size_t size = std::min<std::size_t>(answer.size() - at, 1 + random() % longest);
        collector.add(stream.push(utf8.push(std::string_view(answer).substr(at, size))));
        at += size;
      }
      collector.add(stream.push(utf8.finish()));
      collector.add(stream.finish());
      expect_same(collector.result(), whole, answer);
      if (testing::Test::HasFailure()) return;
    }
  }
  EXPECT_GT(calls, 5000U);
  EXPECT_GT(unfinished, 1000U);
  EXPECT_GT(prose, 5000U);
}

TEST(ToolCallStream, TrickledAnswersCostLinearTime) {
  for (const std::string piece :
       {" ", "<", "</parameter>", "</parameter> ", "x", "<tool_call><function=", "<function=f></function>",
        "<tool_call><function=f><parameter=s></parameter>x", "<tool_call><function=f><parameter=s>"}) {
    for (const std::string begin :
         {"", "<tool_call>", "<tool_call><function=f>", "<tool_call><function=f><parameter=s>",
          "<tool_call><function=f><parameter=s></parameter>"}) {
      ToolCallStream stream(tools());
      Collector collector;
      collector.add(stream.push(begin));
      for (std::size_t size = 0; size < 300'000; size += piece.size()) collector.add(stream.push(piece));
      collector.add(stream.push("\n</parameter>x"));
      collector.add(stream.finish());
      EXPECT_LE(collector.shown.size(), 400'000U);
    }
  }
}

TEST(ToolCallStream, ManyParametersCostLinearTime) {
  std::string text = "<tool_call><function=f>";
  for (int i = 0; i < 30000; ++i) text += "<parameter=p" + std::to_string(i % 20000) + ">x</parameter>";
  const ParsedAnswer parsed = parse_tool_calls(text + "</function>", tools());
  ASSERT_EQ(parsed.tool_calls.size(), 1U);
  EXPECT_EQ(parse_json(parsed.tool_calls[0].arguments, "arguments").size(), 20000U);
}

}  // namespace
}  // namespace qwen35
