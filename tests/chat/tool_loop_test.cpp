#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/tools.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <vector>

#include "chat/fakes.h"

namespace qwen35 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing_doubles::greedy;
using testing_doubles::make_chat;
using testing_doubles::Stage;

const char* const kMinutes = R"({"type": "object", "required": ["minutes"], "additionalProperties": false,
    "properties": {"minutes": {"type": "integer", "minimum": 1}}})";

std::string call_text(const std::string& name, const std::string& minutes) {
  return "<tool_call>\n<function=" + name + ">\n<parameter=minutes>\n" + minutes +
         "\n</parameter>\n</function>\n</tool_call>";
}

/// Replies without thinking, as the FakeBackend takes them.
std::vector<std::string> script(std::vector<std::string> replies) {
  for (std::string& reply : replies) reply.insert(0, "<think>\n\n</think>\n\n");
  return replies;
}

/// A toolbox that remembers what was run.
struct Bench {
  std::vector<std::string> runs;
  Toolbox tools;
  Bench() {
    tools.add({.name = "set_timer", .description = "Start a timer.", .parameters = kMinutes, .run = [this](auto& text) {
                 runs.push_back(text);
                 return std::string(R"({"status": "started"})");
               }});
    tools.add({.name = "fail", .run = [](auto&) -> std::string { throw std::runtime_error("no \"power\""); }});
    tools.add({.name = "fail_oddly", .run = [](auto&) -> std::string { throw 5; }});
  }
};

std::string error_of(const std::string& result) { return nlohmann::json::parse(result).at("error"); }

TEST(Toolbox, MakesGoodCallsAndExplainsBadOnes) {
  Bench bench;
  EXPECT_EQ(bench.tools.call({"set_timer", R"({"minutes": 5})"}), R"({"status": "started"})");
  EXPECT_THAT(bench.runs, ElementsAre(R"({"minutes": 5})"));
  EXPECT_EQ(error_of(bench.tools.call({"set_timer", R"({"minutes": "x", "y": 1})"})),
            "arguments has \"y\", which is not known; expected only the properties of its schema; arguments.minutes is "
            "\"x\"; expected the type \"integer\"");
  EXPECT_EQ(error_of(bench.tools.call({"set_alarm", "{}"})),
            "there is no tool \"set_alarm\"; expected one of: set_timer, fail, fail_oddly");
  EXPECT_THAT(error_of(bench.tools.call({"set_timer", "{"})), HasSubstr("JSON"));
  EXPECT_EQ(error_of(bench.tools.call({"fail", "{}"})), "the tool failed: no \"power\"");
  EXPECT_EQ(error_of(bench.tools.call({"fail_oddly", "{}"})), "the tool failed");
  EXPECT_EQ(bench.runs.size(), 1U);
  EXPECT_EQ(error_of(Toolbox().call({"x", "{}"})), "there is no tool \"x\"; expected one of: none");
}

TEST(Toolbox, DefinitionsAreInTheOpenAiForm) {
  EXPECT_EQ(Toolbox().definitions(), "");
  const auto json = nlohmann::json::parse(Bench().tools.definitions());
  ASSERT_EQ(json.size(), 3U);
  EXPECT_EQ(json[0]["type"], "function");
  EXPECT_EQ(json[0]["function"]["name"], "set_timer");
  EXPECT_EQ(json[0]["function"]["description"], "Start a timer.");
  EXPECT_EQ(json[0]["function"]["parameters"], nlohmann::json::parse(kMinutes));
  EXPECT_EQ(json[1]["function"]["parameters"]["type"], "object");
}

TEST(Toolbox, SaysWhatItDoesNotCheck) {
  Toolbox tools;
  tools.add({.name = "f", .parameters = R"({"properties": {"day": {"format": "date"}}})", .run = [](auto& text) {
               return text;
             }});
  EXPECT_THAT(tools.unchecked({"f", R"({"day": "x"})"}), ElementsAre("arguments.day: format"));
}

TEST(Toolbox, RefusesBadTools) {
  const auto refused = [](Tool tool) -> std::string {
    Toolbox tools({{.name = "taken", .run = [](auto& text) { return text; }}});
    try {
      tools.add(std::move(tool));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      return error.what();
    }
    return "no error";
  };
  const auto run = [](const std::string& text) { return text; };
  for (const std::string name : {"", "two words", "x>", "<f", "new\nline", "é"}) {
    EXPECT_THAT(refused({.name = name, .run = run}), HasSubstr("name")) << name;
  }
  EXPECT_THAT(refused({.name = std::string(65, 'x'), .run = run}), HasSubstr("name"));
  EXPECT_THAT(refused({.name = "taken", .run = run}), HasSubstr("already"));
  EXPECT_THAT(refused({.name = "f", .run = {}}), HasSubstr("function"));
  EXPECT_THAT(refused({.name = "f", .parameters = "[]", .run = run}), HasSubstr("parameters"));
  EXPECT_THAT(refused({.name = "f", .parameters = "{", .run = run}), HasSubstr("parameters"));
}

