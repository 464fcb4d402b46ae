// Replies that must call a tool, a certain one, none, or no more than so many.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/chat.h>
#include <qwen35/tools.h>

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "chat/fakes.h"

namespace qwen35 {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing_doubles::greedy;
using testing_doubles::make_chat;
using testing_doubles::Stage;

const char* const kTools = R"([
  {"type": "function", "function": {"name": "set_timer", "parameters": {"type": "object", "required": ["minutes"],
    "properties": {"minutes": {"type": "integer"}}}}},
  {"type": "function", "function": {"name": "set_alarm", "parameters": {"type": "object", "properties": {}}}},
  {"type": "function", "function": {"name": "stop"}}])";

constexpr const char* kNoThought = "<think>\n\n</think>\n\n";

std::string call_text(const std::string& name, const std::string& minutes) {
  return "<tool_call>\n<function=" + name + ">\n<parameter=minutes>\n" + minutes +
         "\n</parameter>\n</function>\n</tool_call>";
}

class ToolChoiceTest : public testing::Test {
 protected:
  static GenerateOptions options(ToolChoice choice, bool thinking = false) {
    GenerateOptions options = greedy(thinking);
    options.tools = kTools;
    options.tool_choice = std::move(choice);
    return options;
  }
  Reply ask(const GenerateOptions& options) {
    chat_.reset_conversation();
    std::string streamed;
    Reply reply = chat_.stream("Hi", options, [&](std::string_view piece) {
      streamed += piece;
      return true;
    });
    EXPECT_EQ(streamed, reply.text);
    return reply;
  }
  std::string refusal(const GenerateOptions& options) {
    try {
      chat_.generate("Hi", options);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      return error.what();
    }
    return "no error";
  }

  std::shared_ptr<Stage> stage_ = std::make_shared<Stage>();
  Chat chat_ = make_chat(stage_);
};

TEST_F(ToolChoiceTest, RequiredBeginsWithACallOfTheModelsChoice) {
  stage_->script = {kNoThought + call_text("set_timer", "5") + "<|im_end|>"};
  const Reply reply = ask(options(ToolChoice::required()));
  EXPECT_THAT(reply.tool_calls, ElementsAre(ToolCall{"set_timer", R"({"minutes": 5})"}));
  EXPECT_EQ(reply.finish_reason, FinishReason::tool_calls);
  EXPECT_EQ(reply.text, "");
  EXPECT_EQ(reply.metrics.reply_tokens, 72U) << "what was written for the model counts";
  EXPECT_THAT(stage_->passes, testing::Contains(11U)) << "<tool_call>, and \"\\n<function\" a byte each, in one pass";
}

TEST_F(ToolChoiceTest, TheNameIsHeldToTheTools) {
  // The model has another name in mind, one that begins like a tool's; what it says behind "set_t" is noise.
  stage_->script = {kNoThought + call_text("set_tiger", "5") + "<|im_end|>"};
  GenerateOptions asked = options(ToolChoice::required());
  asked.max_tokens = 60;
  ask(asked);
  EXPECT_THAT(stage_->text(), HasSubstr("</think>\n\n<tool_call>\n<function=set_timer>\n<parameter"));
}

TEST_F(ToolChoiceTest, ANamedFunctionIsCalledWhateverTheModelWants) {
  for (const bool thinking : {false, true}) {
    const std::string thought = thinking ? "<think>\nhm\n</think>\n\n" : kNoThought;
    stage_->script = {thought + call_text("set_timer", "7") + "\nDone.<|im_end|>"};
    Reply reply = ask(options(ToolChoice::function("set_timer"), thinking));
    EXPECT_THAT(reply.tool_calls, ElementsAre(ToolCall{"set_timer", R"({"minutes": 7})"}));
    EXPECT_EQ(reply.text, "Done.") << "it may go on behind the call";
    EXPECT_EQ(reply.thinking, thinking ? "hm" : "");
    EXPECT_THAT(stage_->text(), HasSubstr(thought + "<tool_call>\n<function=set_timer>\n<parameter=minutes>\n7"));

    stage_->script = {thought + "No, I would rather talk.<|im_end|>"};
    GenerateOptions cut = options(ToolChoice::function("stop"), thinking);
    cut.max_tokens = 50;
    cut.loop_guard = false;
    reply = ask(cut);
    EXPECT_THAT(stage_->text(), HasSubstr(thought + "<tool_call>\n<function=stop>\n<"));
  }
}

TEST_F(ToolChoiceTest, AFunctionWithoutArgumentsMayEndAtOnce) {
  stage_->script = {std::string(kNoThought) + "<tool_call>\n<function=stop>\n</function>\n</tool_call><|im_end|>"};
  const Reply reply = ask(options(ToolChoice::function("stop")));
  EXPECT_THAT(reply.tool_calls, ElementsAre(ToolCall{"stop", "{}"}));
}

