// Passes of several conversations put together: who goes with whom, and that nobody notices.

#include "chat/batcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/error.h>

#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "chat/checkpoints.h"
#include "chat/fakes.h"
#include "chat/session.h"

namespace qwen35 {
namespace {

using namespace std::chrono_literals;

/// Notes what comes together; each pass waits until it is let go.
class GatedBackend final : public Backend {
 public:
  explicit GatedBackend(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}

  /// Tokens of each feed of each pass.
  std::vector<std::vector<std::size_t>> passes;
  std::atomic<int> entered{0};
  std::atomic<int> released{1 << 30};
  std::atomic<bool> fail{false};
  std::atomic<bool> lose_device{false};
  std::size_t most_rows = 8;

  bool forward(State& state, std::span<const TokenId> tokens, LogitRows rows, std::span<float> logits,
               const Cancellation& cancelled) override {
    enter({tokens.size()});
    return inner_->forward(state, tokens, rows, logits, cancelled);
  }
  bool forward_batch(std::span<const Feed> feeds, const Cancellation& cancelled) override {
    std::vector<std::size_t> sizes;
    for (const Feed& feed : feeds) sizes.push_back(feed.tokens.size());
    enter(std::move(sizes));
    if (fail) throw std::bad_alloc();
    if (lose_device) throw Error(ErrorCode::device, "gone");
    return inner_->forward_batch(feeds, cancelled);
  }
  [[nodiscard]] const ModelConfig& config() const override { return inner_->config(); }
  [[nodiscard]] std::string description() const override { return inner_->description(); }
  [[nodiscard]] std::size_t memory_bytes() const override { return inner_->memory_bytes(); }
  [[nodiscard]] std::unique_ptr<State> make_state() const override { return inner_->make_state(); }
  void reset(State& state) const override { inner_->reset(state); }
  [[nodiscard]] std::size_t max_rows() const override { return most_rows; }
  [[nodiscard]] std::size_t max_verify() const override { return inner_->max_verify(); }
  bool verify(State& state, std::span<const TokenId> tokens, std::span<float> logits,
              const Cancellation& cancelled) override {
    enter({100 + tokens.size()});
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
  void enter(std::vector<std::size_t> sizes) {
    passes.push_back(std::move(sizes));
    const int mine = ++entered;
    while (mine > released) std::this_thread::sleep_for(100us);
  }

  std::unique_ptr<Backend> inner_;
};

std::unique_ptr<Backend> tiny_backend() {
  return make_backend(load_weights(std::filesystem::path(QWEN35_TEST_DATA) / "reference" / "tiny"), {.threads = 2});
}

std::vector<TokenId> ids_of(unsigned seed, std::size_t count) {
  std::mt19937 engine(seed);
  std::vector<TokenId> ids(count);
  for (TokenId& id : ids) id = static_cast<TokenId>(engine() % 512);
  return ids;
}

class BatcherTest : public testing::Test {
 protected:
  /// A conversation on a thread of its own that wants one pass of `count` tokens.
  class Asker {
   public:
    Asker(BatcherTest& test, std::size_t count, Cancellation cancelled = {})
        : seat_(test.batcher_), state_(test.backend_.make_state()), ids_(ids_of(1, count)), logits_(512) {
      const bool first = test.backend_.entered == 0;
      const std::size_t before = test.batcher_.waiting();
      thread_ = std::thread([this, cancelled] {
        try {
          whole = seat_.forward({state_.get(), ids_, LogitRows::last, logits_}, ids_.size(), cancelled, begun);
        } catch (const std::bad_alloc&) {
          failed = true;
        } catch (const Error&) {
          failed = true;
        }
        seat_.leave();
      });
      // The first computes, until it is let go; the others wait.
      while (first ? test.backend_.entered == 0 : test.backend_.released == 0 && test.batcher_.waiting() == before)
        std::this_thread::sleep_for(50us);
    }
    ~Asker() { join(); }
    void join() {
      if (thread_.joinable()) thread_.join();
    }
    bool whole = false;
    bool begun = false;
    bool failed = false;

