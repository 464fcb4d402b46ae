// Snapshots: whole in themselves, shared pages that nobody sees, bytes for the disk.

#include <gtest/gtest.h>

#include <map>
#include <thread>

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

std::vector<float> feed(Backend& backend, State& state, std::span<const TokenId> ids) {
  std::vector<float> logits(backend.config().vocab_size);
  EXPECT_TRUE(backend.forward(state, ids, LogitRows::last, logits));
  return logits;
}

std::vector<std::byte> written(const Backend& backend, const Snapshot& snapshot) {
  std::vector<std::byte> bytes;
  backend.write_snapshot(
      snapshot, [&](std::span<const std::byte> piece) { bytes.insert(bytes.end(), piece.begin(), piece.end()); });
  return bytes;
}

void expect_bad_file(const Backend& backend, std::span<const std::byte> bytes) {
  try {
    (void)backend.read_snapshot(bytes);
    FAIL() << bytes.size() << " bytes were read";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_file);
  }
}

/// Not ==: NaN must equal itself and -0 not 0.
bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class SnapshotTest : public BackendTest {
 protected:
  [[nodiscard]] static bool is_reference() { return GetParam().kind == "reference"; }
  /// Positions that the plain loops of the reference backend do in a moment.
  [[nodiscard]] static std::size_t scaled(std::size_t n) { return is_reference() ? n / 16 + 1 : n; }
  [[nodiscard]] static std::unique_ptr<Backend> make() { return backend_under_test(tiny_model(), GetParam()); }
  std::unique_ptr<Backend> backend = make();
};

TEST_P(SnapshotTest, OutlivesItsStateAndItsBackend) {
  auto state = backend->make_state();
  feed(*backend, *state, ids_of(1, scaled(1300)));
  const auto snapshot = backend->snapshot(*state);
  const auto want = feed(*backend, *state, ids_of(2, 30));
  state.reset();
  backend = make();
  auto fresh = backend->make_state();
  backend->restore(*fresh, *snapshot);
  EXPECT_EQ(fresh->position(), scaled(1300));
  EXPECT_TRUE(same_bits(feed(*backend, *fresh, ids_of(2, 30)), want));
}

// Two conversations go on from one snapshot together, sampling; the page that they share parts in the pass.
TEST_P(SnapshotTest, SamplingGoesOnFromIt) {
  if (!samples(*backend)) GTEST_SKIP() << "this backend does not sample";
  auto state = backend->make_state();
  feed(*backend, *state, ids_of(1, 1300));
  const auto snapshot = backend->snapshot(*state);
  const auto want = feed(*backend, *state, ids_of(2, 5));
  std::vector<std::unique_ptr<State>> states;
  std::vector<std::unique_ptr<State>> plain;
  std::vector<SampledReply> replies;
  std::vector<TokenId> last{3, 4, 5};
  for (unsigned i = 0; i < 3; ++i) {
    for (auto* list : {&states, &plain}) {
      list->push_back(backend->make_state());
      backend->restore(*list->back(), *snapshot);
    }
    replies.emplace_back(512, i + 1);
  }
  for (int step = 0; step < 40; ++step) {
    std::vector<Feed> feeds;
    for (std::size_t i = 0; i < 3; ++i) {
      feeds.push_back({states[i].get(), std::span(last).subspan(i, 1), LogitRows::last, {}, replies[i].ask()});
    }
    ASSERT_TRUE(backend->forward_batch(feeds));
    for (std::size_t i = 0; i < 3; ++i) {
      auto logits = feed(*backend, *plain[i], std::span(last).subspan(i, 1));
      last[i] = replies[i].check(logits);
      ASSERT_FALSE(HasFailure()) << "step " << step << ", state " << i;
    }
  }
  backend->restore(*state, *snapshot);  // nobody has written into it
  EXPECT_TRUE(same_bits(feed(*backend, *state, ids_of(2, 5)), want));
}

TEST_P(SnapshotTest, AtTheStartIsAnEmptyState) {
  auto state = backend->make_state();
  const auto start = backend->snapshot(*state);
  const auto want = feed(*backend, *state, ids_of(1, 20));
  backend->restore(*state, *start);
  EXPECT_EQ(state->position(), 0U);
  EXPECT_TRUE(same_bits(feed(*backend, *state, ids_of(1, 20)), want));
}

