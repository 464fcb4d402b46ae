#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "sampling/sample_request.h"

namespace qwen35::cuda {

/// Logits that one block of the sampling kernel takes.
inline constexpr std::uint32_t kSliceLogits = 4096;
/// Candidates that a slice hands on at most, and that a token is drawn from at most: the largest top-k.
inline constexpr std::uint32_t kMostCandidates = 256;

/// What happens to one token's logit before it is compared, in this order: barred, bias, repetition penalty, presence
/// and frequency penalty. A token has one of these, and more by `next` when it has several biases.
struct LogitChange {
  static constexpr std::uint32_t kNobody = 0xFFFFFFFF;
  static constexpr std::uint32_t kBarred = 1U << 31U, kBiased = 1U << 30U, kRepeated = 1U << 29U;
  static constexpr std::uint32_t kCount = kRepeated - 1;

  std::uint32_t id = kNobody;  ///< kNobody: one that another names by `next`, of which only the bias counts
  std::uint32_t marks = 0;     ///< flags, and how often the reply has the token
  float bias = 0;
  std::uint32_t next = 0;  ///< the token's next bias, counted from 1 on among the row's changes; 0: none
};

/// One row's part of the kernel's work.
struct RowPlan {
  const float* logits = nullptr;
  std::uint64_t random[4] = {};
  std::uint32_t vocabulary = 0;
  std::uint32_t first_change = 0;  ///< LogitChanges before this row's
  std::uint32_t changes = 0;
  std::uint32_t top_k = 1;  ///< 1 to kMostCandidates; 1 when greedy
  float temperature = 0;
  float top_p = 1;
  float min_p = 0;
  float repetition_penalty = 1;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  /// Rows that draw one after the other from one generator, the first one's: rows between the first one's index and
  /// its index + chain. 1: alone.
  std::uint32_t chain_first = 0;
  std::uint32_t chain = 1;
  std::uint32_t unused[2] = {};
};
static_assert(sizeof(LogitChange) == 16 && sizeof(RowPlan) % 16 == 0);

/// Makes the changes of a row from a request's lists. Keeps a table as long as the vocabulary between calls.
class SamplingPlan {
 public:
  void clear() {
    rows_.clear();
    changes_.clear();
  }
  /// Adds a row. Tokens outside the vocabulary are passed over. `follows`: it draws behind the row before, which there
  /// must be.
  void add(const float* logits, const SampleRequest& request, bool follows = false);
  [[nodiscard]] std::span<const RowPlan> rows() const { return rows_; }
  [[nodiscard]] std::span<const LogitChange> changes() const { return changes_; }

 private:
  LogitChange* change_of(TokenId id, std::size_t vocabulary);

  std::vector<RowPlan> rows_;
  std::vector<LogitChange> changes_;
  std::vector<std::uint32_t> slots_;  ///< by token: 1 + its change's index; all 0 between calls
};

}  // namespace qwen35::cuda
