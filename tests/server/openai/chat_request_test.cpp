#include "server/openai/chat_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "server/openai/requests.h"

namespace qwen35::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(ChatRequests, TakeWhatTheyDoNotStateFromTheDefaults) {
  GenerateOptions defaults;
  defaults.temperature = 0.25F;
  defaults.max_tokens = 77;
  defaults.system_prompt = "Be brief.";
  const ChatRequest request = chat(R"(, "top_p": 0.5)", defaults);
  EXPECT_EQ(request.model, "m");
  EXPECT_THAT(request.messages, ElementsAre(Message{.role = "user", .content = "Hi"}));
  EXPECT_EQ(request.options.temperature, 0.25F);
  EXPECT_EQ(request.options.top_p, 0.5F);
  EXPECT_EQ(request.options.max_tokens, 77);
  EXPECT_EQ(request.options.system_prompt, "Be brief.");
  EXPECT_TRUE(request.options.enable_thinking);
  EXPECT_EQ(request.n, 1);
  EXPECT_FALSE(request.stream);
  EXPECT_FALSE(request.timeout_seconds.has_value());

  const ChatRequest own = parse_chat_request(
      R"({"messages": [{"role": "system", "content": "Rhyme."}, {"role": "user", "content": "Hi"}]})", {}, defaults);
  EXPECT_FALSE(own.options.system_prompt.has_value()) << "the client's system message counts";
}

TEST(ChatRequests, StateEveryOption) {
  const ChatRequest request = chat(R"(,
    "temperature": 0, "top_p": 0.9, "top_k": 7, "min_p": 0.05, "max_tokens": 9, "seed": 11, "stop": ["a", "b"], "n": 3,
    "stream": true, "stream_options": {"include_usage": true}, "presence_penalty": 1, "frequency_penalty": -1.5,
    "repetition_penalty": 1.25, "logit_bias": {"5": -100, "7": 2.5}, "logprobs": true, "top_logprobs": 4,
    "timeout": 2.5, "repetition_window": 10, "no_repeat_ngram": 4, "loop_guard": false, "allow_empty": true,
    "lookup": false, "enable_thinking": false, "thinking_budget": 5)");
  const GenerateOptions& options = request.options;
  EXPECT_EQ(options.temperature, 0);
  EXPECT_EQ(options.top_p, 0.9F);
  EXPECT_EQ(options.top_k, 7);
  EXPECT_EQ(options.min_p, 0.05F);
  EXPECT_EQ(options.max_tokens, 9);
  EXPECT_EQ(options.seed, 11U);
  EXPECT_THAT(options.stop, ElementsAre("a", "b"));
  EXPECT_EQ(request.n, 3);
  EXPECT_TRUE(request.stream);
  EXPECT_TRUE(request.include_usage);
  EXPECT_EQ(options.presence_penalty, 1);
  EXPECT_EQ(options.frequency_penalty, -1.5F);
  EXPECT_EQ(options.repetition_penalty, 1.25F);
  ASSERT_EQ(options.logit_bias.size(), 2U);
  EXPECT_EQ(options.logit_bias[1].token, 7);
  EXPECT_EQ(options.logit_bias[1].bias, 2.5F);
  EXPECT_TRUE(options.logprobs);
  EXPECT_EQ(options.top_logprobs, 4);
  EXPECT_EQ(request.timeout_seconds, 2.5);
  EXPECT_EQ(options.repetition_window, 10);
  EXPECT_EQ(options.no_repeat_ngram, 4);
  EXPECT_FALSE(options.loop_guard);
  EXPECT_TRUE(options.allow_empty);
  EXPECT_FALSE(options.lookup);
  EXPECT_FALSE(options.enable_thinking);
  EXPECT_EQ(options.max_thinking_tokens, 5);
  EXPECT_THAT(chat(R"(, "stop": "one")").options.stop, ElementsAre("one"));
}

TEST(ChatRequests, PassOverWhatIsHarmless) {
  const ChatRequest request = chat(R"(, "user": "u", "metadata": {"a": "b"}, "store": true, "service_tier": "auto",
    "prompt_cache_key": "k", "modalities": ["text"], "functions": [], "function_call": null, "audio": null,
    "temperature": null, "stop": null, "tools": null, "response_format": null, "invented": [1, {"x": 2}])");
  EXPECT_EQ(request.options.temperature, GenerateOptions().temperature);
  EXPECT_EQ(request.options.tools, "");
}

