#pragma once

// The recurrence of a linear-attention layer for few tokens: convolution, SiLU, l2 norms and the gated delta rule
// (model page, section 2), sixteen value columns of one head at a time, two a warp, S in registers.

#include "backend/cuda/decode_pass.cuh"
#include "backend/cuda/mix_math.cuh"

namespace qwen35::cuda {

inline constexpr std::uint32_t kItemColumns = 16;
inline constexpr int kWarpColumns = kItemColumns / kWarps;  ///< of S, a warp
/// Taps of the convolution that registers are kept for.
template <typename Shape>
inline constexpr int kTaps = std::is_same_v<Shape, ModelSizes> ? 8 : 4;

/// Items of one sequence.
template <typename Shape>
QWEN35_HD inline std::uint32_t delta_items(const Shape& s) {
  return s.value_heads * (s.value_dim / kItemColumns);
}
/// Words of a block's memory that an item needs for `tokens`.
QWEN35_HD inline std::uint32_t delta_words(const ModelSizes& s, std::uint32_t tokens) {
  return tokens * (2 * s.key_dim + kItemColumns + 2);
}

/// The convolution of one channel, right-aligned: the newest tap last.
template <typename Shape>
struct Taps {
  static constexpr int kMost = kTaps<Shape>;
  float weight[kMost];
  float past[kMost - 1];

  __device__ __forceinline__ void load(const Shape& s, const DeviceLayer& layer, const SequenceView& sequence,
                                       std::uint32_t channel) {
#pragma unroll
    for (int i = 0; i < kMost; ++i) {
      const int tap = i - kMost + static_cast<int>(s.conv_kernel);
      weight[i] = tap < 0 ? 0.0F : __ldg(layer.conv + static_cast<std::uint32_t>(tap) * s.conv_channels() + channel);
    }
#pragma unroll
    for (int i = 0; i < kMost - 1; ++i) {
      const auto back = static_cast<std::uint32_t>(kMost - 1 - i);
      past[i] = back < s.conv_kernel && back <= sequence.position
                    ? __ldcg(ring_row(s, sequence, layer.index, sequence.position - back) + channel)
                    : 0.0F;
    }
  }
  __device__ __forceinline__ float step(float newest) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kMost - 1; ++i) sum += weight[i] * past[i];
    sum += weight[kMost - 1] * newest;
#pragma unroll
    for (int i = 0; i < kMost - 2; ++i) past[i] = past[i + 1];
    past[kMost - 2] = newest;
    return sum;
  }
};

/// `input(token, i)`: value i (of the ring's row) of the sequence's token; `output(token, column of y, value)`.
template <int kEach, typename Shape, typename Input, typename Output>
__device__ __forceinline__ void delta_item(const Shape& s, const DeviceLayer& layer, const SequenceView& sequence,
                                           std::uint32_t item, std::uint32_t thread, std::uint32_t* scratch,
                                           const Input& input, const Output& output) {
  const std::uint32_t lane = thread % kLanes;
  const std::uint32_t warp = thread / kLanes;
  const std::uint32_t slices = s.value_dim / kItemColumns;
  const std::uint32_t head = item / slices;
  const std::uint32_t first_column = item % slices * kItemColumns + warp * kWarpColumns;
  const std::uint32_t key_head = head / (s.value_heads / s.key_heads);
  const std::uint32_t channels = 2 * s.key_dim + kItemColumns;

  // S is on its way while the inputs are waited for.
  float state[kWarpColumns][kEach];
  const std::size_t s_at = (std::size_t{layer.index} * s.value_heads + head) * s.value_dim * s.key_dim +
                           std::size_t{first_column} * s.key_dim + lane * kEach;
  const bool mine = lane * kEach < s.key_dim;
#pragma unroll
  for (int c = 0; c < kWarpColumns; ++c) {
    const float* const from = sequence.s_in + s_at + static_cast<std::uint32_t>(c) * s.key_dim;
#pragma unroll
    for (int i = 0; i < kEach; ++i) state[c][i] = 0;
    if (!mine || sequence.s_in == nullptr) continue;
    if constexpr (kEach % 4 == 0) {
#pragma unroll
      for (int i = 0; i < kEach; i += 4) {
        const float4 v = __ldcg(reinterpret_cast<const float4*>(from + i));
        state[c][i] = v.x, state[c][i + 1] = v.y, state[c][i + 2] = v.z, state[c][i + 3] = v.w;
      }
    } else {
#pragma unroll
      for (int i = 0; i < kEach; ++i) state[c][i] = __ldcg(from + i);
    }
  }

  float* const values = reinterpret_cast<float*>(scratch);  // tokens × channels: q, k, 16 of v
  float* const gates = values + sequence.count * channels;  // tokens × 2: beta, decay
  for (std::uint32_t i = thread; i < channels; i += kThreads) {
    const std::uint32_t channel = i < s.key_dim       ? key_head * s.key_dim + i
                                  : i < 2 * s.key_dim ? (s.key_heads + key_head) * s.key_dim + i - s.key_dim
                                                      : 2 * s.key_heads * s.key_dim + head * s.value_dim +
                                                            item % slices * kItemColumns + i - 2 * s.key_dim;
    Taps<Shape> taps;
    taps.load(s, layer, sequence, channel);
    for (std::uint32_t t = 0; t < sequence.count; ++t) values[t * channels + i] = silu(taps.step(input(t, channel)));
  }
  if (warp == kWarps - 1 && lane < sequence.count) {
    const float bias = __ldg(layer.dt_bias + head);
    const float rate = __ldg(layer.decay + head);
    const float b = input(lane, s.conv_channels() + head);
    const float a = input(lane, s.conv_channels() + s.value_heads + head) + bias;
    const float softplus = a > 20 ? a : log1pf(expf(a));
    gates[2 * lane] = sigmoid(b);
    gates[2 * lane + 1] = expf(-rate * softplus);
  }
  sync_compute();

  const float q_scale = rsqrtf(static_cast<float>(s.key_dim));
  for (std::uint32_t t = 0; t < sequence.count; ++t) {
    const float* const q = values + t * channels;
    float qs[kEach];
    float ks[kEach];
    float qq = 0, kk = 0, qk = 0;
    float q_state[kWarpColumns] = {};
    float k_state[kWarpColumns] = {};
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      qs[i] = mine ? q[lane * kEach + i] : 0.0F;
      ks[i] = mine ? q[s.key_dim + lane * kEach + i] : 0.0F;
      qq += qs[i] * qs[i];
      kk += ks[i] * ks[i];
      qk += qs[i] * ks[i];
#pragma unroll
      for (int c = 0; c < kWarpColumns; ++c) {
        q_state[c] += qs[i] * state[c][i];
        k_state[c] += ks[i] * state[c][i];
      }
    }
    // The norms' sums and those over S together: y = q (g S) + (q k) · beta (v - k (g S)).
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
      qq += __shfl_xor_sync(0xFFFFFFFFU, qq, step);
      kk += __shfl_xor_sync(0xFFFFFFFFU, kk, step);
      qk += __shfl_xor_sync(0xFFFFFFFFU, qk, step);
#pragma unroll
      for (int c = 0; c < kWarpColumns; ++c) {
        q_state[c] += __shfl_xor_sync(0xFFFFFFFFU, q_state[c], step);
        k_state[c] += __shfl_xor_sync(0xFFFFFFFFU, k_state[c], step);
      }
    }
    const float q_norm = rsqrtf(qq + 1e-6F) * q_scale;
    const float k_norm = rsqrtf(kk + 1e-6F);
    const float beta = gates[2 * t];
    const float decay = gates[2 * t + 1];
