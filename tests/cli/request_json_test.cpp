#include "cli/request_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/error.h>

namespace qwen35::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <typename Function>
std::string error_of(Function&& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Requests, TakeWhatTheyDoNotStateFromTheDefaults) {
  GenerateOptions defaults;
  defaults.temperature = 0.25F;
  defaults.tools = "[1]";
  const std::string messages = R"({"messages": [{"role": "user", "content": "x"}])";
  const Request same = parse_request(messages + "}", "line 1", defaults);
  EXPECT_EQ(same.options.temperature, 0.25F);
  EXPECT_EQ(same.options.tools, "[1]");
  EXPECT_FALSE(same.options.seed);
  EXPECT_TRUE(same.id.is_null());
  const Request own = parse_request(messages + R"(, "temperature": 1.5, "top_k": 3, "top_p": 0.5, "max_tokens": 9,
      "max_thinking_tokens": 8, "repetition_penalty": 1, "repetition_window": 7, "enable_thinking": false,
      "seed": 18446744073709551615, "tools": null, "id": {"a": 1}})",
                                    "line 1", defaults);
  EXPECT_EQ(own.options.temperature, 1.5F);
  EXPECT_EQ(own.options.top_k, 3);
  EXPECT_EQ(own.options.top_p, 0.5F);
  EXPECT_EQ(own.options.max_tokens, 9);
  EXPECT_EQ(own.options.max_thinking_tokens, 8);
  EXPECT_EQ(own.options.repetition_penalty, 1.0F);
  EXPECT_EQ(own.options.repetition_window, 7);
  EXPECT_FALSE(own.options.enable_thinking);
  EXPECT_EQ(own.options.seed, 18446744073709551615U);
  EXPECT_EQ(own.options.tools, "");
  EXPECT_EQ(own.id["a"], 1);
}

TEST(Requests, RefuseNumbersThatDoNotFit) {
  const auto error = [](const std::string& field) {
    return error_of([&] { parse_request("{\"messages\": [], " + field + "}", "line 9", {}); });
  };
  EXPECT_THAT(error("\"max_tokens\": 2147483648"), HasSubstr("line 9: max_tokens is 2147483648"));
  EXPECT_THAT(error("\"max_tokens\": -1"), HasSubstr("max_tokens is -1"));
  EXPECT_THAT(error("\"top_k\": 1.5"), HasSubstr("top_k"));
  EXPECT_THAT(error("\"seed\": -1"), HasSubstr("seed is -1"));
  EXPECT_THAT(error("\"temperature\": \"hot\""), HasSubstr("temperature is of type string"));
  EXPECT_THAT(error("\"enable_thinking\": 1"), HasSubstr("enable_thinking"));
  EXPECT_THAT(error("\"tools\": {}"), HasSubstr("tools"));
  EXPECT_THAT(error("\"stream\": true"), HasSubstr("unknown field \"stream\""));
}

Request parse(const std::string& fields, const GenerateOptions& defaults = {}) {
  return parse_request("{\"messages\": [], " + fields + "}", "line 9", defaults);
}

TEST(Requests, StateEveryOptionOfControl) {
  const GenerateOptions options = parse(R"("min_p": 0.25, "presence_penalty": -1, "frequency_penalty": 2,
      "logit_bias": {"7": -100, "0": 1.5}, "no_repeat_ngram": 3, "loop_guard": false, "allow_empty": true,
      "stop": ["a", "b"], "logprobs": true, "top_logprobs": 4, "lookup": false, "context_policy": "drop",
      "history": "rendered", "json_schema": {"maximum": 18446744073709551616})")
                                      .options;
  EXPECT_EQ(options.min_p, 0.25F);
  EXPECT_EQ(options.presence_penalty, -1);
  EXPECT_EQ(options.frequency_penalty, 2);
  ASSERT_EQ(options.logit_bias.size(), 2U);
  EXPECT_EQ(options.logit_bias[0].token, 7);
  EXPECT_EQ(options.logit_bias[0].bias, -100);
  EXPECT_EQ(options.logit_bias[1].token, 0);
  EXPECT_EQ(options.no_repeat_ngram, 3);
  EXPECT_FALSE(options.loop_guard);
  EXPECT_TRUE(options.allow_empty);
  EXPECT_THAT(options.stop, ElementsAre("a", "b"));
  EXPECT_TRUE(options.logprobs);
  EXPECT_EQ(options.top_logprobs, 4);
  EXPECT_FALSE(options.lookup);
  EXPECT_EQ(options.context_policy, ContextPolicy::drop_oldest);
  EXPECT_EQ(options.history, HistoryForm::rendered);
  EXPECT_EQ(options.json_schema, R"({"maximum": 18446744073709551616})");  // past 64 bits
  EXPECT_THAT(parse(R"("stop": "x")").options.stop, ElementsAre("x"));
  EXPECT_THAT(parse(R"("stop": null)").options.stop, ElementsAre());
}