// Two states that stand at the same row of a shared page both append to it.
TEST_P(SnapshotTest, ForksWriteTheSameRows) {
  for (const std::size_t shared : {scaled(100), scaled(1024), scaled(1500)}) {
    auto a = backend->make_state();
    feed(*backend, *a, ids_of(1, shared));
    const auto fork = backend->snapshot(*a);
    std::vector<std::unique_ptr<State>> forks;
    std::vector<std::vector<float>> want;
    for (unsigned i = 0; i < 3; ++i) {
      auto alone = backend->make_state();
      feed(*backend, *alone, ids_of(1, shared));
      feed(*backend, *alone, ids_of(10 + i, 7));
      want.push_back(feed(*backend, *alone, ids_of(20 + i, 5)));
      forks.push_back(backend->make_state());
      backend->restore(*forks.back(), *fork);
    }
    for (unsigned i = 0; i < 3; ++i) feed(*backend, *forks[i], ids_of(10 + i, 7));
    for (unsigned i = 0; i < 3; ++i)
      EXPECT_TRUE(same_bits(feed(*backend, *forks[i], ids_of(20 + i, 5)), want[i])) << "fork " << i << " at " << shared;
    feed(*backend, *a, ids_of(30, 12));
    backend->restore(*a, *fork);
    feed(*backend, *a, ids_of(11, 7));
    EXPECT_TRUE(same_bits(feed(*backend, *a, ids_of(21, 5)), want[1])) << "back at " << shared;
  }
}

TEST_P(SnapshotTest, ShapesMustFit) {
  const auto snapshot = backend->snapshot(*backend->make_state());
  const auto other = make_backend(load_weights(tiny_model()), {.kind = is_reference() ? "cpu" : "reference"});
  auto foreign = other->make_state();
  EXPECT_THROW(other->restore(*foreign, *snapshot), Error);
  if (GetParam().kind != "cpu") return;  // one arithmetic
  auto options = GetParam();
  options.float32 = !options.float32;  // other keys and values
  const auto other_arithmetic = make_backend(load_weights(tiny_model()), options);
  auto state = other_arithmetic->make_state();
  feed(*other_arithmetic, *state, ids_of(1, 3));
  EXPECT_THROW(other_arithmetic->restore(*state, *snapshot), Error);
  EXPECT_EQ(state->position(), 3U);
}

// What every timeline computes is what a cold run of the same pieces computes, to the bit, whatever was forked, taken
// back, forgotten and dropped on the way.
TEST_P(SnapshotTest, AnyOrderOfForksEqualsAColdRun) {
  using History = std::vector<unsigned>;  // seeds of the pieces fed
  const auto piece = [&](unsigned seed) { return ids_of(seed, 1 + seed * 149 % scaled(500)); };
  const auto cold_backend = make();
  std::map<History, std::vector<float>> cold;
  const auto cold_run = [&](const History& history) -> const std::vector<float>& {
    auto& logits = cold[history];
    if (logits.empty()) {
      auto state = cold_backend->make_state();
      for (const unsigned seed : history) logits = feed(*cold_backend, *state, piece(seed));
    }
    return logits;
  };

  struct Line {
    std::unique_ptr<State> state;
    History history;
  };
  struct Point {
    std::unique_ptr<Snapshot> snapshot;
    History history;
  };
  std::mt19937 engine(7);
  const auto draw = [&](std::size_t n) { return static_cast<std::size_t>(engine() % n); };
  std::vector<Line> lines;
  for (int i = 0; i < 3; ++i) lines.push_back({backend->make_state(), {}});
  std::vector<Point> points;
  for (int step = 0; step < 300; ++step) {
    Line& line = lines[draw(lines.size())];
    switch (draw(12)) {
      case 0:
      case 1:
      case 2: {
        if (line.history.size() > 8) break;
        const auto seed = static_cast<unsigned>(draw(4));  // few, so that timelines meet
        line.history.push_back(seed);
        const auto logits = feed(*backend, *line.state, piece(seed));
        ASSERT_TRUE(same_bits(logits, cold_run(line.history))) << "step " << step;
        break;
      }
      case 3:
      case 4:
      case 5:
        points.push_back({backend->snapshot(*line.state), line.history});
        break;
      case 6:
      case 7:
      case 8:
        if (points.empty()) break;
        {
          const Point& point = points[draw(points.size())];
          backend->restore(*line.state, *point.snapshot);
          line.history = point.history;
        }
        break;
      case 9:
      case 10:
        if (!points.empty()) points.erase(points.begin() + static_cast<std::ptrdiff_t>(draw(points.size())));
        break;
      default:
        if (draw(2) == 0)
          backend->reset(*line.state);
        else
          line.state = backend->make_state();
        line.history.clear();
    }
  }
}

