// Backends that choose tokens themselves: replies are those of logits that come back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/chat.h>
#include <qwen35/error.h>

#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <thread>
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

constexpr const char* kTools = R"([{"type": "function", "function": {"name": "stop"}}])";

/// What came of some turns.
struct Outcome {
  std::vector<std::string> replies;
  std::vector<TokenId> history;
  std::vector<std::size_t> passes;
  std::size_t sampled = 0;
  std::size_t guessed = 0;   ///< verification passes with the choice of tokens
  std::size_t drafted = 0;   ///< guesses made
  std::size_t accepted = 0;  ///< of which so many were right
  std::size_t tokens = 0;
};

/// Three turns, one of them regenerated, with a backend that samples or one that does not.
Outcome talk(const GenerateOptions& options, bool samples, std::size_t max_verify = 1, int cancel_after = 0) {
  auto stage = std::make_shared<Stage>();
  stage->samples = samples;
  stage->max_verify = max_verify;
  const std::string thought =
      options.enable_thinking ? "<think>\nsome thoughts, some thoughts, some\n</think>\n\n" : "<think>\n\n</think>\n\n";
  stage->script = {thought + "the first answer, the first answer, the first<|im_end|>",
                   thought + "a second one<|im_end|>", thought + "and a third, and a third<|im_end|>"};
  Chat chat = make_chat(stage);
  Outcome outcome;
  const auto note = [&](const Reply& reply) {
    outcome.replies.push_back(
        reply.thinking + "|" + reply.text + "|" + reply.truncated_tool_call + "|" +
        std::to_string(static_cast<int>(reply.finish_reason)) + "|" + std::to_string(reply.tool_calls.size()) + "|" +
        std::to_string(reply.metrics.reused_tokens) + "|" + std::to_string(reply.metrics.reply_tokens));
    outcome.drafted += reply.metrics.drafted_tokens;
    outcome.accepted += reply.metrics.accepted_tokens;
    for (const TokenLogprob& logprob : reply.logprobs) outcome.replies.back() += "," + std::to_string(logprob.logprob);
    outcome.tokens += reply.metrics.reply_tokens + reply.metrics.thinking_tokens;
  };
  for (int turn = 0; turn < 3; ++turn) {
    int pieces = 0;
    note(chat.stream("Hi", options, [&](std::string_view) { return ++pieces != cancel_after; }));
    if (turn == 1) {
      chat.regenerate(options);
      note(chat.last_reply());
    }
  }
  outcome.history = stage->history;
  outcome.passes = stage->passes;
  outcome.sampled = stage->sampled;
  outcome.guessed = stage->guessed;
  return outcome;
}

void expect_same(const GenerateOptions& options, const std::string& what, bool uses = true, std::size_t max_verify = 1,
                 int cancel_after = 0) {
  SCOPED_TRACE(what);
  const Outcome host = talk(options, false, max_verify, cancel_after);
  const Outcome device = talk(options, true, max_verify, cancel_after);
  EXPECT_EQ(device.replies, host.replies);
  EXPECT_EQ(device.history, host.history);
  EXPECT_EQ(device.passes, host.passes);
  EXPECT_EQ(device.drafted, host.drafted);
  EXPECT_EQ(device.accepted, host.accepted);
  EXPECT_EQ(host.sampled + host.guessed, 0U);
  if (uses) {
    EXPECT_GT(device.sampled, 0U);
    EXPECT_LE(device.sampled, device.tokens);
  } else {
    EXPECT_EQ(device.sampled, 0U);
  }
}

TEST(DeviceSampling, RepliesAreTheSameWhateverTheOptions) {
  expect_same(greedy(), "greedy");
  expect_same(greedy(true), "thinking");
  GenerateOptions options = greedy(true);
  options.max_thinking_tokens = 5;
  options.max_tokens = 7;
  expect_same(options, "budgets");
  options = greedy(true);
  options.stop = {"answer", "on"};
  expect_same(options, "stop strings");
  options = greedy();
  options.no_repeat_ngram = 3;
  expect_same(options, "n-grams");
  options = greedy();
  options.logit_bias = {{'a', -100}, {'e', 15}, {'e', -2}, {'t', -25}};
  expect_same(options, "bias");
  expect_same(greedy(true), "lookup", true, 6);
  options = greedy(true);
  options.no_repeat_ngram = 4;
  expect_same(options, "lookup and n-grams", true, 6);
  expect_same(greedy(true), "cancel", true, 1, 4);
}

