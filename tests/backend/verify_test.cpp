// Verification passes: every row of logits, and the state that is kept, are to the bit those of one token after
// another.

#include <gtest/gtest.h>

#include "backend/backends_under_test.h"
#include "backend/random.h"
#include "backend/reference_data.h"
#include "backend/sampled.h"

namespace qwen35 {
namespace {

std::vector<TokenId> ids_of(unsigned seed, std::size_t n) {
  std::mt19937 engine(seed);
  std::vector<TokenId> ids(n);
  for (TokenId& id : ids) id = static_cast<TokenId>(engine() % 512);
  return ids;
}

using Logits = std::vector<float>;

/// One text fed token by token, and checks of other ways to feed it.
class Walk {
 public:
  Walk(Backend& backend, std::size_t depth, std::size_t length)
      : backend_(backend), vocab_(backend.config().vocab_size), ids_(ids_of(9, length)) {
    auto state = backend.make_state();
    backend.forward(*state, ids_of(8, depth), LogitRows::none, {});
    start_ = backend.snapshot(*state);
    for (const TokenId& id : ids_) {
      want_.emplace_back(vocab_);
      backend.forward(*state, std::span(&id, 1), LogitRows::last, want_.back());
    }
  }

  /// Feeds the text by passes of all kinds; some of what is verified is wrong and cut off again.
  void check(unsigned seed) {
    std::mt19937 engine(seed);
    const auto draw = [&](std::size_t n) { return static_cast<std::size_t>(engine() % n); };
    auto state = backend_.make_state();
    backend_.restore(*state, *start_);
    const bool sampling = samples(backend_);
    SampledReply reply(vocab_, seed);
    std::vector<std::unique_ptr<Snapshot>> held;
    for (std::size_t at = 0; at < ids_.size();) {
      const std::size_t left = ids_.size() - at;
      Logits logits;
      std::size_t right = 1;
      if (sampling && draw(4) == 0) {
        const Feed feed{state.get(), std::span(ids_).subspan(at, 1), LogitRows::last, {}, reply.ask()};
        ASSERT_TRUE(backend_.forward_batch({&feed, 1}));
        logits = want_[at];
        Logits scratch = logits;
        reply.check(scratch);
        ASSERT_FALSE(testing::Test::HasFailure()) << "token " << at;
      } else if (draw(4) == 0) {
        logits.resize(vocab_);
        backend_.forward(*state, std::span(ids_).subspan(at, 1), LogitRows::last, logits);
      } else {
        const std::size_t count = 1 + draw(std::min(backend_.max_verify(), left));
        right = 1 + draw(count);
        std::vector<TokenId> guess(ids_.begin() + static_cast<std::ptrdiff_t>(at),
                                   ids_.begin() + static_cast<std::ptrdiff_t>(at + count));
        for (std::size_t i = right; i < count; ++i) guess[i] = (guess[i] + 1) % 512;
        if (draw(2) == 0) {
          logits.resize(count * vocab_);
          ASSERT_TRUE(backend_.verify(*state, guess, logits));
        } else {
          ASSERT_TRUE(backend_.verify_sampled(*state, guess, reply.ask_all(count)));
          reply.check_all(std::span(want_).subspan(at, right));
          ASSERT_FALSE(testing::Test::HasFailure()) << "token " << at << ", " << right << " of " << count << " right";
          for (std::size_t i = 0; i < right; ++i)
            logits.insert(logits.end(), want_[at + i].begin(), want_[at + i].end());
        }
        if (right < count || draw(2) == 0) backend_.keep(*state, right);
      }
      for (std::size_t i = 0; i < right; ++i) {
        ASSERT_EQ(std::memcmp(logits.data() + i * vocab_, want_[at + i].data(), vocab_ * sizeof(float)), 0)
            << "token " << at + i << ", row " << i << " of " << logits.size() / vocab_;
      }
      at += right;
      ASSERT_EQ(state->position(), start_->position() + at);
      switch (draw(6)) {
        case 0:
          held.push_back(backend_.snapshot(*state));
          break;
        case 1:
          state = other_state(*state);
          break;
        default:
          break;
      }
    }
  }

 private:
  /// The same state by way of a stored snapshot.
  std::unique_ptr<State> other_state(const State& state) {
    std::vector<std::byte> bytes;
    backend_.write_snapshot(*backend_.snapshot(state), [&](std::span<const std::byte> piece) {
      bytes.insert(bytes.end(), piece.begin(), piece.end());
    });
    auto other = backend_.make_state();
    backend_.restore(*other, *backend_.read_snapshot(bytes));
    return other;
  }

