#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "cli/benchmark.h"
#include "cli/decode_steps.h"

namespace qwen35::cli {

/// Measures what conversations do with a state beside plain decode: going back to a snapshot, verifying
/// guesses, several at once.
class StateBenchmark {
 public:
  /// `state` stands at `start`, which leaves kPositions free; both must outlive this.
  /// `sequences`: conversations that are decoded together at most.
  StateBenchmark(Backend& backend, State& state, const Snapshot& start, std::size_t sequences = 16)
      : backend_(backend), state_(state), start_(start), sequences_(sequences), steps_(backend, sequences) {}

  /// Positions that one round needs.
  static constexpr std::size_t kPositions = 32;

  /// One round of all measurements.
  void sample(std::span<const TokenId> tokens);
  /// After at least one round.
  [[nodiscard]] StateTimes times() const;

 private:
  double decode(TokenId token);

  Backend& backend_;
  State& state_;
  const Snapshot& start_;
  std::size_t sequences_;
  DecodeSteps steps_;
  std::vector<double> snapshot_, after_snapshot_, restore_, after_restore_, decode_;
  std::vector<std::pair<std::size_t, std::vector<double>>> verify_, batch_;
};

}  // namespace qwen35::cli