TEST(ChatRequests, RefuseWhatWouldChangeTheReply) {
  for (const char* field : {R"("web_search_options": {"x": 1})", R"("functions": [{"name": "f"}])",
                            R"("audio": {"voice": "v"})", R"("guided_json": {"type": "object"})", R"("min_tokens": 5)",
                            R"("modalities": ["text", "audio"])", R"("ignore_eos": true)"}) {
    const std::string name = std::string(field).substr(1, std::string(field).find('"', 1) - 1);
    EXPECT_EQ(refusal([&] { chat(std::string(", ") + field); }), "400 unsupported_parameter " + name);
  }
}

TEST(ChatRequests, SeedsGoUpWithTheChoices) {
  const ChatRequest request = chat(R"(, "seed": 18446744073709551615, "n": 2)");
  EXPECT_EQ(options_of_choice(request.options, 0).seed, 18446744073709551615U);
  EXPECT_EQ(options_of_choice(request.options, 1).seed, 0U);
  EXPECT_FALSE(options_of_choice(chat("").options, 1).seed.has_value());
  EXPECT_NE(chat(R"(, "seed": -1)").options.seed, chat(R"(, "seed": 1)").options.seed);
}

TEST(ChatRequests, AnswersFollowTheFormAskedFor) {
  EXPECT_TRUE(chat(R"(, "response_format": {"type": "json_object"})").options.json_object);
  const auto schema = nlohmann::json::parse(
      chat(R"(, "response_format": {"type": "json_schema", "json_schema": {"name": "p", "strict": true,
               "schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}})")
          .options.json_schema);
  EXPECT_EQ(schema["properties"]["a"]["type"], "integer");
  EXPECT_EQ(chat(R"(, "grammar": "root ::= \"a\"")").options.grammar, "root ::= \"a\"");

  GenerateOptions defaults;
  defaults.json_object = true;
  EXPECT_FALSE(chat(R"(, "response_format": {"type": "text"})", defaults).options.json_object);
  EXPECT_FALSE(chat(R"(, "grammar": "root ::= \"a\"")", defaults).options.json_object);
  EXPECT_TRUE(chat("", defaults).options.json_object);

  EXPECT_EQ(refusal([] { chat(R"(, "grammar": "root ::= \"a\"", "response_format": {"type": "json_object"})"); }),
            "400 invalid_value response_format");
  EXPECT_EQ(refusal([] { chat(R"(, "response_format": {"type": "xml"})"); }), "400 invalid_value response_format.type");
  EXPECT_EQ(refusal([] { chat(R"(, "response_format": {"type": "json_schema"})"); }),
            "400 invalid_value response_format.json_schema");
  EXPECT_EQ(refusal([] { chat(R"(, "response_format": {"type": "json_schema", "json_schema": {"schema": []}})"); }),
            "400 invalid_value response_format.json_schema.schema");
}

TEST(ChatRequests, ThinkingIsSetByEffortBudgetAndSwitch) {
  const auto thinking = [](const std::string& fields) {
    const GenerateOptions options = chat(fields).options;
    return options.enable_thinking ? options.max_thinking_tokens : 0;
  };
  EXPECT_EQ(thinking(""), 100);
  EXPECT_EQ(thinking(R"(, "enable_thinking": false)"), 0);
  EXPECT_EQ(thinking(R"(, "chat_template_kwargs": {"enable_thinking": false})"), 0);
  EXPECT_EQ(thinking(R"(, "max_thinking_tokens": 30)"), 30);
  EXPECT_EQ(thinking(R"(, "thinking_budget": 0)"), 0);
  EXPECT_EQ(thinking(R"(, "reasoning_effort": "none")"), 0);
  EXPECT_LT(thinking(R"(, "reasoning_effort": "low")"), thinking(R"(, "reasoning_effort": "medium")"));
  EXPECT_LT(thinking(R"(, "reasoning_effort": "medium")"), thinking(R"(, "reasoning_effort": "high")"));
  EXPECT_EQ(thinking(R"(, "reasoning_effort": "high", "thinking_budget": 30)"), 30) << "the exact one counts";
  EXPECT_EQ(thinking(R"(, "reasoning_effort": "none", "thinking_budget": 30)"), 0);
  EXPECT_EQ(thinking(R"(, "reasoning_effort": "high", "enable_thinking": false)"), 0);
  EXPECT_EQ(refusal([] { chat(R"(, "reasoning_effort": "huge")"); }), "400 invalid_value reasoning_effort");
}

TEST(ChatRequests, MaxCompletionTokensHoldThinkingAndAnswer) {
  const auto lengths = [](const std::string& fields) {
    const GenerateOptions options = chat(fields).options;
    return std::pair(options.enable_thinking ? options.max_thinking_tokens : 0, options.max_tokens);
  };
  for (const int whole : {1, 2, 15, 16, 17, 40, 100, 204, 1000}) {
    const auto [thinking, answer] = lengths(", \"max_completion_tokens\": " + std::to_string(whole));
    EXPECT_LE(thinking + answer, whole) << whole;
    EXPECT_GE(answer, whole / 2 - 4) << whole;
    EXPECT_GE(answer, 1) << whole;
    EXPECT_LE(thinking, 100) << whole;
    EXPECT_EQ(thinking > 0, whole >= 16) << whole;
  }
  EXPECT_EQ(lengths(R"(, "max_completion_tokens": 300)"), std::pair(100, 196));
  EXPECT_EQ(lengths(R"(, "max_completion_tokens": 300, "enable_thinking": false)"), std::pair(0, 300));
  EXPECT_EQ(lengths(R"(, "max_completion_tokens": 300, "max_tokens": 20)"), std::pair(100, 20));
  EXPECT_EQ(lengths(R"(, "max_tokens": 20)"), std::pair(100, 20));
}

constexpr const char* kTools = R"(, "tools": [
  {"type": "function", "function": {"name": "timer", "description": "d", "parameters": {"type": "object"}}},
  {"type": "function", "function": {"name": "light"}}])";

TEST(ChatRequests, ToolsAndTheirChoice) {
  const auto options = [](const std::string& fields) { return chat(kTools + fields).options; };
  const auto tools = nlohmann::json::parse(options("").tools);
  EXPECT_EQ(tools[0]["function"]["name"], "timer");
  EXPECT_EQ(tools.size(), 2U);
  EXPECT_EQ(options("").tool_choice, ToolChoice::automatic());
  EXPECT_EQ(options(R"(, "tool_choice": "auto")").tool_choice, ToolChoice::automatic());
  EXPECT_EQ(options(R"(, "tool_choice": "none")").tool_choice, ToolChoice::none());
  EXPECT_EQ(options(R"(, "tool_choice": "required")").tool_choice, ToolChoice::required());
  EXPECT_EQ(options(R"(, "tool_choice": {"type": "function", "function": {"name": "light"}})").tool_choice,
            ToolChoice::function("light"));
  EXPECT_EQ(options("").max_tool_calls, 0);
  EXPECT_EQ(options(R"(, "parallel_tool_calls": false)").max_tool_calls, 1);
  EXPECT_EQ(options(R"(, "parallel_tool_calls": true)").max_tool_calls, 0);
}

TEST(ChatRequests, ToolsThatCannotBeUsedAreNamed) {
  const auto refused = [](const std::string& fields) { return refusal([&] { chat(fields); }); };
  EXPECT_EQ(refused(R"(, "tools": {})"), "400 invalid_value tools");
  EXPECT_EQ(refused(R"(, "tools": [1])"), "400 invalid_value tools[0]");
  EXPECT_EQ(refused(R"(, "tools": [{"type": "retrieval"}])"), "400 invalid_value tools[0].type");
  EXPECT_EQ(refused(R"(, "tools": [{"type": "function"}])"), "400 invalid_value tools[0].function");
  EXPECT_EQ(refused(R"(, "tools": [{"type": "function", "function": {}}])"),
            "400 invalid_value tools[0].function.name");
  EXPECT_EQ(refused(R"(, "tools": [{"type": "function", "function": {"name": "a b"}}])"),
            "400 invalid_value tools[0].function.name");
  EXPECT_EQ(refused(R"(, "tools": [{"type": "function", "function": {"name": "f", "parameters": []}}])"),
            "400 invalid_value tools[0].function.parameters");
  EXPECT_EQ(refused(std::string(kTools).replace(std::string(kTools).find("light"), 5, "timer")),
            "400 invalid_value tools[1].function.name");
  EXPECT_EQ(refused(R"(, "tool_choice": "required")"), "400 invalid_value tool_choice");
  EXPECT_EQ(refused(R"(, "tool_choice": "sometimes")"), "400 invalid_value tool_choice");
  EXPECT_EQ(refused(kTools + std::string(R"(, "tool_choice": {"type": "function", "function": {"name": "x"}})")),
            "400 invalid_value tool_choice.function.name");
  EXPECT_EQ(refused(kTools + std::string(R"(, "tool_choice": "required", "response_format": {"type": "json_object"})")),
            "400 invalid_value tool_choice");
}

TEST(Conversations, HaveTheRolesAndFormsOfTheApi) {
  const ChatRequest request = conversation(R"([
    {"role": "developer", "content": "Be brief."}, {"role": "system", "content": "Rhyme."},
    {"role": "user", "name": "ann", "content": [{"type": "text", "text": "Set a "}, {"type": "text", "text": "timer"}]},
    {"role": "assistant", "content": null, "reasoning_content": "Hm.", "refusal": null, "tool_calls": [
      {"id": "c1", "type": "function", "function": {"name": "timer", "arguments": "{\"m\": 5}"}},
      {"id": "c2", "type": "function", "function": {"name": "light", "arguments": {"on": true}}},
      {"id": "c3", "type": "function", "function": {"name": "stop", "arguments": ""}}]},
    {"role": "tool", "tool_call_id": "c3", "content": "third"},
    {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "first"}]},
    {"role": "function", "tool_call_id": "c2", "name": "light", "content": "second"}])");
  ASSERT_EQ(request.messages.size(), 6U);
  EXPECT_EQ(request.messages[0], (Message{.role = "system", .content = "Be brief.\n\nRhyme."}));
  EXPECT_EQ(request.messages[1].content, "Set a timer");
  EXPECT_EQ(request.messages[2].thinking, "Hm.");
  EXPECT_THAT(request.messages[2].tool_calls, ElementsAre(ToolCall{"timer", R"({"m":5})"},
                                                          ToolCall{"light", R"({"on":true})"}, ToolCall{"stop", "{}"}));
  // Results stand in the order of their calls: the model's template knows no ids.
  EXPECT_EQ(request.messages[3], (Message{.role = "tool", .content = "first"}));
  EXPECT_EQ(request.messages[4].content, "second");
  EXPECT_EQ(request.messages[5].content, "third");
}

