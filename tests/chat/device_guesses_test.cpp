// Guesses verified by a backend that chooses tokens itself: replies are those without guesses, wherever they were
// wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/chat.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "chat/batcher.h"
#include "chat/checkpoints.h"
#include "chat/fakes.h"
#include "chat/session.h"
#include "sampling/sampler.h"

namespace qwen35 {
namespace {

using testing_doubles::greedy;
using testing_doubles::make_chat;
using testing_doubles::Stage;

/// What came of some turns.
struct Outcome {
  std::vector<std::string> replies;
  std::vector<TokenId> history;
  std::vector<std::size_t> passes;
  std::set<std::pair<std::size_t, std::size_t>> cuts;
  std::size_t drafted = 0;
  std::size_t accepted = 0;
  std::size_t guessed = 0;
};

Outcome talk(const std::vector<std::string>& script, const GenerateOptions& options, bool samples,
             std::size_t max_verify) {
  auto stage = std::make_shared<Stage>();
  stage->script = script;
  stage->samples = samples;
  stage->max_verify = max_verify;
  Chat chat = make_chat(stage);
  Outcome outcome;
  for (std::size_t turn = 0; turn < script.size(); ++turn) {
    const Reply reply = chat.stream("Go on", options, {});
    outcome.replies.push_back(reply.thinking + "|" + reply.text + "|" + reply.truncated_tool_call + "|" +
                              std::to_string(static_cast<int>(reply.finish_reason)) + "|" +
                              std::to_string(reply.metrics.reply_tokens));
    for (const ToolCall& call : reply.tool_calls) outcome.replies.back() += "|" + call.name + call.arguments;
    outcome.drafted += reply.metrics.drafted_tokens;
    outcome.accepted += reply.metrics.accepted_tokens;
  }
  outcome.history = stage->history;
  outcome.passes = stage->passes;
  outcome.cuts = stage->cuts;
  outcome.guessed = stage->guessed;
  return outcome;
}

/// The same turns without guesses, with guesses checked by logits, and by tokens that the backend chose.
Outcome expect_same(const std::vector<std::string>& script, const GenerateOptions& options, std::size_t max_verify) {
  const Outcome plain = talk(script, options, false, 1);
  const Outcome host = talk(script, options, false, max_verify);
  Outcome device = talk(script, options, true, max_verify);
  EXPECT_EQ(plain.drafted, 0U);
  EXPECT_EQ(host.guessed, 0U);
  EXPECT_EQ(host.replies, plain.replies);
  EXPECT_EQ(device.replies, plain.replies);
  EXPECT_EQ(device.history, plain.history);
  return device;
}

/// Says much the same again and again, and stops at some place to say something else.
std::string rambling(std::mt19937& engine) {
  const std::string phrase = "the quick brown fox jumps over it. ";
  std::string text;
  for (int i = 0; i < 12; ++i) {
    text += phrase.substr(0, 1 + engine() % phrase.size());
    if (engine() % 2 == 0) text += static_cast<char>('a' + engine() % 26);
    if (engine() % 3 == 0) text += phrase;
  }
  return text;
}

TEST(DeviceGuesses, ChangeNoReplyWhereverTheyAreWrong) {
  std::mt19937 engine(11);
  const auto real = [&](float low, float high) { return std::uniform_real_distribution<float>(low, high)(engine); };
  std::set<std::pair<std::size_t, std::size_t>> cuts;
  std::size_t guessed = 0;
  std::size_t accepted = 0;
  for (int round = 0; round < 60; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    GenerateOptions options = greedy(round % 2 == 0);
    if (round % 3 != 0) options.temperature = round % 3 == 1 ? 1 : real(1, 8);
    options.top_k = static_cast<int>(1 + engine() % 80);
    options.top_p = round % 4 == 0 ? 1 : real(0.3F, 1);
    options.min_p = round % 5 == 0 ? real(0, 0.2F) : 0;
    options.repetition_penalty = round % 4 == 1 ? real(0.9F, 1.3F) : 1;
    options.repetition_window = static_cast<int>(engine() % 40);
    options.presence_penalty = round % 4 == 2 ? real(-1, 2) : 0;
    options.frequency_penalty = round % 4 == 3 ? real(-1, 0.5F) : 0;
    options.no_repeat_ngram = round % 6 == 5 ? static_cast<int>(6 + engine() % 30) : 0;
    options.max_thinking_tokens = static_cast<int>(engine() % 200);
    options.max_tokens = static_cast<int>(1 + engine() % 300);
    options.seed = engine();
    if (round % 7 == 0) options.stop = {"fox j"};
    std::vector<std::string> script;
    for (int turn = 0; turn < 3; ++turn) {
      const std::string thought = options.enable_thinking ? rambling(engine) : "";
      script.push_back("<think>\n" + thought + "\n</think>\n\n" + rambling(engine) + "<|im_end|>");
    }
    const Outcome outcome = expect_same(script, options, 2 + engine() % 7);
    cuts.insert(outcome.cuts.begin(), outcome.cuts.end());
    guessed += outcome.guessed;
    accepted += outcome.accepted;
  }
  EXPECT_GT(guessed, 500U);
  EXPECT_GT(accepted, 1000U);
  for (std::size_t kept = 1; kept < 8; ++kept) EXPECT_TRUE(cuts.contains({8, kept})) << kept;
}

constexpr const char* kTools = R"([{"type": "function", "function": {"name": "say", "parameters": {"type": "object",
  "required": ["what"], "properties": {"what": {"type": "string"}}}}}])";

