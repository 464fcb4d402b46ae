#pragma once

#include <cstddef>
#include <vector>

#include "backend/cpu/kernels/kernels.h"

namespace qwen35::cpu {

/// Tokens that one chunk of the delta rule takes at once.
inline constexpr std::size_t kChunk = 64;

/// The gated delta rule of one value head over a chunk of tokens (model page, section 2).
class DeltaRule {
 public:
  /// Allocates scratch for key_dim × value_dim states. One object a thread.
  DeltaRule(std::size_t key_dim, std::size_t value_dim);

  /// Moves s (key_dim × value_dim) over `tokens` <= kChunk tokens. q, k: tokens × key_dim, normalised, q scaled; v:
  /// tokens × value_dim, overwritten; log_decay and beta: one a token; y: tokens rows of value_dim, y_stride apart.
  void run(const Kernels& kernels, float* s, std::size_t tokens, const float* q, const float* k, float* v,
           const float* log_decay, const float* beta, float* y, std::size_t y_stride);

  /// The same as that many calls with one token each, to the bit. y may be v when y_stride is value_dim.
  void steps(const Kernels& kernels, float* s, std::size_t tokens, const float* q, const float* k, const float* v,
             const float* log_decay, const float* beta, float* y, std::size_t y_stride) const;

 private:
  void chunk(const Kernels& kernels, float* s, std::size_t tokens, const float* q, const float* k, float* v,
             const float* log_decay, const float* beta, float* y, std::size_t y_stride);

  std::size_t dk_;
  std::size_t dv_;
  std::vector<float> kk_;      ///< kChunk × kChunk
  std::vector<float> qk_;      ///< kChunk × kChunk
  std::vector<float> memory_;  ///< kChunk × value_dim: what the incoming state answers to each key
  std::vector<float> keys_t_;  ///< key_dim × kChunk
};

}  // namespace qwen35::cpu