  Backend& backend_;
  std::size_t vocab_;
  std::vector<TokenId> ids_;
  std::unique_ptr<Snapshot> start_;
  std::vector<Logits> want_;
};

TEST(Verify, EqualsOneTokenAfterAnother) {
  const SharedKeyHeads heads;
  for (const Quantization quantization :
       {Quantization{}, Quantization{4, 64}, Quantization{5, 32}, Quantization{6, 64}, Quantization{8, 64}}) {
    const DrawnModel model(heads.config(), 4, quantization);
    for (const bool float32 : {false, true}) {
      if (float32 && quantization.bits > 4) continue;  // dequantised all the same
      for (const char* isa : isa_names()) {
        const ScopedIsa forced(isa);
        for (const int threads : {1, 2, 3}) {
          const auto backend =
              make_backend(load_weights(model.folder()), {.kind = "cpu", .threads = threads, .float32 = float32});
          SCOPED_TRACE(std::to_string(quantization.bits) + " bits, " + backend->description());
          // From the start, and over the borders of small pages.
          for (const unsigned depth : {0U, 250U}) Walk(*backend, depth, 40).check(depth + 1);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// Over the borders of pages and of the spans that threads share.
TEST(Verify, EqualsOneTokenAfterAnotherFarIn) {
  const SharedKeyHeads heads;
  const DrawnModel model(heads.config(), 4, {4, 64});
  for (const char* isa : isa_names()) {
    if (std::string_view(isa) == "scalar") continue;  // minutes
    const ScopedIsa forced(isa);
    for (const int threads : {1, 3}) {
      const auto backend = make_backend(load_weights(model.folder()), {.kind = "cpu", .threads = threads});
      SCOPED_TRACE(backend->description());
      for (const std::size_t depth : {1015U, 2040U, 3070U}) {
        Walk walk(*backend, depth, 30);
        for (const unsigned seed : {1U, 2U, 3U}) walk.check(seed);
      }
      if (HasFatalFailure()) return;
    }
  }
}

/// Every form of weights, over the borders of pages and from the start.
TEST(Verify, Cuda) {
  if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
  const SharedKeyHeads heads;
  for (const Quantization quantization :
       {Quantization{}, Quantization{4, 64}, Quantization{5, 32}, Quantization{6, 64}, Quantization{8, 64}}) {
    const DrawnModel model(heads.config(), 4, quantization);
    const auto backend = make_backend(load_weights(model.folder()), {.kind = "cuda"});
    SCOPED_TRACE(std::to_string(quantization.bits) + " bits");
    for (const unsigned depth : {0U, 50U, 250U, 1015U, 2040U}) {
      const std::size_t positions = backend->config().max_positions;
      if (depth + 40 <= positions) Walk(*backend, depth, 40).check(depth + 1);
    }
    if (HasFatalFailure()) return;
  }
}

TEST(Verify, Reference) {
  const auto backend = make_backend(load_weights(tiny_model()), {.kind = "reference"});
  for (const std::size_t depth : {0U, 20U}) Walk(*backend, depth, 30).check(1);
}

class VerifyRules : public BackendTest {
 protected:
  std::unique_ptr<Backend> backend = backend_under_test(tiny_model(), GetParam());
  std::unique_ptr<State> state = backend ? backend->make_state() : nullptr;

  void verify(std::size_t n) {
    std::vector<float> logits(n * 512);
    EXPECT_TRUE(backend->verify(*state, ids_of(1, n), logits));
  }
  void expect_refused(std::size_t count) {
    try {
      backend->keep(*state, count);
      FAIL() << "kept " << count;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    }
  }
};

TEST_P(VerifyRules, KeepComesDirectlyAfterVerify) {
  expect_refused(1);
  verify(4);
  expect_refused(0);
  expect_refused(5);
  backend->keep(*state, 3);
  EXPECT_EQ(state->position(), 3U);
  expect_refused(1);
  verify(2);
  const auto snapshot = backend->snapshot(*state);
  expect_refused(1);
  verify(2);
  backend->restore(*state, *snapshot);
  expect_refused(1);
  verify(2);
  backend->forward(*state, ids_of(1, 2), LogitRows::none, {});
  expect_refused(1);
  verify(2);
  backend->reset(*state);
  expect_refused(1);
}

TEST_P(VerifyRules, RefusesNonsenseAndStaysUnchanged) {
  verify(3);
  const std::size_t most = backend->max_verify();
  ASSERT_GE(most, 1U);
  std::vector<float> logits((most + 1) * 512);
  EXPECT_THROW(backend->verify(*state, ids_of(1, most + 1), logits), Error);
  EXPECT_THROW(backend->verify(*state, ids_of(1, 2), logits), Error);
  const std::vector<TokenId> bad{1, 512};
  EXPECT_THROW(backend->verify(*state, bad, std::span(logits).first(2 * 512)), Error);
  EXPECT_TRUE(backend->verify(*state, {}, {}));
  EXPECT_EQ(state->position(), 3U);
}

TEST_P(VerifyRules, CancelIsSeen) {
  const std::atomic<bool> stop{true};
  std::vector<float> logits(2 * 512);
  EXPECT_FALSE(backend->verify(*state, ids_of(1, 2), logits, Cancellation(stop)));
  expect_refused(1);
}

TEST_P(VerifyRules, TokensInsteadOfLogits) {
  SampledReply reply(512, 3);
  const auto refuses = [&](std::span<const TokenId> tokens, std::span<SampleRequest> samples) {
    const std::vector<SampleRequest> before(samples.begin(), samples.end());
    EXPECT_THROW(backend->verify_sampled(*state, tokens, samples), Error);
    for (std::size_t i = 0; i < before.size(); ++i) EXPECT_EQ(samples[i].random, before[i].random);
    EXPECT_EQ(state->position(), 0U);
  };
  refuses(ids_of(1, 3), reply.ask_all(2));
  refuses(ids_of(1, 3), {});
  const std::size_t many = backend->max_verify() + 1;
  refuses(ids_of(1, many), reply.ask_all(many));
  const std::vector<TokenId> bad{1, 512};
  refuses(bad, reply.ask_all(2));
  std::span<SampleRequest> asked = reply.ask_all(2);
  asked[1].vocabulary = 513;
  refuses(ids_of(1, 2), asked);
  asked = reply.ask_all(2);
  asked[0].options = nullptr;
  refuses(ids_of(1, 2), asked);
  const std::atomic<bool> stop{true};
  asked = reply.ask_all(2);
  const RandomState random = asked[0].random;
  EXPECT_FALSE(backend->verify_sampled(*state, ids_of(1, 2), asked, Cancellation(stop)));
  EXPECT_EQ(asked[0].random, random);
  expect_refused(1);
  state = backend->make_state();
  EXPECT_TRUE(backend->verify_sampled(*state, {}, {}));
  EXPECT_TRUE(backend->verify_sampled(*state, ids_of(1, 3), reply.ask_all(3)));
  expect_refused(4);
  backend->keep(*state, 2);
  EXPECT_EQ(state->position(), 2U);
  expect_refused(1);
}

INSTANTIATE_TEST_SUITE_P(Kinds, VerifyRules, testing::ValuesIn(backends_under_test()));

// What is kept after a cut leaves no trace in pages that others hold.
class VerifyMemory : public BackendTest {};
TEST_P(VerifyMemory, RowsThatWereCutOffAreFreeAgain) {
  const auto backend = backend_under_test(tiny_model(), GetParam());
  auto state = backend->make_state();
  backend->forward(*state, ids_of(1, 1200), LogitRows::none, {});
  const auto snapshot = backend->snapshot(*state);
  std::vector<float> logits(8 * 512);
  for (int i = 0; i < 2; ++i) {  // goes on in other memory than the snapshot's, with a way back
    backend->verify(*state, ids_of(2, 8), logits);
    backend->keep(*state, 1);
  }
  const std::size_t bytes = state->memory_bytes() + snapshot->memory_bytes();
  for (int i = 0; i < 5; ++i) {
    backend->verify(*state, ids_of(2, 8), logits);
    backend->keep(*state, 1);
  }
  EXPECT_EQ(state->memory_bytes() + snapshot->memory_bytes(), bytes);  // appended to the shared page all the while
}

INSTANTIATE_TEST_SUITE_P(Kinds, VerifyMemory,
                         testing::Values(BackendOptions{.kind = "cpu", .threads = 2}, BackendOptions{.kind = "cuda"}));

}  // namespace
}  // namespace qwen35
