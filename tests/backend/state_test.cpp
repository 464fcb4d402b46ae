// What a state promises: pieces, snapshots, thread counts and refusals.

#include <gtest/gtest.h>

#include "backend/backends_under_test.h"
#include "backend/random.h"
#include "backend/reference_data.h"

namespace qwen35 {
namespace {

std::vector<TokenId> some_ids(std::size_t n) {
  std::mt19937 engine(5);
  std::vector<TokenId> ids(n);
  for (TokenId& id : ids) id = static_cast<TokenId>(engine() % 512);
  return ids;
}

std::vector<float> last_logits(Backend& backend, State& state, std::span<const TokenId> ids) {
  std::vector<float> logits(backend.config().vocab_size);
  backend.forward(state, ids, LogitRows::last, logits);
  return logits;
}

class StateTest : public BackendTest {
 protected:
  std::unique_ptr<Backend> backend = backend_under_test(tiny_model(), GetParam());
};

TEST_P(StateTest, SnapshotTakesItBackExactly) {
  const auto ids = some_ids(600);
  const std::span all(ids);
  auto state = backend->make_state();
  last_logits(*backend, *state, all.first(300));
  const auto snapshot = backend->snapshot(*state);
  EXPECT_EQ(snapshot->position(), 300U);
  EXPECT_GT(snapshot->memory_bytes(), 0U);
  const auto first = last_logits(*backend, *state, all.subspan(300));
  last_logits(*backend, *state, some_ids(40));
  backend->restore(*state, *snapshot);
  EXPECT_EQ(state->position(), 300U);
  EXPECT_EQ(last_logits(*backend, *state, all.subspan(300)), first);
}

TEST_P(StateTest, ResetForgetsEverything) {
  const auto ids = some_ids(30);
  auto state = backend->make_state();
  const auto first = last_logits(*backend, *state, ids);
  backend->reset(*state);
  EXPECT_EQ(state->position(), 0U);
  EXPECT_EQ(last_logits(*backend, *state, ids), first);
}

TEST_P(StateTest, StatesAreIndependent) {
  const auto ids = some_ids(50);
  auto a = backend->make_state();
  auto b = backend->make_state();
  const auto want = last_logits(*backend, *a, ids);
  auto c = backend->make_state();
  for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
    last_logits(*backend, *b, std::span(&ids[ids.size() - 1 - i], 1));
    last_logits(*backend, *c, std::span(&ids[i], 1));
  }
  const auto got = last_logits(*backend, *c, std::span(&ids.back(), 1));
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], GetParam().kind == "cuda" ? 3e-2F : 2e-3F);
}

TEST_P(StateTest, RefusesNonsenseAndStaysUnchanged) {
  auto state = backend->make_state();
  const std::vector<TokenId> good{1, 2, 3};
  std::vector<float> logits(512);
  for (const TokenId bad : {-1, 512, 1 << 30}) {
    const std::vector<TokenId> ids{1, bad};
    EXPECT_THROW(backend->forward(*state, ids, LogitRows::last, logits), Error);
  }
  EXPECT_THROW(backend->forward(*state, good, LogitRows::all, logits), Error);
  EXPECT_THROW(backend->forward(*state, good, LogitRows::none, logits), Error);
  EXPECT_EQ(state->position(), 0U);
  backend->forward(*state, {}, LogitRows::last, logits);
  backend->forward(*state, good, LogitRows::none, {});
  EXPECT_EQ(state->position(), 3U);

  const auto other =
      make_backend(load_weights(tiny_model()), {.kind = GetParam().kind == "reference" ? "cpu" : "reference"});
  EXPECT_THROW(other->forward(*state, good, LogitRows::none, {}), Error);
}

TEST_P(StateTest, EndsAtTheContextLimit) {
  auto weights = load_weights(tiny_model());
  weights.config.max_positions = 8;
  const auto limited = make_backend(std::move(weights), GetParam());
  auto state = limited->make_state();
  limited->forward(*state, some_ids(8), LogitRows::none, {});
  try {
    limited->forward(*state, some_ids(1), LogitRows::none, {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::context_limit);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, StateTest, testing::ValuesIn(backends_and_arithmetics_under_test()));

TEST(State, ThreadCountChangesNothing) {
  const auto ids = some_ids(333);
  for (const Quantization quantization : {Quantization{}, Quantization{4, 32}}) {
    const DrawnModel model(tiny_model() / "config.json", 3, quantization);
    std::vector<float> want;
    for (const int threads : {1, 2, 3, 8}) {
      const auto backend = make_backend(load_weights(model.folder()), {.kind = "cpu", .threads = threads});
      auto state = backend->make_state();
      auto got = last_logits(*backend, *state, ids);
      const auto next = last_logits(*backend, *state, some_ids(1));
      got.insert(got.end(), next.begin(), next.end());
      if (want.empty()) want = got;
      EXPECT_EQ(got, want) << threads << " threads";
    }
  }
}

// Alone, a token far into a conversation has its keys shared out in spans; in a long pass it has not.
TEST(State, LongHistoryTokenByToken) {
  const auto ids = some_ids(2600);
  const std::span all(ids);
  std::vector<float> want;
  for (const int threads : {1, 3}) {
    const auto backend = make_backend(load_weights(tiny_model()), {.kind = "cpu", .threads = threads, .float32 = true});
    auto whole = backend->make_state();
    auto pieces = backend->make_state();
    const auto together = last_logits(*backend, *whole, all);
    last_logits(*backend, *pieces, all.first(2590));
    std::vector<float> alone;
    for (std::size_t i = 2590; i < all.size(); ++i) alone = last_logits(*backend, *pieces, all.subspan(i, 1));
    for (std::size_t i = 0; i < alone.size(); ++i) ASSERT_NEAR(alone[i], together[i], 1e-4) << "logit " << i;
    if (want.empty()) want = alone;
    EXPECT_EQ(alone, want) << threads << " threads";
  }
}

// Value heads that share a key head have panels of their own in the projection's result.
TEST(State, PiecesWithSharedKeyHeads) {
  const SharedKeyHeads heads;
  const DrawnModel model(heads.config(), 5);
  const auto ids = some_ids(120);
  const auto reference = make_backend(load_weights(model.folder()), {.kind = "reference"});
  auto plain = reference->make_state();
  std::vector<float> want(ids.size() * 512);
  reference->forward(*plain, ids, LogitRows::all, want);
  const auto backend = make_backend(load_weights(model.folder()), {.kind = "cpu", .threads = 2, .float32 = true});
  auto state = backend->make_state();
  std::vector<float> got(ids.size() * 512);
  const std::size_t pieces[] = {3, 70, 1, 2, 40, 4};
  std::size_t at = 0;
  for (const std::size_t n : pieces) {
    backend->forward(*state, std::span(ids).subspan(at, n), LogitRows::all, std::span(got).subspan(at * 512, n * 512));
    at += n;
  }
  ASSERT_EQ(at, ids.size());
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-3F) << "token " << i / 512;
}

TEST(State, RefusesUnknownBackends) {
  EXPECT_THROW(make_backend(load_weights(tiny_model()), {.kind = "abacus"}), Error);
  EXPECT_THROW(make_backend(load_weights(tiny_model()), {.kind = "cpu", .threads = -1}), Error);
}

}  // namespace
}  // namespace qwen35
