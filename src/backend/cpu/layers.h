#pragma once

#include <cstddef>
#include <span>
#include <variant>
#include <vector>

#include "backend/cpu/activations.h"
#include "backend/cpu/delta_rule.h"
#include "backend/cpu/state.h"
#include "checkpoint/weights.h"

namespace qwen35::cpu {

/// Tokens that one pass over the weights takes at most: enough to make the weights' bytes cheap, few enough that the
/// activations of a pass stay in the second-level cache.
inline constexpr std::size_t kPassTokens = 256;

/// How the attention of one sequence is shared out in a pass.
struct AttentionWork {
  std::size_t first_task;
  std::size_t token_blocks;
  std::size_t spans;           ///< of keys
  std::size_t partials;        ///< where its partial results stand in Context::partials, when there are several spans
  std::size_t partial_floats;  ///< of one of them
};

/// What all layers of one backend share: kernels, threads and scratch, sized for kPassTokens.
struct Context {
  const ModelConfig& config;
  const Kernels& kernels;
  ThreadPool& pool;

  Activations activations;
  AlignedArray<float> wide;      ///< scratch for a sublayer's projections
  AlignedArray<float> partials;  ///< attention over spans of keys, to be merged
  std::vector<float> cosines;    ///< tokens × rotary_dim / 2, for the positions of this pass
  std::vector<float> sines;
  std::vector<AttentionWork> attention;  ///< one a sequence

  /// Scratch of one thread, so that parallel bodies allocate nothing.
  struct Thread {
    std::vector<float> floats;
    DeltaRule delta;
  };
  std::vector<Thread> threads;
};

/// The rows of a pass that belong to one state: tokens [begin, begin + count) of the pass. In products all rows go
/// together; what remembers takes each sequence by itself, exactly as if it were alone.
struct Sequence {
  std::size_t begin;
  std::size_t count;
  CpuState* state;
  CpuState::Pass pass;  ///< where it leaves what its linear layers remember
};

/// Sublayers take the residual stream x (tokens × hidden) and the weights of the RMSNorm before them, and give what is
/// to be added to x: out (tokens × hidden). `layer` counts the layers of its kind. Sequences lie one behind the other
/// and have `tokens` in all.

/// Gated DeltaNet.
struct LinearAttention {
  LinearAttention(const LinearAttentionWeights& weights, const ModelConfig& config, const Packing& packing);
  void forward(Context& context, const float* x, const std::vector<float>& norm, std::size_t tokens,
               std::span<const Sequence> sequences, std::size_t layer, float* out) const;
  [[nodiscard]] std::size_t memory_bytes() const;

  PackedMatrix in_proj_qkv, in_proj_z, in_proj_b, in_proj_a, out_proj;
  std::vector<float> conv;   ///< conv_kernel × conv_channels: a tap's channels side by side
  std::vector<float> decay;  ///< value_heads: exp(A_log)
  const LinearAttentionWeights* weights;
};

/// Gated softmax attention with rotary embedding, grouped heads, causal.
struct FullAttention {
  FullAttention(const FullAttentionWeights& weights, const Packing& packing);
  void forward(Context& context, const float* x, const std::vector<float>& norm, std::size_t tokens,
               std::span<const Sequence> sequences, std::size_t layer, float* out) const;
  [[nodiscard]] std::size_t memory_bytes() const;

  PackedMatrix q_proj, k_proj, v_proj, o_proj;
  const FullAttentionWeights* weights;
};

/// SwiGLU: down(silu(gate x) · up x).
struct Mlp {
  Mlp(const LayerWeights& weights, const Packing& packing);
  void forward(Context& context, const float* x, const std::vector<float>& norm, std::size_t tokens, float* out) const;
  [[nodiscard]] std::size_t memory_bytes() const;

  PackedMatrix gate_proj, up_proj, down_proj;
};

struct Layer {
  std::variant<LinearAttention, FullAttention> mixer;
  Mlp mlp;
  const LayerWeights* weights;
};

/// context.activations = RMSNorm of each row of x (tokens × hidden), in the forms that `matrices` ask for.
void normalize(Context& context, const float* x, std::size_t tokens, const std::vector<float>& weight,
               std::span<const PackedMatrix* const> matrices);

/// Floats that `wide` must hold for any sublayer of this model.
std::size_t wide_floats(const ModelConfig& config);
/// Floats that a thread's scratch must hold.
std::size_t thread_floats(const ModelConfig& config);

}  // namespace qwen35::cpu
