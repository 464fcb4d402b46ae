#include "backend/cpu/delta_rule.h"

#include <algorithm>
#include <cmath>

namespace qwen35::cpu {
namespace {

/// Below this many tokens the recurrence is cheaper than the chunked form.
constexpr std::size_t kShortest = 8;
/// Rows of a triangular matrix that are computed against the same columns.
constexpr std::size_t kStrip = 16;

}  // namespace

DeltaRule::DeltaRule(std::size_t key_dim, std::size_t value_dim)
    : dk_(key_dim),
      dv_(value_dim),
      kk_(kChunk * kChunk),
      qk_(kChunk * kChunk),
      memory_(kChunk * value_dim),
      keys_t_(key_dim * kChunk) {}

void DeltaRule::run(const Kernels& kernels, float* s, std::size_t tokens, const float* q, const float* k, float* v,
                    const float* log_decay, const float* beta, float* y, std::size_t y_stride) {
  if (tokens >= kShortest)
    chunk(kernels, s, tokens, q, k, v, log_decay, beta, y, y_stride);
  else
    steps(kernels, s, tokens, q, k, v, log_decay, beta, y, y_stride);
}

void DeltaRule::steps(const Kernels& kernels, float* s, std::size_t tokens, const float* q, const float* k,
                      const float* v, const float* log_decay, const float* beta, float* y, std::size_t y_stride) const {
  for (std::size_t t = 0; t < tokens; ++t) {
    kernels.delta_step(s, dk_, dv_, q + t * dk_, k + t * dk_, v + t * dv_, std::exp(log_decay[t]), beta[t],
                       y + t * y_stride);
  }
}

// Unrolling S_i = g_i S_{i-1} + k_i ⊗ u_i with G_i = Σ_{j≤i} log g_j gives
//     u_i = beta_i (v_i − e^{G_i} k_iᵀS_0 − Σ_{j<i} e^{G_i−G_j} (k_i·k_j) u_j)      a unit lower triangular system for
//     u y_i = e^{G_i} q_iᵀS_0 + Σ_{j≤i} e^{G_i−G_j} (q_i·k_j) u_j S_n = e^{G_n} S_0 + Σ_j e^{G_n−G_j} k_j ⊗ u_j
// Every exponent is <= 0, so nothing overflows.
void DeltaRule::chunk(const Kernels& kernels, float* s, std::size_t tokens, const float* q, const float* k, float* v,
                      const float* log_decay, const float* beta, float* y, std::size_t y_stride) {
  float decay[kChunk];
  float total = 0;
  for (std::size_t i = 0; i < tokens; ++i) decay[i] = total += log_decay[i];

  // Only the lower triangles count: strips of rows against the columns up to their diagonal.
  for (std::size_t i = 0; i < tokens; i += kStrip) {
    const std::size_t rows = std::min(kStrip, tokens - i);
    float* kk = kk_.data() + i * kChunk;
    float* qk = qk_.data() + i * kChunk;
    kernels.gemm_nt(rows, i + rows, dk_, k + i * dk_, dk_, Element::f32, k, dk_, kk, kChunk);
    kernels.gemm_nt(rows, i + rows, dk_, q + i * dk_, dk_, Element::f32, k, dk_, qk, kChunk);
    for (std::size_t row = 0; row < rows; ++row, kk += kChunk, qk += kChunk) {
      kernels.decay_scale(kk, beta[i + row], decay[i + row], decay, i + row);
      kernels.decay_scale(qk, 1.0F, decay[i + row], decay, i + row + 1);
      std::fill(qk + i + row + 1, qk + i + rows, 0.0F);
    }
  }

  float* u = v;
  kernels.gemm_nn(tokens, dv_, dk_, k, dk_, Element::f32, s, dv_, memory_.data(), dv_, false);
  for (std::size_t i = 0; i < tokens; ++i) {
    kernels.axpby(u + i * dv_, beta[i], memory_.data() + i * dv_, -beta[i] * std::exp(decay[i]), dv_);
  }
  kernels.solve_lower(tokens, dv_, kk_.data(), kChunk, u, dv_);

  kernels.gemm_nn(tokens, dv_, dk_, q, dk_, Element::f32, s, dv_, y, y_stride, false);
  for (std::size_t i = 0; i < tokens; ++i) kernels.scale(y + i * y_stride, std::exp(decay[i]), dv_);
  for (std::size_t i = 0; i < tokens; i += kStrip) {
    const std::size_t rows = std::min(kStrip, tokens - i);
    kernels.gemm_nn(rows, dv_, i + rows, qk_.data() + i * kChunk, kChunk, Element::f32, u, dv_, y + i * y_stride,
                    y_stride, true);
  }

  for (std::size_t j = 0; j < tokens; ++j) {
    const float factor = std::exp(total - decay[j]);
    for (std::size_t i = 0; i < dk_; ++i) keys_t_[i * kChunk + j] = k[j * dk_ + i] * factor;
  }
  kernels.scale(s, std::exp(total), dk_ * dv_);
  kernels.gemm_nn(dk_, dv_, tokens, keys_t_.data(), kChunk, Element::f32, u, dv_, s, dv_, true);
}

}  // namespace qwen35::cpu
