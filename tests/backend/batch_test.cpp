// Passes over several states: every row of logits and every state are to the bit what they would be alone.

#include <gtest/gtest.h>

#include "backend/backends_under_test.h"
#include "backend/random.h"
#include "backend/reference_data.h"
#include "backend/sampled.h"

namespace qwen35 {
namespace {

/// One text of several that are fed side by side.
class Lane {
 public:
  Lane(Backend& alone, Backend& together, std::size_t depth, unsigned seed)
      : alone_(alone),
        state_(together.make_state()),
        vocab_(alone.config().vocab_size),
        engine_(seed),
        reply_(vocab_, seed) {
    const std::vector<TokenId> ids = draw_ids(depth);
    want_state_ = alone.make_state();
    alone.forward(*want_state_, ids, LogitRows::none, {});
    together.forward(*state_, ids, LogitRows::none, {});
  }

  /// The next share of a pass, of `count` tokens; what it must give is computed at once.
  Feed next(std::size_t count, LogitRows rows) {
    ids_ = draw_ids(count);
    const std::size_t floats = (rows == LogitRows::all ? count : rows == LogitRows::last && count > 0 ? 1 : 0) * vocab_;
    want_.assign(floats, 0);
    got_.assign(floats, 0);
    alone_.forward(*want_state_, ids_, rows, want_);
    sampled_ = false;
    return {state_.get(), ids_, rows, got_};
  }
  /// The same, with the token after it chosen by the backend.
  Feed next_sampled(std::size_t count) {
    next(count, LogitRows::last);
    got_.clear();
    sampled_ = true;
    return {state_.get(), ids_, LogitRows::last, {}, reply_.ask()};
  }
  void check() {
    ASSERT_EQ(state_->position(), want_state_->position());
    if (sampled_) {
      reply_.check(want_);
      ASSERT_FALSE(testing::Test::HasFailure()) << ids_.size() << " tokens, now at " << state_->position();
      return;
    }
    ASSERT_TRUE(want_.empty() || std::memcmp(got_.data(), want_.data(), want_.size() * sizeof(float)) == 0)
        << ids_.size() << " tokens, now at " << state_->position();
  }
  [[nodiscard]] State& state() { return *state_; }
  [[nodiscard]] std::size_t draw(std::size_t n) { return static_cast<std::size_t>(engine_() % n); }

 private:
  std::vector<TokenId> draw_ids(std::size_t count) {
    std::vector<TokenId> ids(count);
    for (TokenId& id : ids) id = static_cast<TokenId>(draw(vocab_));
    return ids;
  }