// A cancelled pass may leave anything behind in the state, but nothing in what it shares.
TEST_P(SnapshotTest, ACancelledPassHarmsNobody) {
  auto state = backend->make_state();
  feed(*backend, *state, ids_of(1, scaled(300)));
  const auto snapshot = backend->snapshot(*state);
  const auto want = feed(*backend, *state, ids_of(2, 50));
  auto other = backend->make_state();
  backend->restore(*other, *snapshot);
  std::atomic<bool> flag{false};
  std::vector<float> logits(backend->config().vocab_size);
  for (int i = 0; i < 20; ++i) {
    flag = false;
    std::thread canceller([&] {
      std::this_thread::sleep_for(std::chrono::microseconds(50 * i));
      flag = true;
    });
    backend->forward(*other, ids_of(3, scaled(400)), LogitRows::last, logits, Cancellation(flag));
    canceller.join();
    backend->restore(*other, *snapshot);
  }
  EXPECT_TRUE(same_bits(feed(*backend, *other, ids_of(2, 50)), want));
}

// One thread runs passes of one state; another takes, drops and restores snapshots of a second one with the same pages.
TEST_P(SnapshotTest, OtherThreadsMayComeAndGo) {
  auto running = backend->make_state();
  feed(*backend, *running, ids_of(1, scaled(700)));
  auto second = backend->make_state();
  backend->restore(*second, *backend->snapshot(*running));
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) {
      const auto one = backend->snapshot(*second);
      auto third = backend->make_state();
      backend->restore(*third, *one);
      backend->restore(*second, *backend->snapshot(*third));
      EXPECT_GT(third->memory_bytes() + one->memory_bytes(), 0U);
    }
  });
  for (unsigned i = 0; i < 30; ++i) feed(*backend, *running, ids_of(2 + i, 9));
  stop = true;
  other.join();
  EXPECT_EQ(second->position(), scaled(700));

  auto alone = backend->make_state();
  feed(*backend, *alone, ids_of(1, scaled(700)));
  EXPECT_TRUE(same_bits(feed(*backend, *second, ids_of(3, 40)), feed(*backend, *alone, ids_of(3, 40))));
}

TEST_P(SnapshotTest, BytesBringItBack) {
  // Around the borders of small and large pages.
  std::vector<std::size_t> positions{0, 1, 2, 100, 255, 256, 257, 1023, 1024, 1025, 2047, 2048, 2049};
  if (is_reference()) positions.resize(4);
  auto state = backend->make_state();
  for (const std::size_t position : positions) {
    SCOPED_TRACE(position);
    if (position > state->position()) feed(*backend, *state, ids_of(1, position - state->position()));
    const auto snapshot = backend->snapshot(*state);
    const auto bytes = written(*backend, *snapshot);
    const auto other = make();
    const auto read = other->read_snapshot(bytes);
    EXPECT_EQ(read->position(), position);
    EXPECT_EQ(written(*other, *read), bytes);
    auto fresh = other->make_state();
    other->restore(*fresh, *read);
    auto original = backend->make_state();
    backend->restore(*original, *snapshot);
    EXPECT_TRUE(same_bits(feed(*other, *fresh, ids_of(2, 3)), feed(*backend, *original, ids_of(2, 3))));
    // The snapshot itself is as it was.
    EXPECT_EQ(written(*other, *read), bytes);
  }
}

TEST_P(SnapshotTest, RefusesBytesOfAnotherSize) {
  auto state = backend->make_state();
  feed(*backend, *state, ids_of(1, 9));
  const auto bytes = written(*backend, *backend->snapshot(*state));
  const std::span all(bytes);
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{7}, std::size_t{8}, std::size_t{16}, bytes.size() / 2, bytes.size() - 1})
    expect_bad_file(*backend, all.first(size));
  auto longer = bytes;
  longer.push_back(std::byte{0});
  expect_bad_file(*backend, longer);
  // A position that the bytes do not hold, up to such as would overflow every product.
  const std::size_t limit = backend->config().max_positions;
  for (const std::uint64_t position :
       {std::uint64_t{0}, std::uint64_t{8}, std::uint64_t{10}, std::uint64_t{limit}, std::uint64_t{limit} + 1,
        std::uint64_t{1} << 32, std::uint64_t{1} << 61, (std::uint64_t{1} << 56) + 9, ~std::uint64_t{0}}) {
    auto changed = bytes;
    std::memcpy(changed.data(), &position, sizeof(position));
    expect_bad_file(*backend, changed);
  }
  for (const std::uint64_t late : {std::uint64_t{1}, std::uint64_t{9}, std::uint64_t{10}, ~std::uint64_t{0}}) {
    auto changed = bytes;
    std::memcpy(changed.data() + 8, &late, sizeof(late));
    expect_bad_file(*backend, changed);
  }
}

