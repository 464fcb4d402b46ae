// The adapter for speech-core: one final call in every case, cancels that hit what they mean, heard words only.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/speech_core.h>

#include <stdexcept>
#include <thread>

#include "chat/fakes.h"

namespace qwen35 {
namespace {

using speech_core::MessageRole;
using testing_doubles::greedy;
using testing_doubles::make_chat;
using testing_doubles::Stage;
using Messages = std::vector<speech_core::Message>;

/// What a pipeline sees of one reply.
struct Calls {
  std::string text;
  int finals = 0;
  int after_final = 0;
  speech_core::LLMTokenCallback callback() {
    return [this](const std::string& token, bool is_final) {
      if (finals > 0) ++after_final;
      text += token;
      if (is_final) ++finals;
    };
  }
};

class SpeechCore : public testing::Test {
 protected:
  void script(const std::vector<std::string>& replies) {
    stage->script.clear();
    for (const std::string& reply : replies) stage->script.push_back("<think>\n\n</think>\n\n" + reply + "<|im_end|>");
  }
  std::string say(const Messages& messages, const std::string& expected_text) {
    Calls calls;
    const speech_core::LLMResponse response = llm().chat(messages, calls.callback());
    EXPECT_EQ(calls.finals, 1);
    EXPECT_EQ(calls.after_final, 0);
    EXPECT_EQ(calls.text, response.text);
    EXPECT_EQ(response.text, expected_text);
    return response.text;
  }
  SpeechCoreLlm& llm() {
    if (!llm_) llm_.emplace(make_chat(stage), greedy());
    return *llm_;
  }