TEST(Conversations, AreRefusedByTheFieldAtFault) {
  const auto refused = [](const std::string& messages) { return refusal([&] { conversation(messages); }); };
  const std::string user = R"({"role": "user", "content": "x"})";
  EXPECT_EQ(refusal([] { parse_chat_request("{}", {}, {}); }), "400 missing_required_parameter messages");
  EXPECT_EQ(refused("[]"), "400 invalid_value messages");
  EXPECT_EQ(refused("{}"), "400 invalid_value messages");
  EXPECT_EQ(refused("[3]"), "400 invalid_value messages[0]");
  EXPECT_EQ(refused(R"([{"content": "x"}])"), "400 invalid_value messages[0].role");
  EXPECT_EQ(refused(R"([{"role": "root", "content": "x"}])"), "400 invalid_value messages[0].role");
  EXPECT_EQ(refused(R"([{"role": "user"}])"), "400 invalid_value messages[0].content");
  EXPECT_EQ(refused(R"([{"role": "user", "content": 1}])"), "400 invalid_value messages[0].content");
  EXPECT_EQ(refused("[" + user + R"(, {"role": "assistant", "content": "x"}])"), "400 invalid_value messages[1].role");
  EXPECT_EQ(refused("[" + user + R"(, {"role": "system", "content": "x"}, )" + user + "]"),
            "400 invalid_value messages[1].role");
  EXPECT_EQ(refused(R"([{"role": "tool", "content": "x"}])"), "400 invalid_value messages");
  const std::string calls = R"({"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "f"}}]})";
  EXPECT_EQ(refused("[" + user + "," + calls + R"(, {"role": "tool", "tool_call_id": "c2", "content": "x"}])"),
            "400 invalid_value messages[2].tool_call_id");
  EXPECT_EQ(refused("[" + user + "," + calls + R"(, {"role": "tool", "tool_call_id": "c1", "content": "x"},
                    {"role": "tool", "tool_call_id": "c1", "content": "y"}])"),
            "400 invalid_value messages[3].tool_call_id");
  EXPECT_EQ(
      refused("[" + user + R"(, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]},
                    {"role": "tool", "content": "x"}])"),
      "400 invalid_value messages[1].tool_calls[0].function.arguments");
  const std::string picture =
      R"([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}])";
  EXPECT_EQ(refused(picture), "400 invalid_value messages[0].content[0]");
  EXPECT_THAT(message_of([&] { conversation(picture); }), HasSubstr("text only"));
}

}  // namespace
}  // namespace qwen35::server
