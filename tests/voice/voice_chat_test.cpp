// VoiceChat: sentences while the reply is made, interruptions that leave only what was heard, early prefill.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/voice.h>

#include <latch>
#include <stdexcept>
#include <thread>

#include "chat/fakes.h"

namespace qwen35 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing_doubles::greedy;
using testing_doubles::make_chat;
using testing_doubles::Stage;

class Voice : public testing::Test {
 protected:
  VoiceChat& voice() {
    if (!voice_) {
      options.generate = greedy();
      voice_.emplace(make_chat(stage), options);
    }
    return *voice_;
  }
  /// What the model says in each turn.
  void script(const std::vector<std::string>& replies) {
    stage->script.clear();
    for (const std::string& reply : replies) stage->script.push_back("<think>\n\n</think>\n\n" + reply + "<|im_end|>");
  }
  /// Replies and plays every sentence at once.
  VoiceReply play(const std::string& prompt) {
    said.clear();
    return voice().reply(prompt, [this](const Sentence& sentence) {
      said.push_back(sentence.text);
      voice().spoken(said.size());
      return true;
    });
  }
  std::vector<std::string> contents() {
    std::vector<std::string> out;
    for (const Message& message : voice().chat().messages()) out.push_back(message.content);
    return out;
  }

  std::shared_ptr<Stage> stage = std::make_shared<Stage>();
  VoiceOptions options;
  std::optional<VoiceChat> voice_;
  std::vector<std::string> said;
};

TEST_F(Voice, HandsOutSentencesWhileTheReplyIsMade) {
  script({"Rain is water. It **falls** from clouds! 😀"});
  std::vector<std::size_t> passes;
  const VoiceReply reply = voice().reply("What is rain?", [&](const Sentence& sentence) {
    said.push_back(sentence.text);
    passes.push_back(stage->passes.size());
    return true;
  });
  EXPECT_THAT(said, ElementsAre("Rain is water.", "It falls from clouds!"));
  EXPECT_LT(passes[0], passes[1]);
  EXPECT_EQ(reply.reply.text, "Rain is water. It **falls** from clouds! 😀");
  EXPECT_EQ(reply.heard, reply.reply.text);
  EXPECT_FALSE(reply.interrupted);
  EXPECT_EQ(reply.metrics.sentences, 2U);
  EXPECT_GT(reply.metrics.first_sentence_ms, reply.metrics.first_token_ms);
}

TEST_F(Voice, ACallbackThatSaysNoInterrupts) {
  script({"One two three. Four five six. Seven eight nine.", "Ten."});
  const VoiceReply reply = voice().reply("Count.", [&](const Sentence& sentence) {
    said.push_back(sentence.text);
    if (said.size() == 1) {
      voice().spoken(1);
      return true;
    }
    voice().spoken(1, 9);  // "Four five"
    return false;
  });
  EXPECT_TRUE(reply.interrupted);
  EXPECT_EQ(reply.reply.finish_reason, FinishReason::cancelled);
  EXPECT_EQ(reply.heard, "One two three. Four five");
  EXPECT_THAT(contents(), ElementsAre("Count.", "One two three. Four five"));
  play("Go on.");
  EXPECT_THAT(stage->text(), HasSubstr("One two three. Four five<|im_end|>"));
  EXPECT_THAT(stage->text(), Not(HasSubstr("six")));
}

TEST_F(Voice, InterruptFromAnotherThreadStopsTheReply) {
  script({"One two three. Four five six. Seven eight nine. Ten eleven twelve.", "Fine."});
  std::thread other;
  const VoiceReply reply = voice().reply("Count.", [&](const Sentence&) {
    voice().spoken(1);
    if (!other.joinable()) {
      other = std::thread([&] { voice().interrupt(); });
      other.join();
    }
    return true;
  });
  EXPECT_TRUE(reply.interrupted);
  EXPECT_EQ(reply.heard, "One two three.");
  EXPECT_THAT(stage->text(), Not(HasSubstr("Seven")));
  EXPECT_THAT(contents(), ElementsAre("Count.", "One two three."));
}