TEST(ToolLoop, RunsUntilTheModelAnswersInWords) {
  Bench bench;
  auto stage = std::make_shared<Stage>();
  stage->script = script(
      {"One moment.\n\n" + call_text("set_timer", "5") + "\n" + call_text("set_timer", "0"), "Your timer runs."});
  Chat chat = make_chat(stage);
  std::string pieces;
  std::vector<std::string> log;
  ToolLoopOptions loop;
  loop.on_piece = [&](std::string_view piece) {
    pieces += piece;
    return true;
  };
  loop.on_call = [&](const ToolCall& call) {
    log.push_back("call " + call.arguments);
    return true;
  };
  loop.on_result = [&](const ToolCall&, const std::string& result) { log.push_back("result " + result); };
  GenerateOptions options = greedy();
  options.system_prompt = "Be kind.";
  const Reply reply = run_tools(chat, "A timer!", bench.tools, options, loop);
  EXPECT_EQ(reply.text, "Your timer runs.");
  EXPECT_EQ(reply.finish_reason, FinishReason::stop);
  EXPECT_THAT(reply.tool_calls, IsEmpty());
  EXPECT_EQ(pieces, "One moment.Your timer runs.");
  EXPECT_THAT(bench.runs, ElementsAre(R"({"minutes": 5})"));
  EXPECT_THAT(log, ElementsAre(R"(call {"minutes": 5})", R"(result {"status": "started"})", R"(call {"minutes": 0})",
                               R"(result {"error": "arguments.minutes is 0; expected at least 1"})"));
  const auto& messages = chat.messages();
  ASSERT_EQ(messages.size(), 6U);
  EXPECT_EQ(messages[0].content, "Be kind.");
  EXPECT_EQ(messages[2].tool_calls.size(), 2U);
  EXPECT_EQ(messages[3], (Message{.role = "tool", .content = R"({"status": "started"})"}));
  EXPECT_THAT(messages[4].content, HasSubstr("at least 1"));
  EXPECT_THAT(stage->text(), HasSubstr(R"({"status": "started"})"));
  EXPECT_GT(reply.metrics.reused_tokens, 100U) << "the second round goes on from the first";
}

TEST(ToolLoop, AfterTheLastRoundTheModelMustAnswerWithoutTools) {
  Bench bench;
  auto stage = std::make_shared<Stage>();
  stage->script =
      script({call_text("set_timer", "1"), call_text("set_timer", "2"), "Enough.", call_text("set_timer", "4")});
  Chat chat = make_chat(stage);
  ToolLoopOptions loop;
  loop.max_rounds = 2;
  const Reply reply = run_tools(chat, "Go", bench.tools, greedy(), loop);
  EXPECT_EQ(reply.text, "Enough.");
  EXPECT_EQ(bench.runs.size(), 2U);
  EXPECT_THAT(stage->text(), testing::Not(HasSubstr("Start a timer."))) << "the last reply is asked for without tools";
  // A model that calls a tool all the same: the call is returned, not made.
  loop.max_rounds = 1;
  stage->script = script({call_text("set_timer", "1"), call_text("set_timer", "2")});
  chat.reset_conversation();
  bench.runs.clear();
  EXPECT_EQ(run_tools(chat, "Go", bench.tools, greedy(), loop).tool_calls.size(), 1U);
  EXPECT_EQ(bench.runs.size(), 1U);
}

TEST(ToolLoop, ADeclinedCallIsNotMade) {
  Bench bench;
  auto stage = std::make_shared<Stage>();
  stage->script = script({call_text("set_timer", "5"), "Then not."});
  Chat chat = make_chat(stage);
  ToolLoopOptions loop;
  loop.on_call = [](const ToolCall&) { return false; };
  EXPECT_EQ(run_tools(chat, "Go", bench.tools, greedy(), loop).text, "Then not.");
  EXPECT_THAT(bench.runs, IsEmpty());
  EXPECT_EQ(chat.messages()[2].content, R"({"error": "the call was declined"})");
}

TEST(ToolLoop, CancelEndsIt) {
  Bench bench;
  auto stage = std::make_shared<Stage>();
  stage->script = script({"Well. " + call_text("set_timer", "5") + " and more", "never"});
  Chat chat = make_chat(stage);
  stage->on_forward = [&] {
    if (stage->text().ends_with(" and")) chat.cancel();
  };
  const Reply reply = run_tools(chat, "Go", bench.tools, greedy());
  EXPECT_EQ(reply.finish_reason, FinishReason::cancelled);
  EXPECT_THAT(bench.runs, IsEmpty());
  stage->on_forward = [] {};
  ToolLoopOptions loop;
  loop.on_piece = [](std::string_view) { return false; };
  chat.reset_conversation();
  EXPECT_EQ(run_tools(chat, "Go", bench.tools, greedy(), loop).finish_reason, FinishReason::cancelled);
  EXPECT_THAT(bench.runs, IsEmpty());
}