TEST(Requests, StateWhichToolsAreCalled) {
  const auto choice = [](const std::string& value) { return parse("\"tool_choice\": " + value).options.tool_choice; };
  EXPECT_EQ(choice("null"), ToolChoice::automatic());
  EXPECT_EQ(choice("\"auto\""), ToolChoice::automatic());
  EXPECT_EQ(choice("\"none\""), ToolChoice::none());
  EXPECT_EQ(choice("\"required\""), ToolChoice::required());
  EXPECT_EQ(choice(R"({"type": "function", "function": {"name": "f"}})"), ToolChoice::function("f"));
  EXPECT_EQ(parse("\"max_tool_calls\": 1").options.max_tool_calls, 1);
  const auto error = [&](const char* value) { return error_of([&] { choice(value); }); };
  EXPECT_THAT(error("\"f\""), HasSubstr("tool_choice is \"f\", expected \"auto\""));
  EXPECT_THAT(error("1"), HasSubstr("tool_choice is of type integer"));
  for (const char* value : {"{}", R"({"function": "f"})", R"({"function": {"name": 1}})"}) {
    EXPECT_THAT(error(value), HasSubstr("tool_choice.function.name")) << value;
  }
}

TEST(Requests, AFormReplacesThatOfTheCommandLine) {
  GenerateOptions defaults;
  defaults.grammar = "root ::= \"a\"";
  EXPECT_EQ(parse("\"top_k\": 1", defaults).options.grammar, defaults.grammar);
  const GenerateOptions other = parse("\"json_object\": true", defaults).options;
  EXPECT_EQ(other.grammar, "");
  EXPECT_TRUE(other.json_object);
  EXPECT_EQ(parse("\"grammar\": null", defaults).options.grammar, "");
  const auto error = error_of([] { parse(R"("json_schema": {"type": "null"}, "grammar": "root ::= \"a\"")"); });
  EXPECT_THAT(error, HasSubstr("line 9"));
  EXPECT_THAT(error, HasSubstr("json_schema and grammar"));
}

TEST(Requests, RefuseOptionsOfTheWrongTypeByName) {
  const auto error = [](const char* field) { return error_of([&] { parse(field); }); };
  EXPECT_THAT(error("\"logit_bias\": [1]"), HasSubstr("logit_bias is of type array"));
  EXPECT_THAT(error(R"("logit_bias": {"x": 1})"), HasSubstr("the token \"x\""));
  EXPECT_THAT(error(R"("logit_bias": {"-1": 1})"), HasSubstr("the token \"-1\""));
  EXPECT_THAT(error(R"("logit_bias": {"99999999999": 1})"), HasSubstr("the token \"99999999999\""));
  EXPECT_THAT(error(R"("logit_bias": {"1": "2"})"), HasSubstr("logit_bias.1 is of type string"));
  EXPECT_THAT(error("\"stop\": [1]"), HasSubstr("stop[0] is of type integer"));
  EXPECT_THAT(error("\"json_schema\": \"{}\""), HasSubstr("json_schema is of type string"));
  EXPECT_THAT(error("\"json_object\": 1"), HasSubstr("json_object is of type integer"));
  EXPECT_THAT(error("\"context_policy\": \"shift\""), HasSubstr("expected \"error\" or \"drop\""));
  EXPECT_THAT(error("\"history\": true"), HasSubstr("history is of type boolean"));
  EXPECT_THAT(error("\"minp\": 0"), HasSubstr("min_p"));  // the list of what is known
}

}  // namespace
}  // namespace qwen35::cli
