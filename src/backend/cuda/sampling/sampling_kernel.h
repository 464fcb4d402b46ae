#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "backend/cuda/sampling/sampling_plan.h"

namespace qwen35::cuda {

/// A candidate, a weight or a result.
using Word = unsigned long long;

/// What one launch of the kernel is told. The plan is the rows' RowPlans, then their LogitChanges.
struct SamplingLaunch {
  /// Of a plan that goes along as a parameter.
  static constexpr std::uint32_t kInlineBytes = 3968;
  /// In a result; the other bits of the lower half say how many draws were taken, the upper half is the token, all ones
  /// when no logit was finite.
  static constexpr Word kDone = 1;
  static constexpr std::uint32_t kCounters = 3;
  static constexpr std::uint32_t kLeastCapacity = 3 * kMostCandidates;

  const unsigned char* device;  ///< the plan in device memory; nullptr: it is in `bytes`
  std::uint32_t rows;
  std::uint32_t capacity;   ///< of a row's candidates: kMostCandidates for each of its slices, at least kLeastCapacity
  Word* candidates;         ///< device memory: rows × capacity
  std::uint32_t* counters;  ///< device memory: rows × kCounters, all 0 between launches: candidates there, slices done,
                            ///< and of a chain's first row the chain's rows that can be drawn
  Word* results;  ///< host memory, one a row; 0 before
  alignas(16) unsigned char bytes[kInlineBytes];
};
static_assert(sizeof(SamplingLaunch) <= 4096);

/// Puts the kernel on `stream`. `slices`: of the longest row, with up to 3 floats before it. Throws as check() does.
void launch_sampling(const SamplingLaunch& launch, std::uint32_t slices, cudaStream_t stream);

}  // namespace qwen35::cuda