// The guesses lead out of the thinking, into a call and to its end: what may come changes on the way.
TEST(DeviceGuesses, MayCrossWhatChangesTheRules) {
  std::size_t accepted = 0;
  for (int round = 0; round < 48; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    GenerateOptions options = greedy(round % 2 == 0);
    options.temperature = round % 4 < 2 ? 0 : 1.5F;
    options.seed = 2;
    options.tools = kTools;
    const bool required = round % 3 == 0;
    if (required) options.tool_choice = ToolChoice::required();
    if (round % 3 == 1) options.tool_choice = ToolChoice::none();
    options.logprobs = round % 8 == 7;
    // Of several lengths, so that passes begin and end anywhere in it.
    const std::string value = std::string("abcdefghijklmnopqrstuvwxyz").substr(0, static_cast<std::size_t>(round) / 2);
    const std::string call = "<tool_call>\n<function=say>\n<parameter=what>\n" + value + "\n</parameter>\n</function>";
    // A reply that must begin with a call may end behind it, which is not foreseen. Here it does so at once.
    const std::string end = "\n</tool_call>";
    const std::string said = required ? call : "Well, as I said. " + call + end + "\n" + call + end;
    const std::string turn = "<think>\nI think that I know it\n</think>\n\n" + said + "<|im_end|>";
    const Outcome outcome = expect_same({turn, turn, turn, turn}, options, 8);
    EXPECT_GE(outcome.guessed, options.logprobs ? 0U : 1U);
    accepted += outcome.accepted;
  }
  EXPECT_GT(accepted, 500U);
}

/// A reply by a real model, token by token and by passes that verify guesses.
class RealGuesses : public testing::Test {
 protected:
  RealGuesses()
      : backend_(
            make_backend(load_weights(std::filesystem::path(QWEN35_TEST_DATA) / "reference" / "tiny"), {.threads = 2})),
        batcher_(*backend_) {
    for (TokenId id = 0; id < 40; ++id) prompt_.push_back(3 * id % 17);
  }

  /// What is to be sampled behind `tokens` of which the last `reply` are the reply's.
  SampleRequest request(const Sampler& sampler, std::span<const TokenId> tokens, std::size_t reply) {
    SampleRequest request = sampler.request();
    request.vocabulary = backend_->config().vocab_size;
    request.history = tokens;
    request.generated = tokens.last(reply);
    return request;
  }

  /// The prompt and a reply of `count` tokens; the generator behind each of them.
  std::pair<std::vector<TokenId>, std::vector<RandomState>> plain(const SamplerOptions& options, std::size_t count) {
    Session session(*backend_, batcher_, checkpoints_);
    Sampler sampler(options);
    std::vector<TokenId> tokens = prompt_;
    std::vector<RandomState> generators;
    // The last token of the prompt by itself: as guesses begin with a token that is fed with them.
    EXPECT_TRUE(session.feed(std::span(tokens).first(tokens.size() - 1), {}));
    while (tokens.size() < prompt_.size() + count) {
      EXPECT_TRUE(session.feed(std::span(tokens).subspan(session.position()), {}));
      session.spoil_logits();
      SampleRequest next = request(sampler, tokens, tokens.size() - prompt_.size());
      Sampler::answer(next, session.logits());
      tokens.push_back(sampler.take(next));
      generators.push_back(next.random);
    }
    return {tokens, generators};
  }

  std::unique_ptr<Backend> backend_;
  Batcher batcher_;
  Checkpoints checkpoints_{0};
  std::vector<TokenId> prompt_;
};

TEST_F(RealGuesses, TokensAndGeneratorAreThoseWithoutThem) {
  constexpr std::size_t kTokens = 130;
  const SamplerOptions ways[] = {
      {.temperature = 0, .repetition_penalty = 1.2F},
      {.temperature = 1.3F, .top_k = 200, .top_p = 1, .repetition_penalty = 1, .seed = 4},
      {.temperature = 2, .top_k = 40, .repetition_penalty = 1.1F, .repetition_window = 9, .seed = 5, .min_p = 0.02F},
      {.temperature = 0.9F, .top_k = 90, .seed = 6, .presence_penalty = 0.5F, .frequency_penalty = 0.3F}};
  for (const SamplerOptions& options : ways) {
    SCOPED_TRACE("temperature " + std::to_string(options.temperature));
    const auto [tokens, generators] = plain(options, kTokens);
    Session session(*backend_, batcher_, checkpoints_);
    Sampler sampler(options);
    std::size_t done = prompt_.size();  // tokens that are certain
    ASSERT_TRUE(session.feed(std::span(tokens).first(done - 1), {}));
    std::size_t count = 1;
    std::size_t right = 0;
    while (done + backend_->max_verify() < tokens.size()) {
      if (++right > count) {  // every length of a pass, wrong from every place on and all right
        count = count % backend_->max_verify() + 1;
        right = 1;
      }
      std::vector<TokenId> fed(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(done + count - 1));
      for (std::size_t i = right; i < count; ++i) fed[done - 1 + i] = (fed[done - 1 + i] + 1) % 512;
      std::vector<SampleRequest> requests;
      for (std::size_t i = 0; i < count; ++i) {
        requests.push_back(request(sampler, std::span(fed).first(done + i), done + i - prompt_.size()));
        if (i > 0) requests.back().random = {7, 7, 7, i};
      }
      ASSERT_TRUE(session.verify(std::span(fed).subspan(done - 1), {}, requests));
      for (std::size_t i = 0; i < right; ++i) {
        ASSERT_EQ(sampler.take(requests[i]), tokens[done + i]) << "row " << i << " of " << count;
        ASSERT_EQ(sampler.request().random, generators[done + i - prompt_.size()]) << "row " << i << " of " << count;
      }
      session.keep(right);
      done += right;
      ASSERT_EQ(session.position() + 1, done);
    }
  }
}

}  // namespace
}  // namespace qwen35
