#include "cli/chat_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

#include "cli/evaluation.h"
#include "cli/models.h"
#include "cli/text_io.h"

namespace qwen35::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

template <typename Function>
std::string error_of(Function&& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Messages, ReadsTheOpenAiForms) {
  const auto messages = parse_messages(R"([
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Set a "}, {"type": "text", "text": "timer"}]},
    {"role": "assistant", "content": null, "reasoning_content": "A timer.", "tool_calls": [
      {"id": "1", "type": "function", "function": {"name": "timer", "arguments": "{\"minutes\": 5}"}},
      {"name": "light", "arguments": {"on": true}}, {"name": "stop"}]},
    {"role": "tool", "tool_call_id": "1", "content": "ok"}])",
                                       "test");
  ASSERT_EQ(messages.size(), 4U);
  EXPECT_EQ(messages[1].content, "Set a timer");
  EXPECT_EQ(messages[2].content, "");
  EXPECT_EQ(messages[2].thinking, "A timer.");
  EXPECT_THAT(messages[2].tool_calls, ElementsAre(ToolCall{"timer", R"({"minutes":5})"},
                                                  ToolCall{"light", R"({"on":true})"}, ToolCall{"stop", "{}"}));
  EXPECT_EQ(parse_messages(messages_to_text(messages), "again"), messages);
}

TEST(Messages, RefusesWhatItCannotUseByName) {
  const auto error = [](const char* text) { return error_of([&] { parse_messages(text, "file.json"); }); };
  EXPECT_THAT(error("3"), HasSubstr("file.json"));
  EXPECT_THAT(error("{}"), HasSubstr("\"messages\""));
  EXPECT_THAT(error("{\"messages\": {}}"), HasSubstr("messages is of type object, expected an array"));
  EXPECT_THAT(error("[1]"), HasSubstr("messages[0] is of type integer, expected an object"));
  EXPECT_THAT(error(R"([{"content": "x"}])"), HasSubstr("messages[0].role"));
  EXPECT_THAT(error(R"([{"role": "user", "content": 1}])"), HasSubstr("messages[0].content"));
  EXPECT_THAT(error(R"([{"role": "user", "content": [{"type": "image_url"}]}])"), HasSubstr("reads text only"));
  EXPECT_THAT(error(R"([{"role": "user", "content": "", "thinking": "hm"}])"), HasSubstr("only an assistant"));
  EXPECT_THAT(error(R"([{"role": "assistant", "tool_calls": [{"name": 1}]}])"), HasSubstr("tool_calls[0]"));
  EXPECT_THAT(error(R"([{"role": "assistant", "tool_calls": [{"name": "f", "arguments": "[1]"}]}])"),
              HasSubstr("arguments is of type array, expected a JSON object"));
  EXPECT_THAT(error(R"([{"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{"}]}])"),
              HasSubstr("arguments"));
}

TEST(Replies, AreOneLineWhateverTheyHold) {
  Reply reply;
  reply.text = "a\nb\xFF";
  reply.tool_calls = {{"f", R"({"z": 1, "a": [2]})"}};
  const std::string line = to_line(reply_to_json(reply));
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_THAT(line, HasSubstr(R"("text":"a\nb)"
                              "\xEF\xBF\xBD"));
  EXPECT_THAT(line, HasSubstr(R"({"name":"f","arguments":{"z":1,"a":[2]}})"));
}