TEST(ToolLoop, ACancelDuringACallEndsTheLoopAfterIt) {
  for (const bool by_token : {false, true}) {
    auto stage = std::make_shared<Stage>();
    stage->script = script({call_text("slow", "5") + call_text("slow", "6"), "never"});
    Chat chat = make_chat(stage);
    GenerateOptions options = greedy();
    std::stop_source stop;
    options.cancel = stop.get_token();
    int runs = 0;
    Toolbox tools;
    tools.add({.name = "slow", .run = [&](auto&) {
                 ++runs;
                 if (by_token) {
                   stop.request_stop();
                 } else {
                   chat.cancel();
                 }
                 return std::string("done");
               }});
    const Reply reply = run_tools(chat, "Go", tools, options);
    EXPECT_EQ(reply.finish_reason, FinishReason::cancelled);
    EXPECT_EQ(reply.text, "");
    EXPECT_EQ(runs, by_token ? 1 : 2);
    EXPECT_EQ(chat.messages()[2].content, "done");
  }
}

TEST(ToolLoop, TheChatsOwnToolsDoNotTakePart) {
  Bench bench;
  auto stage = std::make_shared<Stage>();
  stage->script = script({call_text("set_timer", "1"), "Done.", "Plain."});
  Chat chat = make_chat(stage);
  chat.set_tools(R"([{"type": "function", "function": {"name": "other", "parameters": {}}}])");
  ToolLoopOptions loop;
  loop.max_rounds = 1;
  EXPECT_EQ(run_tools(chat, "Go", bench.tools, greedy(), loop).text, "Done.");
  EXPECT_THAT(stage->text(), testing::Not(HasSubstr("\"other\"")));
  EXPECT_EQ(run_tools(chat, "And", Toolbox(), greedy()).text, "Plain.");
  EXPECT_THAT(stage->text(), testing::Not(HasSubstr("\"other\"")));
}

TEST(ToolLoop, LongResultsAreCutBetweenCharactersAndSaySo) {
  Toolbox tools;
  tools.add({.name = "set_timer", .run = [](auto&) {
               std::string text;
               while (text.size() < 3000) text += "中";
               return text;
             }});
  auto stage = std::make_shared<Stage>();
  stage->script = script({call_text("set_timer", "5"), "Done."});
  Chat chat = make_chat(stage);
  ToolLoopOptions loop;
  loop.max_result_bytes = 100;
  run_tools(chat, "Go", tools, greedy(), loop);
  const std::string& content = chat.messages()[2].content;
  EXPECT_TRUE(content.ends_with("中\n[cut: the first 99 of 3000 bytes]")) << content;
}

TEST(ToolLoop, RefusesBadOptionsAndPassesErrorsOn) {
  Bench bench;
  auto stage = std::make_shared<Stage>();
  stage->script = script({call_text("set_timer", "5"), "Done."});
  Chat chat = make_chat(stage);
  GenerateOptions with_tools = greedy();
  with_tools.tools = "[]";
  EXPECT_THROW(run_tools(chat, "Go", bench.tools, with_tools), Error);
  ToolLoopOptions loop;
  loop.max_rounds = 0;
  EXPECT_THROW(run_tools(chat, "Go", bench.tools, greedy(), loop), Error);
  loop = {};
  loop.max_result_bytes = 10;
  EXPECT_THROW(run_tools(chat, "Go", bench.tools, greedy(), loop), Error);
  loop = {};
  loop.on_call = [](const ToolCall&) -> bool { throw std::runtime_error("mine"); };
  EXPECT_THAT(chat.messages(), IsEmpty());
  EXPECT_THROW(run_tools(chat, "Go", bench.tools, greedy(), loop), std::runtime_error);
  EXPECT_EQ(chat.messages().size(), 2U) << "the round that was finished stays";
}

TEST(ToolLoop, TakesAConversation) {
  Bench bench;
  auto stage = std::make_shared<Stage>();
  stage->script = script({call_text("set_timer", "5"), "Done."});
  Chat chat = make_chat(stage);
  const std::vector<Message> messages = {{.role = "user", .content = "Go"}};
  EXPECT_EQ(run_tools(chat, messages, bench.tools, greedy()).text, "Done.");
  EXPECT_EQ(chat.messages().size(), 4U);
}

/// The whole way with the bundled model, which was taught to call tools by their definitions.
TEST(ToolLoop, TheBundledModelSetsATimer) {
  Chat chat = Chat::from_pretrained("mini");
  int minutes = 0;
  Toolbox tools;
  tools.add({.name = "set_timer",
             .description = "Start a timer.",
             .parameters = R"({"type": "object",
             "required": ["minutes"], "properties": {"minutes": {"type": "integer",
             "description": "How long, in minutes."}}})",
             .run = [&](const std::string& arguments) {
               minutes = nlohmann::json::parse(arguments).at("minutes");
               return std::string(R"({"status": "started"})");
             }});
  const Reply reply = run_tools(chat, "Set a timer for 5 minutes.", tools, greedy());
  EXPECT_EQ(minutes, 5);
  EXPECT_FALSE(reply.text.empty());
  EXPECT_EQ(reply.finish_reason, FinishReason::stop);
  EXPECT_EQ(chat.messages().size(), 4U);
  EXPECT_GT(reply.metrics.reused_tokens, 0U);
}

}  // namespace
}  // namespace qwen35