TEST(DeviceSampling, WhatNeedsLogitsGetsThem) {
  GenerateOptions options = greedy();
  options.top_logprobs = 2;
  expect_same(options, "log-probabilities", false);
  options = greedy(true);
  options.logprobs = true;
  expect_same(options, "log-probabilities of the answer, not of the thinking");
  options = greedy();
  options.grammar = "root ::= [a-z]+ \".\"";
  options.max_tokens = 20;
  expect_same(options, "grammar", false);
  options = greedy();
  options.tools = kTools;
  options.tool_choice = ToolChoice::required();
  options.max_tool_calls = 1;
  expect_same(options, "a call that must be");
  options = greedy();
  options.temperature = 1;
  options.top_k = 0;
  options.seed = 3;
  expect_same(options, "no top-k", false);
}

TEST(DeviceSampling, DrawsAreTheSame) {
  std::mt19937 engine(5);
  const auto real = [&](float low, float high) { return std::uniform_real_distribution<float>(low, high)(engine); };
  for (int round = 0; round < 40; ++round) {
    GenerateOptions options = greedy(round % 2 == 0);
    options.temperature = real(0.5F, 15);
    options.top_k = static_cast<int>(1 + engine() % 80);
    options.top_p = round % 3 == 0 ? 1 : real(0.3F, 1);
    options.min_p = round % 4 == 0 ? real(0, 0.5F) : 0;
    options.repetition_penalty = round % 5 == 0 ? 1 : real(0.8F, 2);
    options.repetition_window = static_cast<int>(engine() % 100);
    options.presence_penalty = round % 3 == 1 ? real(-2, 2) : 0;
    options.frequency_penalty = round % 3 == 2 ? real(-2, 2) : 0;
    options.no_repeat_ngram = round % 7 == 0 ? 2 : 0;
    options.seed = engine();
    options.max_tokens = 60;
    expect_same(options, "round " + std::to_string(round), true, 1 + engine() % 5);
  }
}

TEST(DeviceSampling, WhenEverythingIsBannedBothSaySo) {
  const auto says = [](bool samples) {
    auto stage = std::make_shared<Stage>();
    stage->samples = samples;
    stage->script = {"<think>\n\n</think>\n\nabc<|im_end|>"};
    Chat chat = make_chat(stage);
    GenerateOptions options = greedy();
    // Only 'a' is left for the first token, and no n-gram may come twice: nothing is left for the third.
    for (TokenId id = 0; id < 266; ++id) {
      if (id != 'a') options.logit_bias.push_back({id, -100});
    }
    options.no_repeat_ngram = 2;
    std::string message;
    try {
      chat.generate("Hi", options);
    } catch (const Error& error) {
      message = std::to_string(static_cast<int>(error.code())) + error.what();
    }
    EXPECT_EQ(stage->sampled > 0, samples);
    const Reply after = chat.complete("x", greedy());  // it goes on
    EXPECT_EQ(after.finish_reason, FinishReason::stop);
    return message;
  };
  EXPECT_THAT(says(false), testing::HasSubstr("none of the 266 logits is finite"));
  EXPECT_EQ(says(true), says(false));
}

/// A real backend, with the choice of tokens beside it.
class SamplingBackend final : public Backend {
 public:
  explicit SamplingBackend(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}

  std::size_t together = 0;  ///< passes with more than one token chosen

  bool forward(State& state, std::span<const TokenId> tokens, LogitRows rows, std::span<float> logits,
               const Cancellation& cancelled) override {
    return inner_->forward(state, tokens, rows, logits, cancelled);
  }
  bool forward_batch(std::span<const Feed> feeds, const Cancellation& cancelled) override {
    std::vector<Feed> plain(feeds.begin(), feeds.end());
    std::vector<std::vector<float>> rows;
    for (Feed& feed : plain) {
      if (feed.sample == nullptr) continue;
      EXPECT_TRUE(feed.logits.empty());
      rows.emplace_back(config().vocab_size);
      feed.logits = rows.back();
      feed.sample = nullptr;
    }
    if (!inner_->forward_batch(plain, cancelled)) return false;
    for (std::size_t i = 0; i < feeds.size(); ++i) {
      if (feeds[i].sample != nullptr) Sampler::answer(*feeds[i].sample, plain[i].logits);
    }
    together += rows.size() > 1 ? 1 : 0;
    return true;
  }
  [[nodiscard]] bool samples(const SampleRequest&) const override { return true; }
  [[nodiscard]] const ModelConfig& config() const override { return inner_->config(); }
  [[nodiscard]] std::string description() const override { return inner_->description(); }
  [[nodiscard]] std::size_t memory_bytes() const override { return inner_->memory_bytes(); }
  [[nodiscard]] std::unique_ptr<State> make_state() const override { return inner_->make_state(); }
  void reset(State& state) const override { inner_->reset(state); }
  [[nodiscard]] std::size_t max_verify() const override { return inner_->max_verify(); }
  bool verify(State& state, std::span<const TokenId> tokens, std::span<float> logits,
              const Cancellation& cancelled) override {
    return inner_->verify(state, tokens, logits, cancelled);
  }
  void keep(State& state, std::size_t count) override { inner_->keep(state, count); }
  [[nodiscard]] std::unique_ptr<Snapshot> snapshot(const State& state) const override {
    return inner_->snapshot(state);
  }
  void restore(State& state, const Snapshot& snapshot) const override { inner_->restore(state, snapshot); }
  [[nodiscard]] std::string snapshot_format() const override { return inner_->snapshot_format(); }
  void write_snapshot(const Snapshot& snapshot,
                      const std::function<void(std::span<const std::byte>)>& sink) const override {
    inner_->write_snapshot(snapshot, sink);
  }
  [[nodiscard]] std::unique_ptr<Snapshot> read_snapshot(std::span<const std::byte> bytes) const override {
    return inner_->read_snapshot(bytes);
  }