   private:
    Batcher::Seat seat_;
    std::unique_ptr<State> state_;
    std::vector<TokenId> ids_;
    std::vector<float> logits_;
    std::thread thread_;
  };
  using Askers = std::vector<std::unique_ptr<Asker>>;

  void ask(Askers& askers, std::size_t count) { askers.push_back(std::make_unique<Asker>(*this, count)); }
  void let_go(Askers& askers) {
    backend_.released = 1 << 30;
    for (auto& asker : askers) asker->join();
  }

  GatedBackend backend_{tiny_backend()};
  Batcher batcher_{backend_};
};

TEST_F(BatcherTest, WhoeverWaitsMeanwhileGoesTogether) {
  backend_.released = 0;
  Askers askers;
  for (const std::size_t count : {1U, 1U, 3U, 64U, 1U, 40U}) ask(askers, count);
  let_go(askers);
  using Pass = std::vector<std::size_t>;
  // The first found nobody; then all that fit, with the shorter of the two slices; then what was left.
  EXPECT_THAT(backend_.passes, testing::ElementsAre(Pass{1}, Pass{1, 3, 1, 40}, Pass{64}));
  for (const auto& asker : askers) EXPECT_TRUE(asker->whole && asker->begun);
}

TEST_F(BatcherTest, APassTakesAsManyRowsAsTheProductsDo) {
  backend_.released = 0;
  Askers askers;
  for (int i = 0; i < 12; ++i) ask(askers, 1);
  let_go(askers);
  ASSERT_EQ(backend_.passes.size(), 3U);
  EXPECT_EQ(backend_.passes[1].size(), Batcher::kMostRows);
  EXPECT_EQ(backend_.passes[2].size(), 3U);
}

TEST_F(BatcherTest, ABackendMayTakeMoreRows) {
  backend_.most_rows = 64;
  Batcher wide(backend_);
  std::vector<std::unique_ptr<State>> states;
  std::vector<std::thread> threads;
  const std::vector<TokenId> ids = ids_of(1, 1);
  for (int i = 0; i < 20; ++i) states.push_back(backend_.make_state());
  backend_.released = 0;
  for (auto& state : states) {
    threads.emplace_back([&] {
      Batcher::Seat seat(wide);
      bool begun = false;
      EXPECT_TRUE(seat.forward({state.get(), ids, LogitRows::none, {}}, 1, {}, begun));
    });
  }
  while (wide.waiting() < states.size() - 1) std::this_thread::sleep_for(50us);
  backend_.released = 1 << 30;
  for (std::thread& thread : threads) thread.join();
  ASSERT_EQ(backend_.passes.size(), 2U);
  EXPECT_EQ(backend_.passes[1].size(), 19U);
}

TEST_F(BatcherTest, ALostDeviceReachesAllOfThePassAndNothingIsFedTwice) {
  backend_.released = 0;
  Askers askers;
  for (int i = 0; i < 3; ++i) ask(askers, 1);
  backend_.lose_device = true;
  let_go(askers);
  EXPECT_TRUE(askers[1]->failed && askers[1]->begun && askers[2]->failed && askers[2]->begun);
  EXPECT_EQ(backend_.passes.size(), 2U);
}

TEST_F(BatcherTest, AWaiterMayGiveUpAndNobodyElseNotices) {
  backend_.released = 0;
  std::atomic<bool> stop{false};
  Askers askers;
  ask(askers, 1);
  Asker impatient(*this, 1, Cancellation(stop));
  ask(askers, 1);
  stop = true;
  impatient.join();  // while the first pass still runs
  EXPECT_FALSE(impatient.whole || impatient.begun);
  let_go(askers);
  EXPECT_EQ(backend_.passes.size(), 2U);
  for (const auto& asker : askers) EXPECT_TRUE(asker->whole);
}

TEST_F(BatcherTest, OutOfMemoryReachesAllOfThePassAndTheNextOneRuns) {
  backend_.released = 0;
  Askers askers;
  for (int i = 0; i < 3; ++i) ask(askers, 1);
  backend_.fail = true;
  let_go(askers);
  EXPECT_TRUE(askers[0]->whole);  // it ran alone
  EXPECT_TRUE(askers[1]->failed && askers[2]->failed);
  backend_.fail = false;
  Asker after(*this, 1);
  after.join();
  EXPECT_TRUE(after.whole);
}

TEST_F(BatcherTest, CrowdedIsWhoeverComputesBesideOthers) {
  Batcher::Seat one(batcher_);
  Batcher::Seat two(batcher_);
  auto state = backend_.make_state();
  const std::vector<TokenId> ids = ids_of(1, 1);
  bool begun = false;
  EXPECT_FALSE(one.crowded());
  ASSERT_TRUE(one.forward({state.get(), ids, LogitRows::none, {}}, 1, {}, begun));
  EXPECT_FALSE(one.crowded());
  EXPECT_TRUE(two.crowded());
  one.leave();
  EXPECT_FALSE(two.crowded());
}

// Those that were in the last pass and are choosing their next token are waited for, but not for long.
TEST_F(BatcherTest, OneThatDoesNotComeBackHoldsUpNobody) {
  Batcher::Seat slow(batcher_);
  Batcher::Seat quick(batcher_);
  auto first = backend_.make_state();
  auto second = backend_.make_state();
  const std::vector<TokenId> ids = ids_of(1, 1);
  bool begun = false;
  ASSERT_TRUE(slow.forward({first.get(), ids, LogitRows::none, {}}, 1, {}, begun));
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(quick.forward({second.get(), ids, LogitRows::none, {}}, 1, {}, begun));
  ASSERT_TRUE(slow.forward({first.get(), ids, LogitRows::none, {}}, 1, {}, begun));
  EXPECT_EQ(backend_.passes.size(), 52U);
}

// Prompts of all lengths and decoding, on several threads: every logit is to the bit what it is alone.
TEST(BatchedSessions, ComputeWhatTheyComputeAlone) {
  const std::unique_ptr<Backend> backend = tiny_backend();
  constexpr std::size_t kSessions = 5;
  using Rows = std::vector<std::vector<float>>;
  const auto converse = [](Session& session, unsigned seed, Rows& rows) {
    std::mt19937 engine(seed);
    for (int turn = 0; turn < 6; ++turn) {
      const std::size_t lengths[] = {1 + engine() % 12, 60 + engine() % 20, 250 + engine() % 20, 120 + engine() % 30};
      const std::vector<TokenId> prompt = ids_of(seed * 100 + static_cast<unsigned>(turn), lengths[engine() % 4]);
      const std::size_t marks[] = {session.position() + 33};
      ASSERT_TRUE(session.feed(prompt, {}, std::span(marks).first(engine() % 2)));
      for (int i = 0; i < 10; ++i) {
        const auto logits = session.logits();
        rows.emplace_back(logits.begin(), logits.end());
        const TokenId token = static_cast<TokenId>(engine() % 512);
        ASSERT_TRUE(session.feed(std::span(&token, 1), {}));
      }
      session.rest();
    }
  };
  std::vector<Rows> alone(kSessions);
  std::vector<Rows> together(kSessions);
  Batcher batcher(*backend);
  Checkpoints checkpoints(std::size_t{1} << 20);
  for (unsigned i = 0; i < kSessions; ++i) {
    Session session(*backend, batcher, checkpoints);
    converse(session, i, alone[i]);
  }
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kSessions; ++i) {
    threads.emplace_back([&, i] {
      Session session(*backend, batcher, checkpoints);
      converse(session, i, together[i]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (unsigned i = 0; i < kSessions; ++i) EXPECT_EQ(together[i], alone[i]) << "session " << i;
}

}  // namespace
}  // namespace qwen35