TEST_F(Voice, InterruptDuringPrefillLeavesNoReply) {
  script({"Never.", "Yes."});
  stage->on_forward = [&] { voice().interrupt(); };
  const VoiceReply reply = play("Hello?");
  EXPECT_TRUE(reply.interrupted);
  EXPECT_EQ(reply.heard, "");
  EXPECT_THAT(said, ElementsAre());
  EXPECT_THAT(contents(), Not(testing::Contains("Never.")));
  stage->on_forward = [] {};
  EXPECT_FALSE(play("Are you there?").interrupted);
}

TEST_F(Voice, InterruptWhileThePlayerIsBehindCutsTheHistory) {
  script({"One two three. Four five six.", "Fine.", "Good."});
  voice().reply("Count.", [](const Sentence&) { return true; });
  voice().spoken(1);
  EXPECT_EQ(voice().heard(), "One two three.");
  voice().interrupt();
  EXPECT_THAT(contents(), ElementsAre("Count.", "One two three."));
  play("And?");
  voice().interrupt();  // all of it was heard
  EXPECT_THAT(contents(), ElementsAre("Count.", "One two three.", "And?", "Fine."));
  play("So?");
  voice().interrupt("Go");
  EXPECT_EQ(contents().back(), "Go");
  EXPECT_THROW(voice().interrupt("Other words"), Error);
}

TEST_F(Voice, NothingHeardIsNoReply) {
  script({"One two three.", "Fine."});
  voice().reply("Count.", [](const Sentence&) { return true; });
  voice().interrupt();
  EXPECT_THAT(contents(), ElementsAre("Count."));
}

TEST_F(Voice, AnInterruptionHitsOneReply) {
  script({"One.", "Two.", "Three."});
  play("A");
  voice().interrupt();
  EXPECT_FALSE(play("B").interrupted);
  EXPECT_THAT(said, ElementsAre("Two."));
}

TEST_F(Voice, PartialTranscriptsAreComputedAhead) {
  script({"Paris.", "Rome."});
  play("What is the capital of France?");
  const std::vector<std::string> before = contents();
  voice().partial("what is the cat");
  voice().partial("what is the capital of");
  voice().partial("what is the capital of Italy");
  voice().partial("");
  EXPECT_EQ(contents(), before);
  stage->clear_counts();
  play("what is the capital of Italy");
  EXPECT_THAT(said, ElementsAre("Rome."));
  EXPECT_LT(stage->passes.front(), 45U);  // without it: the whole turn, more than 60 bytes
  const std::string ahead = stage->text();
  // The same conversation without any partial transcripts.
  const auto plain = std::make_shared<Stage>();
  plain->script = stage->script;
  Chat chat = make_chat(plain);
  chat.generate("What is the capital of France?", greedy());
  chat.generate("what is the capital of Italy", greedy());
  EXPECT_EQ(ahead, plain->text());
}

TEST_F(Voice, AnExceptionOfTheCallbackDropsTheTurn) {
  script({"One two three. Four.", "Fine."});
  EXPECT_THROW(voice().reply("Count.", [](const Sentence&) -> bool { throw std::runtime_error("player"); }),
               std::runtime_error);
  EXPECT_THAT(contents(), ElementsAre());
  script({"Fine."});
  EXPECT_FALSE(play("Again.").interrupted);
  EXPECT_THAT(said, ElementsAre("Fine."));
}

TEST_F(Voice, ASmallBudgetUnloadsTheModelWhileTheVoiceSpeaks) {
  script({"One two three. Four.", "Fine five six. Seven."});
  options.memory_budget = 1;
  std::vector<int> alive;
  const auto look = [&](const Sentence&) {
    alive.push_back(stage->alive);
    return true;
  };
  voice().reply("Count.", look);
  EXPECT_THAT(alive, ElementsAre(0, 0));
  EXPECT_FALSE(voice().chat().is_loaded());
  voice().spoken(1);
  voice().interrupt();
  EXPECT_THAT(contents(), ElementsAre("Count.", "One two three."));
  stage->clear_counts();
  voice().reply("Go on.", look);
  EXPECT_THAT(alive, ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(stage->text(), HasSubstr("One two three.<|im_end|>"));
  EXPECT_EQ(contents().back(), "Fine five six. Seven.");
}

}  // namespace
}  // namespace qwen35