TEST_F(ToolChoiceTest, ThinkingThatIsCutShortLeadsToTheCall) {
  stage_->script = {"<think>\nabcdefghijklmnop\n</think>\n\n" + call_text("set_timer", "5") + "<|im_end|>"};
  GenerateOptions asked = options(ToolChoice::required(), true);
  asked.max_thinking_tokens = 5;
  const Reply reply = ask(asked);
  EXPECT_EQ(reply.thinking, "abcde");
  EXPECT_EQ(reply.tool_calls.size(), 1U);
}

TEST_F(ToolChoiceTest, TheReplyDoesNotEndInsideTheCall) {
  // The model ends its turn in the middle of the argument: that is barred, so it goes on with noise.
  stage_->script = {std::string(kNoThought) + "<tool_call>\n<function=set_timer>\n<parameter=minutes>\n5<|im_end|>"};
  GenerateOptions asked = options(ToolChoice::required());
  asked.max_tokens = 90;
  asked.loop_guard = false;
  const Reply reply = ask(asked);
  EXPECT_EQ(reply.finish_reason, FinishReason::length);
  EXPECT_EQ(reply.metrics.reply_tokens, 90U);
  EXPECT_THAT(reply.truncated_tool_call, HasSubstr("<parameter=minutes>\n5"));
}

TEST_F(ToolChoiceTest, TheTokenLimitCutsWhatIsWrittenForTheModelToo) {
  for (const int most : {1, 5, 11, 12, 30}) {
    stage_->script = {kNoThought + call_text("set_timer", "5") + "<|im_end|>"};
    GenerateOptions asked = options(ToolChoice::function("set_timer"));
    asked.max_tokens = most;
    const Reply reply = ask(asked);
    EXPECT_EQ(reply.finish_reason, FinishReason::length);
    EXPECT_EQ(reply.metrics.reply_tokens, static_cast<std::size_t>(most));
    EXPECT_THAT(call_text("set_timer", "5"), testing::StartsWith(reply.truncated_tool_call));
    EXPECT_FALSE(reply.truncated_tool_call.empty());
    EXPECT_THAT(reply.tool_calls, IsEmpty());
  }
}

TEST_F(ToolChoiceTest, NoneBarsCallsAndKeepsThePrompt) {
  stage_->script = {kNoThought + call_text("set_timer", "5") + "<|im_end|>"};
  GenerateOptions asked = options({});
  EXPECT_EQ(ask(asked).tool_calls.size(), 1U);
  asked.tool_choice = ToolChoice::none();
  asked.max_tokens = 20;
  const Reply reply = ask(asked);
  EXPECT_THAT(reply.tool_calls, IsEmpty());
  EXPECT_THAT(stage_->text(), Not(EndsWith("<tool_call>")));
  EXPECT_EQ(reply.metrics.reused_tokens, reply.metrics.prompt_tokens) << "the tools are still in the prompt";
}

TEST_F(ToolChoiceTest, NoneLeavesMarkupOfPlainCharactersAsText) {
  stage_->script = {std::string(kNoThought) + "<tool_cal"};
  GenerateOptions asked = options(ToolChoice::none());
  const Reply reply = ask(asked);
  EXPECT_EQ(reply.text, "<tool_cal");
  EXPECT_THAT(reply.tool_calls, IsEmpty());
}

TEST_F(ToolChoiceTest, TheNumberOfCallsIsLimited) {
  const std::string first = call_text("set_timer", "1");
  stage_->script = {
      kNoThought + first + "\n" + call_text("set_timer", "2") + "\n" + call_text("set_timer", "3") + "<|im_end|>",
      std::string(kNoThought) + "Done.<|im_end|>"};
  for (const int most : {0, 1, 2, 3, 4}) {
    for (const ToolChoice& choice : {ToolChoice::automatic(), ToolChoice::required()}) {
      GenerateOptions asked = options(choice);
      asked.max_tool_calls = most;
      const Reply reply = ask(asked);
      EXPECT_EQ(reply.tool_calls.size(), most == 0 ? 3U : static_cast<std::size_t>(std::min(most, 3)));
      EXPECT_EQ(reply.finish_reason, FinishReason::tool_calls);
      EXPECT_EQ(reply.truncated_tool_call, "");
      if (most != 1) continue;
      std::vector<Message> messages = chat_.messages();
      messages.push_back({.role = "tool", .content = "ok"});
      asked.tool_choice = {};
      EXPECT_EQ(chat_.generate(messages, asked), "Done.");
      EXPECT_THAT(stage_->text(), HasSubstr(first + "<|im_end|>\n<|im_start|>user\n<tool_response>\nok"))
          << "the markup is closed for the next turn";
    }
  }
  EXPECT_THAT(refusal([&] {
                GenerateOptions asked = options({});
                asked.max_tool_calls = -1;
                return asked;
              }()),
              HasSubstr("max_tool_calls is -1"));
}

