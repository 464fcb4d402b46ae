#include "cli/state_benchmark.h"

#include <chrono>
#include <memory>

namespace qwen35::cli {
namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

}  // namespace

double StateBenchmark::decode(TokenId token) {
  const auto start = Clock::now();
  steps_.feed(state_, std::span(&token, 1));
  return milliseconds_since(start);
}

void StateBenchmark::sample(std::span<const TokenId> tokens) {
  backend_.restore(state_, start_);
  decode(tokens[0]);

  auto start = Clock::now();
  const std::unique_ptr<Snapshot> snapshot = backend_.snapshot(state_);
  snapshot_.push_back(milliseconds_since(start));
  after_snapshot_.push_back(decode(tokens[1]));
  decode_.push_back(decode(tokens[2]));
  start = Clock::now();
  backend_.restore(state_, *snapshot);
  restore_.push_back(milliseconds_since(start));
  after_restore_.push_back(decode(tokens[1]));

  // Half of each pass is kept, the other half wrong; a pass takes along what the one before kept, so the second counts.
  std::size_t row = 0;
  for (std::size_t n = 2; n <= backend_.max_verify(); n *= 2, ++row) {
    if (row == verify_.size()) verify_.push_back({n, {}});
    for (int i = 0; i < 2; ++i) {
      start = Clock::now();
      steps_.verify(state_, tokens.first(n));
      backend_.keep(state_, n / 2);
      if (i == 1) verify_[row].second.push_back(milliseconds_since(start));
    }
  }

  // Several conversations at the same depth, a token each in one pass; the first pass only parts them from the
  // snapshot.
  std::vector<std::unique_ptr<State>> states;
  std::vector<Feed> feeds;
  row = 0;
  for (std::size_t n = 2; n <= sequences_; n *= 2, ++row) {
    if (row == batch_.size()) batch_.push_back({n, {}});
    while (states.size() < n) {
      states.push_back(backend_.make_state());
      backend_.restore(*states.back(), start_);
      feeds.push_back(
          steps_.share(states.size() - 1, *states.back(), tokens.subspan(states.size() % tokens.size(), 1)));
    }
    for (int i = 0; i < 2; ++i) {
      start = Clock::now();
      backend_.forward_batch(feeds);
      if (i == 1) batch_[row].second.push_back(milliseconds_since(start));
    }
  }
}

StateTimes StateBenchmark::times() const {
  StateTimes times;
  times.depth = start_.position();
  times.decode_ms = summarize(decode_);
  times.snapshot_ms = summarize(snapshot_);
  times.after_snapshot_ms = summarize(after_snapshot_);
  times.restore_ms = summarize(restore_);
  times.after_restore_ms = summarize(after_restore_);
  for (const auto& [tokens, ms] : verify_) times.verify_ms.emplace_back(tokens, summarize(ms));
  for (const auto& [states, ms] : batch_) times.batch_ms.emplace_back(states, summarize(ms));
  return times;
}

}  // namespace qwen35::cli