  std::shared_ptr<Stage> stage = std::make_shared<Stage>();
  std::optional<SpeechCoreLlm> llm_;
};

TEST_F(SpeechCore, StreamsAReplyAndRemembersIt) {
  script({"Hello Anna.", "You are Anna."});
  Messages messages = {{MessageRole::System, "Be brief."}, {MessageRole::User, "I am Anna."}};
  messages.push_back({MessageRole::Assistant, say(messages, "Hello Anna.")});
  messages.push_back({MessageRole::User, "Who am I?"});
  say(messages, "You are Anna.");
  EXPECT_THAT(stage->text(), testing::HasSubstr("Be brief."));
  EXPECT_GT(llm().conversation().last_reply().metrics.reused_tokens, 20U);
}

TEST_F(SpeechCore, AnEmptyReplyEndsOnceToo) {
  script({""});
  llm_.emplace(make_chat(stage), [] {
    GenerateOptions options = greedy();
    options.allow_empty = true;
    return options;
  }());
  say({{MessageRole::User, "Hm."}}, "");
}

TEST_F(SpeechCore, ACallbackIsOptional) {
  script({"Yes."});
  EXPECT_EQ(llm().chat({{MessageRole::User, "Well?"}}, nullptr).text, "Yes.");
}

TEST_F(SpeechCore, CancelFromAnotherThreadKeepsWhatThereWas) {
  script({"One two three four five six seven.", "Fine."});
  std::size_t passes = 0;
  stage->on_forward = [&] {
    if (++passes == 6) std::thread([this] { llm().cancel(); }).join();
  };
  Calls calls;
  const auto response = llm().chat({{MessageRole::User, "Count."}}, calls.callback());
  EXPECT_EQ(calls.finals, 1);
  EXPECT_EQ(calls.after_final, 0);
  EXPECT_LT(response.text.size(), 8U);
  EXPECT_EQ(response.text, calls.text);
  stage->on_forward = [] {};
  llm().chat({{MessageRole::User, "Count."}, {MessageRole::User, "And now?"}}, calls.callback());
  EXPECT_EQ(llm().conversation().last_reply().finish_reason, FinishReason::stop);
}

TEST_F(SpeechCore, ACancelJustAheadIsNotLost) {
  script({"Never said.", "Said."});
  llm().cancel();
  Calls calls;
  EXPECT_EQ(llm().chat({{MessageRole::User, "One."}}, calls.callback()).text, "");
  EXPECT_EQ(calls.finals, 1);
  EXPECT_EQ(llm().conversation().last_reply().finish_reason, FinishReason::cancelled);
}

TEST_F(SpeechCore, ACancelOfWhatIsBeingSpokenDoesNotCostTheNextReply) {
  script({"A long story.", "Another."});
  Messages messages = {{MessageRole::User, "Tell."}};
  messages.push_back({MessageRole::Assistant, say(messages, "A long story.")});
  llm().cancel();  // the pipeline: its user interrupts the voice
  messages.push_back({MessageRole::User, "Stop. Another."});
  say(messages, "Another.");
  messages.push_back({MessageRole::Assistant, "Another."});
  messages.push_back({MessageRole::User, "More."});
  llm().begin_turn();
  llm().cancel();  // now it means the reply to come
  Calls calls;
  EXPECT_EQ(llm().chat(messages, calls.callback()).text, "");
  EXPECT_EQ(calls.finals, 1);
}

TEST_F(SpeechCore, ErrorsComeAfterTheFinalCall) {
  Calls calls;
  EXPECT_THROW(llm().chat({}, calls.callback()), Error);
  EXPECT_EQ(calls.finals, 1);
  stage->on_forward = [] { throw std::runtime_error("the backend broke"); };
  EXPECT_THROW(llm().chat({{MessageRole::User, "Hello"}}, calls.callback()), std::runtime_error);
  EXPECT_EQ(calls.finals, 2);
}

TEST_F(SpeechCore, AnExceptionOfTheCallbackPassesThrough) {
  script({"One two three."});
  int finals = 0;
  const auto callback = [&finals](const std::string&, bool is_final) {
    if (is_final) {
      ++finals;
    } else {
      throw std::logic_error("the player broke");
    }
  };
  EXPECT_THROW(llm().chat({{MessageRole::User, "Count."}}, callback), std::logic_error);
  EXPECT_EQ(finals, 1);
  EXPECT_THROW(
      llm().chat({{MessageRole::User, "Count."}}, [](const std::string&, bool) { throw std::logic_error("x"); }),
      std::logic_error);
}

TEST_F(SpeechCore, TheModelSeesOnlyWhatWasHeard) {
  script({"One two three four.", "Four.", "One two three four."});
  Messages messages = {{MessageRole::User, "Count."}};
  messages.push_back({MessageRole::Assistant, say(messages, "One two three four.")});
  EXPECT_THROW(llm().heard("Two"), Error);
  llm().heard("One two");
  messages.push_back({MessageRole::User, "What comes next?"});
  say(messages, "Four.");
  EXPECT_THAT(stage->text(), testing::HasSubstr("assistant\n<think>\n\n</think>\n\nOne two<|im_end|>"));
  EXPECT_THAT(stage->text(), testing::Not(testing::HasSubstr("three")));
  EXPECT_GT(llm().conversation().last_reply().metrics.reused_tokens, 0U);
  // A later reply of the same words that was heard whole stays whole.
  messages.push_back({MessageRole::Assistant, "Four."});
  messages.push_back({MessageRole::User, "Count again."});
  messages.push_back({MessageRole::Assistant, say(messages, "One two three four.")});
  messages.push_back({MessageRole::User, "Thanks."});
  llm().chat(messages, nullptr);
  EXPECT_EQ(llm().conversation().messages()[1].content, "One two");
  EXPECT_EQ(llm().conversation().messages()[5].content, "One two three four.");
}

TEST_F(SpeechCore, NothingHeardIsNoReply) {
  script({"One two three four.", "Fine."});
  Messages messages = {{MessageRole::User, "Count."}};
  messages.push_back({MessageRole::Assistant, say(messages, "One two three four.")});
  EXPECT_EQ(llm().heard_share(0.1), "");
  messages.push_back({MessageRole::User, "No, wait."});
  llm().chat(messages, nullptr);
  ASSERT_EQ(llm().conversation().messages().size(), 3U);
  EXPECT_EQ(llm().conversation().messages()[1].content, "No, wait.");
}

TEST_F(SpeechCore, SharesAreWholeWords) {
  script({"One two three four."});
  say({{MessageRole::User, "Count."}}, "One two three four.");
  EXPECT_EQ(llm().heard_share(1), "One two three four.");
  EXPECT_EQ(llm().heard_share(0.5), "One two");
  EXPECT_EQ(llm().heard_share(7.0 / 19), "One two");
  EXPECT_EQ(llm().heard_share(-1), "");
  EXPECT_EQ(llm().heard_share(9), "One two three four.");
}

TEST_F(SpeechCore, ToolsAreOfferedCalledAndAnswered) {
  const std::string call = "<tool_call>\n<function=tell_time>\n</function>\n</tool_call>";
  script({call, "It is ten.", "You are welcome."});
  speech_core::ToolDefinition tool;
  tool.name = "tell_time";
  tool.description = "Say \"what\ntime\" it is";
  llm().set_tools({tool});
  Messages messages = {{MessageRole::User, "What time is it?"}};
  Calls calls;
  const auto response = llm().chat(messages, calls.callback());
  EXPECT_EQ(calls.finals, 1);
  ASSERT_EQ(response.tool_calls.size(), 1U);
  EXPECT_EQ(response.tool_calls[0].name, "tell_time");
  EXPECT_EQ(response.tool_calls[0].arguments, "{}");
  messages.push_back({MessageRole::Tool, "[tell_time] 10:00"});
  say(messages, "It is ten.");
  EXPECT_THAT(stage->text(), testing::HasSubstr("<tool_response>\n10:00\n</tool_response>"));
  EXPECT_THAT(stage->text(), testing::HasSubstr("Say \\\"what\\ntime\\\" it is"));
  const std::size_t before = stage->history.size();
  messages.push_back({MessageRole::Assistant, "It is ten."});
  messages.push_back({MessageRole::User, "Thanks."});
  say(messages, "You are welcome.");
  EXPECT_GE(llm().conversation().last_reply().metrics.reused_tokens + 1, before);
  llm().set_tools({});
  llm().chat({{MessageRole::User, "Again."}}, nullptr);
  EXPECT_THAT(stage->text(), testing::Not(testing::HasSubstr("what\\ntime")));
}

}  // namespace
}  // namespace qwen35