#pragma unroll
    for (int c = 0; c < kWarpColumns; ++c) {
      const auto column = static_cast<std::uint32_t>(c);
      const float added = delta_added(beta, q[2 * s.key_dim + warp * kWarpColumns + column], decay, k_norm, k_state[c]);
      if (lane == 0)
        output(t, head * s.value_dim + first_column + column,
               delta_result(decay, q_norm, q_state[c], k_norm, qk, added));
      const float each = k_norm * added;
#pragma unroll
      for (int i = 0; i < kEach; ++i) state[c][i] = delta_state(decay, state[c][i], ks[i], each);
    }
  }

#pragma unroll
  for (int c = 0; c < kWarpColumns; ++c) {
    if (!mine) continue;
    float* const to = sequence.s_out + s_at + static_cast<std::uint32_t>(c) * s.key_dim;
    if constexpr (kEach % 4 == 0) {
#pragma unroll
      for (int i = 0; i < kEach; i += 4)
        *reinterpret_cast<float4*>(to + i) =
            make_float4(state[c][i], state[c][i + 1], state[c][i + 2], state[c][i + 3]);
    } else {
#pragma unroll
      for (int i = 0; i < kEach; ++i) to[i] = state[c][i];
    }
  }
  sync_compute();  // the values are written again
}

/// With as many of a column's values a lane as key_dim asks for.
template <typename Shape, typename Input, typename Output>
__device__ __forceinline__ void delta_item(const Shape& s, const DeviceLayer& layer, const SequenceView& sequence,
                                           std::uint32_t item, std::uint32_t thread, std::uint32_t* scratch,
                                           const Input& input, const Output& output) {
  if (s.key_dim <= 32) {
    delta_item<1>(s, layer, sequence, item, thread, scratch, input, output);
  } else if (s.key_dim <= 64) {
    delta_item<2>(s, layer, sequence, item, thread, scratch, input, output);
  } else if (s.key_dim <= 128) {
    delta_item<4>(s, layer, sequence, item, thread, scratch, input, output);
  } else {
    delta_item<8>(s, layer, sequence, item, thread, scratch, input, output);
  }
}

/// This block's items of a linear layer.
template <typename C>
__device__ __forceinline__ void mix_linear(const Block<C>& b, const DeviceLayer& layer, std::uint32_t number) {
  const auto& s = b.sizes();
  const auto in = b.link(b.args.buffers.in, number);
  const auto mixed = b.link(b.args.buffers.mixed, number);
  const std::uint32_t each = delta_items(s);
  for (std::uint32_t i = b.block; i < each * b.args.sequences; i += b.blocks) {
    const SequenceView& sequence = b.args.sequence[i / each];
    delta_item(
        s, layer, sequence, i % each, b.thread, b.scratch,
        [&](std::uint32_t t, std::uint32_t value) {
          return in.load_one((sequence.first + t) * b.args.buffers.in_floats + value);
        },
        [&](std::uint32_t t, std::uint32_t value, float y) {
          mixed.store((sequence.first + t) * b.args.buffers.mixed_floats + value, y);
        });
  }
}

}  // namespace qwen35::cuda