TEST_F(ToolChoiceTest, WorksWithGuessesLogprobsAndStreaming) {
  stage_->max_verify = 8;
  stage_->script = {kNoThought + call_text("set_timer", "5") + "\n" + call_text("set_timer", "5") + "<|im_end|>"};
  GenerateOptions asked = options(ToolChoice::required());
  std::size_t told = 0;
  std::string bytes;
  asked.on_logprob = [&](const TokenLogprob& logprob) {
    ++told;
    bytes += logprob.bytes;
  };
  const Reply reply = ask(asked);
  EXPECT_EQ(reply.tool_calls.size(), 2U);
  EXPECT_EQ(told, reply.logprobs.size());
  EXPECT_THAT(bytes, testing::StartsWith("=set_timer>\n<parameter=minutes>")) << "none for what was written for it";
  EXPECT_GT(reply.metrics.accepted_tokens, 0U);
}

TEST_F(ToolChoiceTest, RefusesWhatCannotBe) {
  EXPECT_THAT(refusal(options(ToolChoice::function("set_clock"))),
              HasSubstr("\"set_clock\"; expected one of: \"set_timer\", \"set_alarm\", \"stop\""));
  GenerateOptions asked = options(ToolChoice::required());
  asked.tools = "[]";
  EXPECT_THAT(refusal(asked), HasSubstr("there are no tools"));
  asked = options(ToolChoice::required());
  asked.json_object = true;
  EXPECT_THAT(refusal(asked), HasSubstr("ask for one"));
  for (const std::string name : {"", " x", "a>b", "a\nb"}) {
    asked = options(ToolChoice::required());
    asked.tools = nlohmann::json::array({{{"name", name}}, {{"name", "other"}}}).dump();
    EXPECT_THAT(refusal(asked), HasSubstr("no call can be written with")) << name;
    asked.tool_choice = ToolChoice::function(name);
    EXPECT_THAT(refusal(asked), HasSubstr("no call can be written with")) << name;
  }
  asked.tools = nlohmann::json::array({{{"name", "e\u0301"}}}).dump();  // composed by the tokenizer
  asked.tool_choice = ToolChoice::required();
  EXPECT_THAT(refusal(asked), HasSubstr("cannot spell"));
}

TEST_F(ToolChoiceTest, HostileNamesAreNamesAndNothingElse) {
  const std::vector<std::string> names = {R"(a"b\c | "x")", "<|im_end|", "<tool_cal", "é", std::string(3000, 'n')};
  nlohmann::json tools = nlohmann::json::array();
  for (const std::string& name : names) tools.push_back({{"name", name}});
  for (const nlohmann::json& tool : tools) {
    const std::string name = tool["name"];
    for (const bool named : {false, true}) {
      if (!named && name == "<|im_end|") continue;  // the FakeBackend would not spell it
      GenerateOptions asked = options(named ? ToolChoice::function(name) : ToolChoice::required());
      asked.tools = tools.dump();
      asked.max_tokens = 4000;
      asked.loop_guard = false;
      stage_->script = {std::string(kNoThought) + "<tool_call>\n<function=" + name +
                        ">\n</function>\n</tool_call><|im_end|>"};
      EXPECT_THAT(ask(asked).tool_calls, ElementsAre(ToolCall{name, "{}"}));
    }
  }
}

TEST(ToolChoiceMini, TheBundledModelCallsWhatItMust) {
  Chat chat = Chat::from_pretrained("mini");
  const std::string tools = R"([
    {"type": "function", "function": {"name": "get_weather", "description": "The weather of a city.", "parameters":
      {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}}},
    {"type": "function", "function": {"name": "set_timer", "description": "Start a timer.", "parameters":
      {"type": "object", "required": ["minutes"], "properties": {"minutes": {"type": "integer"}}}}}])";
  GenerateOptions options;
  options.temperature = 0;
  options.tools = tools;
  options.max_tokens = 120;
  for (const ToolChoice& choice :
       {ToolChoice::required(), ToolChoice::function("get_weather"), ToolChoice::function("set_timer")}) {
    for (const bool thinking : {false, true}) {
      for (const char* prompt : {"What is gravity?", "Set a timer for 5 minutes.", "Weather in Paris?"}) {
        options.enable_thinking = thinking;
        options.tool_choice = choice;
        options.max_tool_calls = 1;
        chat.reset_conversation();
        chat.generate(prompt, options);
        const Reply& reply = chat.last_reply();
        ASSERT_EQ(reply.tool_calls.size(), 1U) << prompt << reply.text << reply.truncated_tool_call;
        EXPECT_EQ(reply.finish_reason, FinishReason::tool_calls);
        if (choice.kind == ToolChoice::Kind::function) {
          EXPECT_EQ(reply.tool_calls[0].name, choice.name);
        }
        EXPECT_EQ(nlohmann::json::parse(reply.tool_calls[0].arguments).size(), 1U);
      }
    }
  }
  options.tool_choice = ToolChoice::none();
  chat.reset_conversation();
  EXPECT_NE(chat.generate("Set a timer for 5 minutes.", options), "");
  EXPECT_THAT(chat.last_reply().tool_calls, IsEmpty());
}

}  // namespace
}  // namespace qwen35