TEST(Replies, CarryLogprobsInTheOpenAiForm) {
  Reply reply;
  reply.dropped_messages = 4;
  reply.truncated_tool_call = "<function=f>";
  reply.metrics.drafted_tokens = 7;
  reply.metrics.accepted_tokens = 5;
  reply.logprobs = {{3, "\xE4\xBD", -0.5F, {{3, "\xE4\xBD", -0.5F}, {9, "b", -INFINITY}}}};
  EXPECT_FALSE(reply_to_json(reply).contains("logprobs"));
  const auto json = nlohmann::json::parse(to_line(reply_to_json(reply, true)));
  EXPECT_EQ(json["dropped_messages"], 4);
  EXPECT_EQ(json["truncated_tool_call"], "<function=f>");
  EXPECT_EQ(json["metrics"]["drafted_tokens"], 7);
  EXPECT_EQ(json["metrics"]["accepted_tokens"], 5);
  const auto& token = json["logprobs"]["content"][0];
  EXPECT_EQ(token["token"], "\xEF\xBF\xBD");
  EXPECT_EQ(token["bytes"], nlohmann::json({0xE4, 0xBD}));
  EXPECT_EQ(token["logprob"], -0.5);
  ASSERT_EQ(token["top_logprobs"].size(), 2U);
  EXPECT_EQ(token["top_logprobs"][1]["token"], "b");
  EXPECT_EQ(token["top_logprobs"][1]["logprob"], -9999);
}

TEST(TerminalSafe, TakesTheTerminalsCommandsOut) {
  EXPECT_EQ(terminal_safe("a\033[2Jb\ac\r\nd\te\x7F"), "a[2Jbc\nd\te");
  EXPECT_EQ(terminal_safe("\xC2\x9B"
                          "31m \xC2\xA0\xC3\xA9 \xE4\xBD\xA0"),
            "31m \xC2\xA0\xC3\xA9 \xE4\xBD\xA0");
  EXPECT_EQ(terminal_safe(std::string_view("a\0b", 3)), "ab");
}

TEST(ReadLine, EndsLinesEitherWayAndBoundsThem) {
  std::istringstream in("one\r\n\ntoo long\nlast");
  EXPECT_EQ(read_line(in, 5, "x"), "one");
  EXPECT_EQ(read_line(in, 5, "x"), "");
  EXPECT_THAT(error_of([&] { read_line(in, 5, "line 3"); }), HasSubstr("line 3 is longer than 5 bytes"));
  EXPECT_EQ(read_line(in, 5, "x"), "last");
  EXPECT_EQ(read_line(in, 5, "x"), std::nullopt);
}

TEST(WriteFile, IsAllOrNothing) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "file";
  write_file(path, "one", false);
  EXPECT_THAT(error_of([&] { write_file(path, "two", false); }), HasSubstr("is there already"));
  EXPECT_EQ(read_all(path, 100), "one");
  write_file(path, "two", true);
  EXPECT_EQ(read_all(path, 100), "two");
  EXPECT_THAT(error_of([&] { write_file(folder.path(), "x", true); }), HasSubstr("not a regular file"));
  EXPECT_THAT(error_of([&] { read_all(path, 2); }), HasSubstr("larger than 2 bytes"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);  // no temporary file is left
}

TEST(Evaluation, TopLogitsAreSortedAndTiesGoToTheLowerId) {
  const std::vector<float> logits = {1, 3, NAN, 3, -INFINITY, 2};
  EXPECT_THAT(top_logits(logits, 3), ElementsAre(Pair(1, 3.0F), Pair(3, 3.0F), Pair(5, 2.0F)));
  EXPECT_EQ(top_logits(logits, 100).size(), 6U);
  EXPECT_THAT(top_logits(logits, 0), testing::IsEmpty());
}

TEST(Evaluation, LogSumExpDoesNotOverflow) {
  EXPECT_NEAR(log_sum_exp(std::vector<float>{1000, 1000}), 1000 + std::log(2.0), 1e-9);
  EXPECT_NEAR(log_sum_exp(std::vector<float>{-1000, -1000, NAN}), -1000 + std::log(2.0), 1e-9);
  EXPECT_EQ(log_sum_exp(std::vector<float>{-INFINITY}), -INFINITY);
}

TEST(ParseIds, ChecksEveryNumber) {
  EXPECT_THAT(parse_ids(" 1,2\n3\t,4 ", 5, "ids"), ElementsAre(1, 2, 3, 4));
  for (const char* text : {"5", "-1", "1 x", "1.0", "4294967296", "", " , "}) {
    EXPECT_THAT(error_of([&] { parse_ids(text, 5, "ids"); }), HasSubstr("ids: ")) << text;
  }
}

}  // namespace
}  // namespace qwen35::cli