 private:
  std::unique_ptr<Backend> inner_;
};

TEST(DeviceSampling, ConversationsInOnePassKeepApart) {
  SamplingBackend backend(
      make_backend(load_weights(std::filesystem::path(QWEN35_TEST_DATA) / "reference" / "tiny"), {.threads = 2}));
  constexpr std::size_t kTokens = 60;
  const auto reply_of = [&](Batcher& batcher, unsigned seed, bool device) {
    Checkpoints checkpoints(0);
    Session session(backend, batcher, checkpoints);
    Sampler sampler({.temperature = 1.5F, .top_k = static_cast<int>(20 + seed), .seed = seed});
    std::vector<TokenId> tokens(30 + 10 * seed, static_cast<TokenId>(seed));
    while (tokens.size() < 100 + kTokens) {
      const auto pending = std::span<const TokenId>(tokens).subspan(session.position());
      if (device) {
        SampleRequest request = sampler.request();
        request.vocabulary = backend.config().vocab_size;
        request.history = tokens;
        EXPECT_TRUE(session.samples(request));
        EXPECT_TRUE(session.feed(pending, {}, {}, &request));
        tokens.push_back(sampler.take(request));
      } else {
        EXPECT_TRUE(session.feed(pending, {}));
        session.spoil_logits();
        tokens.push_back(sampler.sample(session.logits(), tokens));
      }
      EXPECT_EQ(session.align(tokens), tokens.size() - 1);  // nothing is taken for logits that are not there
    }
    return tokens;
  };
  std::vector<std::vector<TokenId>> want(4);
  Batcher alone(backend);
  for (unsigned i = 0; i < want.size(); ++i) want[i] = reply_of(alone, i, false);
  EXPECT_EQ(backend.together, 0U);
  std::vector<std::vector<TokenId>> have(want.size());
  Batcher batcher(backend);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < have.size(); ++i) threads.emplace_back([&, i] { have[i] = reply_of(batcher, i, true); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(have, want);
  EXPECT_GT(backend.together, 0U);
}

TEST(DeviceSampling, ACheckpointBehindASampledTokenHasNoLogits) {
  auto stage = std::make_shared<Stage>();
  stage->samples = true;
  const auto backend = testing_doubles::make_fake_backend(stage);
  Batcher batcher(*backend);
  Checkpoints checkpoints(1 << 20);
  Session session(*backend, batcher, checkpoints);
  Sampler sampler({.temperature = 0});
  SampleRequest request = sampler.request();
  request.vocabulary = 266;
  const std::vector<TokenId> tokens{1, 2, 3, 4, 5};
  ASSERT_TRUE(session.feed(std::span(tokens).first(3), {}));
  session.checkpoint();
  ASSERT_TRUE(session.feed(std::span(tokens).subspan(3), {}, {}, &request));
  EXPECT_GE(request.token, 0);
  session.checkpoint();
  EXPECT_EQ(session.align(tokens), 3U);  // whoever wants the logits has to compute them
  ASSERT_TRUE(session.feed(std::span(tokens).subspan(3), {}));
  std::vector<float> logits(session.logits().begin(), session.logits().end());
  EXPECT_EQ(session.align(tokens), 5U);
  EXPECT_EQ(Sampler({.temperature = 0}).sample(std::span(logits).first(266), {}), request.token);
}

}  // namespace
}  // namespace qwen35