  Backend& alone_;
  std::unique_ptr<State> state_;
  std::unique_ptr<State> want_state_;
  std::size_t vocab_;
  std::mt19937 engine_;
  std::vector<TokenId> ids_;
  std::vector<float> got_;
  std::vector<float> want_;
  SampledReply reply_;
  bool sampled_ = false;
};

/// Random batches over some of the lanes: single tokens mostly, now and then a slice of a prompt, a snapshot held, a
/// pass that verified before.
void walk(Backend& backend, std::vector<Lane>& lanes, int passes) {
  const bool sampling = samples(backend);
  std::vector<std::unique_ptr<Snapshot>> held;
  for (int pass = 0; pass < passes; ++pass) {
    std::vector<Feed> feeds;
    std::vector<Lane*> used;
    for (Lane& lane : lanes) {
      if (lane.draw(5) == 0) continue;
      const std::size_t kind = lane.draw(12);
      const std::size_t count = kind == 0 ? lane.draw(30) : kind == 1 ? 2 + lane.draw(7) : kind == 2 ? 0 : 1;
      const LogitRows rows =
          std::array{LogitRows::last, LogitRows::last, LogitRows::all, LogitRows::none}[lane.draw(4)];
      if (sampling && count > 0 && lane.draw(2) == 0)
        feeds.push_back(lane.next_sampled(count));
      else
        feeds.push_back(lane.next(count, rows));
      used.push_back(&lane);
    }
    ASSERT_TRUE(backend.forward_batch(feeds));
    for (Lane* lane : used) {
      ASSERT_NO_FATAL_FAILURE(lane->check()) << "pass " << pass << " over " << feeds.size() << " states";
    }
    if (!used.empty() && pass % 3 == 0) held.push_back(backend.snapshot(used.front()->state()));
  }
}

TEST(Batch, EqualsEachAlone) {
  const SharedKeyHeads heads;
  for (const Quantization quantization :
       {Quantization{}, Quantization{4, 64}, Quantization{5, 32}, Quantization{6, 64}, Quantization{8, 64}}) {
    const DrawnModel model(heads.config(), 4, quantization);
    for (const bool float32 : {false, true}) {
      if (float32 && quantization.bits > 4) continue;  // dequantised all the same
      for (const char* isa : isa_names()) {
        const bool slow = std::string_view(isa) == "scalar";
        if (slow && quantization.bits != 5) continue;
        const ScopedIsa forced(isa);
        const auto alone =
            make_backend(load_weights(model.folder()), {.kind = "cpu", .threads = 1, .float32 = float32});
        for (const int threads : {1, 2}) {
          const auto together =
              make_backend(load_weights(model.folder()), {.kind = "cpu", .threads = threads, .float32 = float32});
          SCOPED_TRACE(std::to_string(quantization.bits) + " bits, " + together->description());
          std::vector<Lane> lanes;
          for (unsigned i = 0; i < 5; ++i) lanes.emplace_back(*alone, *together, i * (slow ? 3 : 20), i + 1);
          walk(*together, lanes, slow ? 3 : 8);
          if (testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
}

// Histories of very different lengths, over the borders of the spans that threads share; more lanes than few tokens.
TEST(Batch, EqualsEachAloneFarIn) {
  const SharedKeyHeads heads;
  const DrawnModel model(heads.config(), 4, {4, 64});
  const auto alone = make_backend(load_weights(model.folder()), {.kind = "cpu", .threads = 2});
  const auto together = make_backend(load_weights(model.folder()), {.kind = "cpu", .threads = 3});
  std::vector<Lane> lanes;
  for (unsigned i = 0; i < 13; ++i) lanes.emplace_back(*alone, *together, i % 4 * 1020, i + 1);
  walk(*together, lanes, 20);
}

TEST(Batch, CudaEqualsEachAlone) {
  if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
  const SharedKeyHeads heads;
  for (const Quantization quantization :
       {Quantization{}, Quantization{4, 64}, Quantization{5, 32}, Quantization{6, 64}, Quantization{8, 64}}) {
    const DrawnModel model(heads.config(), 4, quantization);
    const auto alone = make_backend(load_weights(model.folder()), {.kind = "cuda"});
    const auto together = make_backend(load_weights(model.folder()), {.kind = "cuda"});
    SCOPED_TRACE(std::to_string(quantization.bits) + " bits");
    for (const unsigned count : {5U, 13U, 70U}) {  // one group of rows, several, more than a pass takes
      std::vector<Lane> lanes;
      for (unsigned i = 0; i < count; ++i) lanes.emplace_back(*alone, *together, i % 7 * 60, i + 1);
      walk(*together, lanes, 6);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

class BatchRules : public BackendTest {
 protected:
  std::unique_ptr<Backend> backend = backend_under_test(tiny_model(), GetParam());
  std::unique_ptr<State> first = backend ? backend->make_state() : nullptr;
  std::unique_ptr<State> second = backend ? backend->make_state() : nullptr;
  const std::vector<TokenId> ids{1, 2, 3};
};

TEST_P(BatchRules, MoreThanOnePassHolds) {
  const std::vector<TokenId> many(300, 7);
  std::vector<float> logits(3 * 512);
  const std::span<float> rows(logits);
  auto third = backend->make_state();
  const Feed feeds[] = {{first.get(), ids, LogitRows::last, rows.first(512)},
                        {second.get(), many, LogitRows::last, rows.subspan(512, 512)},
                        {third.get(), ids, LogitRows::last, rows.subspan(1024, 512)}};
  ASSERT_TRUE(backend->forward_batch(feeds));
  EXPECT_EQ(first->position(), 3U);
  EXPECT_EQ(second->position(), 300U);
  EXPECT_EQ(std::memcmp(logits.data(), logits.data() + 1024, 512 * sizeof(float)), 0);
  EXPECT_TRUE(backend->forward_batch({}));
}

TEST_P(BatchRules, SamplingThatCannotBeIsRefused) {
  if (GetParam().kind == "reference")
    GTEST_SKIP() << "feeds one after the other, and refuses a feed when it gets there";
  SamplerOptions options{.temperature = 0};
  const std::vector<TokenId> none;
  std::vector<float> logits(512);
  const SampleRequest fine{.options = &options, .vocabulary = 512, .random = {1, 2, 3, 4}};
  SampleRequest wide = fine;
  wide.vocabulary = 513;
  SampleRequest request = fine;
  std::vector<Feed> wrong{{second.get(), ids, LogitRows::last, logits, &request},
                          {second.get(), ids, LogitRows::none, {}, &request},
                          {second.get(), ids, LogitRows::all, {}, &request},
                          {second.get(), none, LogitRows::last, {}, &request},
                          {second.get(), ids, LogitRows::last, {}, &wide}};
  if (!samples(*backend)) wrong.push_back({second.get(), ids, LogitRows::last, {}, &request});
  for (const Feed& feed : wrong) {
    const Feed feeds[] = {{first.get(), ids, LogitRows::none, {}}, feed};
    try {
      backend->forward_batch(feeds);
      FAIL() << "took it";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      EXPECT_NE(std::string_view(error.what()).find("feed 1 of 2"), std::string_view::npos) << error.what();
    }
    EXPECT_EQ(first->position(), 0U);
    EXPECT_EQ(second->position(), 0U);
    EXPECT_EQ(request.token, -1);
    EXPECT_EQ(request.random, fine.random);
  }
}

TEST_P(BatchRules, CancelledSamplingAnswersNothing) {
  if (!samples(*backend)) GTEST_SKIP() << "this backend does not sample";
  const SamplerOptions options;
  const std::vector<TokenId> many(300, 7);
  const RandomState random{1, 2, 3, 4};
  SampleRequest requests[2];
  for (SampleRequest& request : requests) request = {.options = &options, .vocabulary = 512, .random = random};
  const std::atomic<bool> stop{true};
  const Feed feeds[] = {{first.get(), many, LogitRows::last, {}, &requests[0]},
                        {second.get(), ids, LogitRows::last, {}, requests + 1}};
  EXPECT_FALSE(backend->forward_batch(feeds, Cancellation(stop)));
  for (const SampleRequest& request : requests) {
    EXPECT_EQ(request.token, -1);
    EXPECT_EQ(request.random, random);
  }
}

// A prompt, then token by token, each fed as it was sampled.
TEST_P(BatchRules, AReplyIsThatOfTheLogits) {
  if (!samples(*backend)) GTEST_SKIP() << "this backend does not sample";
  for (const std::size_t prompt : {1U, 20U, 300U, 520U}) {
    for (unsigned seed = 1; seed < 9; ++seed) {
      backend->reset(*first);
      backend->reset(*second);
      SampledReply reply(512, seed);
      std::vector<float> logits(512);
      std::vector<TokenId> tokens(prompt, 7);
      for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<TokenId>((31 * i + seed) % 512);
      for (int step = 0; step < 20; ++step) {
        const Feed feed{first.get(), tokens, LogitRows::last, {}, reply.ask()};
        ASSERT_TRUE(backend->forward_batch({&feed, 1}));
        ASSERT_TRUE(backend->forward(*second, tokens, LogitRows::last, logits));
        tokens = {reply.check(logits)};
        ASSERT_FALSE(HasFailure()) << "step " << step << " after " << prompt << " tokens, seed " << seed;
      }
    }
  }
}

TEST_P(BatchRules, CancelIsSeen) {
  const std::atomic<bool> stop{true};
  const Feed feeds[] = {{first.get(), ids, LogitRows::none, {}}, {second.get(), ids, LogitRows::none, {}}};
  EXPECT_FALSE(backend->forward_batch(feeds, Cancellation(stop)));
}

INSTANTIATE_TEST_SUITE_P(Kinds, BatchRules, testing::ValuesIn(backends_under_test()));

TEST(Batch, RefusesNonsenseAndStaysUnchanged) {
  const auto backend = make_backend(load_weights(tiny_model()), {.kind = "cpu", .threads = 2});
  const auto reference = make_backend(load_weights(tiny_model()), {.kind = "reference"});
  auto first = backend->make_state();
  auto second = backend->make_state();
  auto foreign = reference->make_state();
  const std::vector<TokenId> good{1, 2};
  const std::vector<TokenId> bad{1, 512};
  std::vector<float> logits(512);
  const Feed fine{first.get(), good, LogitRows::none, {}};
  for (const Feed& wrong :
       {Feed{second.get(), bad, LogitRows::none, {}}, Feed{second.get(), good, LogitRows::all, logits},
        Feed{first.get(), good, LogitRows::none, {}}, Feed{nullptr, good, LogitRows::none, {}},
        Feed{foreign.get(), good, LogitRows::none, {}}}) {
    const Feed feeds[] = {fine, wrong};
    try {
      backend->forward_batch(feeds);
      FAIL() << "took it";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      EXPECT_NE(std::string_view(error.what()).find("feed 1 of 2"), std::string_view::npos) << error.what();
    }
    EXPECT_EQ(first->position(), 0U);
    EXPECT_EQ(second->position(), 0U);
  }
}

}  // namespace
}  // namespace qwen35