TEST_P(SnapshotTest, AnyNumbersAreSurvived) {
  auto state = backend->make_state();
  feed(*backend, *state, ids_of(1, 70));
  auto bytes = written(*backend, *backend->snapshot(*state));
  std::mt19937 engine(3);
  for (const int kind : {0, 1, 2}) {
    for (std::size_t i = 16; i < bytes.size(); ++i)
      bytes[i] = kind == 0 ? std::byte{0xFF} : kind == 1 ? std::byte{0x7F} : static_cast<std::byte>(engine());
    backend->restore(*state, *backend->read_snapshot(bytes));
    feed(*backend, *state, ids_of(2, 80));
    feed(*backend, *state, ids_of(2, 1));
    EXPECT_EQ(state->position(), 151U);
  }
}

TEST_P(SnapshotTest, TheFormatNamesWhatMustMatch) {
  EXPECT_EQ(backend->snapshot_format(), make()->snapshot_format());
  auto options = GetParam();
  options.kind = is_reference() ? "cpu" : "reference";
  EXPECT_NE(backend->snapshot_format(), make_backend(load_weights(tiny_model()), options)->snapshot_format());
  if (GetParam().kind != "cpu") return;
  options = GetParam();
  options.float32 = !options.float32;
  EXPECT_NE(backend->snapshot_format(), make_backend(load_weights(tiny_model()), options)->snapshot_format());
}

INSTANTIATE_TEST_SUITE_P(Kinds, SnapshotTest, testing::ValuesIn(backends_and_arithmetics_under_test()));

TEST(Snapshot, MemoryIsCountedOnce) {
  const auto backend = make_backend(load_weights(tiny_model()), {.kind = "cpu", .threads = 2});
  auto state = backend->make_state();
  feed(*backend, *state, ids_of(1, 2000));
  const std::size_t before = state->memory_bytes();
  EXPECT_GT(before, 0U);
  std::vector<std::unique_ptr<Snapshot>> snapshots;
  const auto sum = [&] {
    std::size_t bytes = state->memory_bytes();
    for (const auto& snapshot : snapshots) bytes += snapshot->memory_bytes();
    return bytes;
  };
  for (int i = 0; i < 5; ++i) snapshots.push_back(backend->snapshot(*state));
  // All hold the same: nothing is used that was not before, but for the rounding of each share.
  EXPECT_LE(sum(), before);
  EXPECT_GE(sum() + 1000, before);
  feed(*backend, *state, ids_of(2, 1));
  const std::size_t recurrent = sum() - before;  // appended to the shared pages: only the linear layers' part is new
  EXPECT_GT(recurrent, 0U);
  backend->restore(*state, *snapshots[0]);
  feed(*backend, *state, ids_of(3, 1));
  EXPECT_GT(sum() - before, recurrent);  // the row was written by another timeline: a page of its own
  state.reset();
  std::size_t left = 0;
  for (const auto& snapshot : snapshots) left += snapshot->memory_bytes();
  EXPECT_LE(left, before);
  EXPECT_GE(left + 1000, before);
}

TEST(Snapshot, AResetStateKeepsOnlyItsOwnMemory) {
  const auto backend = make_backend(load_weights(tiny_model()), {.kind = "cpu", .threads = 2});
  auto state = backend->make_state();
  feed(*backend, *state, ids_of(1, 1500));
  const std::size_t used = state->memory_bytes();
  backend->reset(*state);
  EXPECT_EQ(state->memory_bytes(), used);
  feed(*backend, *state, ids_of(1, 1500));
  EXPECT_EQ(state->memory_bytes(), used);
  const auto snapshot = backend->snapshot(*state);
  backend->reset(*state);
  EXPECT_EQ(state->memory_bytes(), 0U);
  EXPECT_EQ(snapshot->memory_bytes(), used);
}

}  // namespace
}  // namespace qwen35
