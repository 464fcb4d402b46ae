#pragma once

// The recurrence of a linear-attention layer for few tokens: convolution, SiLU, l2 norms and the gated delta rule
// (model page, section 2), sixteen value columns of one head at a time, two a warp, S in registers.

#include "backend/cuda/decode/decode_pass.cuh"
#include "backend/cuda/pieces/mix_math.cuh"

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
  /// From memory of the block, where fetch_mixer() has put them: weights, then the past, `stride` apart.
  __device__ __forceinline__ void load(const Shape& s, const float* at, std::uint32_t stride, std::uint32_t position) {
#pragma unroll
    for (int i = 0; i < kMost; ++i) weight[i] = at[static_cast<std::uint32_t>(i) * stride];
#pragma unroll
    for (int i = 0; i < kMost - 1; ++i) {
      const auto back = static_cast<std::uint32_t>(kMost - 1 - i);
      past[i] = back < s.conv_kernel && back <= position ? at[static_cast<std::uint32_t>(kMost + i) * stride] : 0.0F;
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

/// One token of the recurrence for a warp's columns of S, of which each lane has kEach keys. `values`: q, k and the
/// item's 16 of v; `gates`: beta and decay; output(column of the warp's, y).
template <int kEach, typename Shape, typename Output>
__device__ __forceinline__ void delta_token(const Shape& s, const float* values, const float* gates, bool mine,
                                            std::uint32_t warp, std::uint32_t lane, float (&state)[kWarpColumns][kEach],
                                            const Output& output) {
  const float q_scale = inverse_root(static_cast<float>(s.key_dim));
  float qs[kEach];
  float ks[kEach];
  float qq = 0, kk = 0, qk = 0;
  float q_state[kWarpColumns] = {};
  float k_state[kWarpColumns] = {};
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const auto key = lane * kEach + static_cast<std::uint32_t>(i);
    qs[i] = mine ? values[key] : 0.0F;
    ks[i] = mine ? values[s.key_dim + key] : 0.0F;
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
  const float beta = gates[0];
  const float decay = gates[1];
#pragma unroll
  for (int c = 0; c < kWarpColumns; ++c) {
    const auto column = static_cast<std::uint32_t>(c);
    const float added =
        delta_added(beta, values[2 * s.key_dim + warp * kWarpColumns + column], decay, k_norm, k_state[c]);
    if (lane == 0) output(column, delta_result(decay, q_norm, q_state[c], k_norm, qk, added));
    const float each = k_norm * added;
#pragma unroll
    for (int i = 0; i < kEach; ++i) state[c][i] = delta_state(decay, state[c][i], ks[i], each);
  }
}

/// beta and the decay of a head (model page, section 2) from b and a.
__device__ __forceinline__ float2 delta_gates(const DeviceLayer& layer, std::uint32_t head, float b, float a) {
  const float bias = __ldg(layer.dt_bias + head);
  const float rate = __ldg(layer.decay + head);
  const float x = a + bias;
  const float softplus = x > 20 ? x : log1pf(expf(x));
  return make_float2(sigmoid(b), expf(-rate * softplus));
}

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
    const float2 both = delta_gates(layer, head, input(lane, s.conv_channels() + head),
                                    input(lane, s.conv_channels() + s.value_heads + head));
    gates[2 * lane] = both.x;
    gates[2 * lane + 1] = both.y;
  }
  sync_compute();

  for (std::uint32_t t = 0; t < sequence.count; ++t) {
    delta_token(s, values + t * channels, gates + 2 * t, mine, warp, lane, state,
                [&](std::uint32_t column, float y) { output(t, head * s.value_dim + first_column + column, y); });
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

// One sequence, sizes known: a block has at most one item, S and what the convolution reads are fetched into the
// block's memory while the layer's first product waits for its activations, and the mixer waits for that product alone.

/// Channels of an item: q, k and its 16 of v.
inline constexpr std::uint32_t kOneChannels = 2 * Shape08B::key_dim + kItemColumns;
inline constexpr std::uint32_t kOneStateFloats = kItemColumns * Shape08B::key_dim;
/// Rows of kOneChannels floats after S: four taps' weights, three tokens of the past; then each token's values and
/// gates.
inline constexpr std::uint32_t kOneRows = 7;
constexpr std::uint32_t ahead_floats(std::uint32_t tokens) {
  return kOneStateFloats + (kOneRows + tokens) * kOneChannels + 2 * tokens;
}

template <typename C>
__device__ __forceinline__ bool mixes_one(const Block<C>& b) {
  return b.args.sequences == 1 && b.blocks >= delta_items(b.sizes());
}

/// The channel of value `i` (of kOneChannels) of an item.
__device__ __forceinline__ std::uint32_t one_channel(std::uint32_t item, std::uint32_t i) {
  using S = Shape08B;
  constexpr std::uint32_t kSlices = S::value_dim / kItemColumns;
  const std::uint32_t head = item / kSlices;
  static_assert(S::key_heads == S::value_heads);
  if (i < S::key_dim) return head * S::key_dim + i;
  if (i < 2 * S::key_dim) return S::key_heads * S::key_dim + head * S::key_dim + i - S::key_dim;
  return 2 * S::key_heads * S::key_dim + item * kItemColumns + i - 2 * S::key_dim;
}

/// Asks for S of this block's item and what its convolution reads; cp.async.wait_all and a barrier make them whole.
template <typename C>
__device__ __forceinline__ void fetch_mixer(const Block<C>& b, const DeviceLayer& layer) {
  using S = Shape08B;
  const S s;
  const SequenceView& sequence = b.args.sequence[0];
  if (b.block >= delta_items(s)) return;
  const auto copy = [](float* to, const float* from, bool there) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
                 "r"(there ? 16 : 0)
                 : "memory");
  };
  static_assert(kOneStateFloats == kThreads * 4);
  const std::size_t state = (std::size_t{layer.index} * delta_items(s) + b.block) * kOneStateFloats;
  const bool there = sequence.s_in != nullptr;
  copy(b.ahead + 4 * b.thread, (there ? sequence.s_in : sequence.s_out) + state + 4 * b.thread, there);
  constexpr std::uint32_t kQuads = kOneChannels / 4;
  static_assert(kOneRows * kQuads <= kThreads);
  const std::uint32_t row = b.thread / kQuads;
  const std::uint32_t i = b.thread % kQuads * 4;
  if (row >= kOneRows) return;
  const std::uint32_t channel = one_channel(b.block, i);
  const std::uint32_t back = kOneRows - row;  // of a row of the past
  const float* from = layer.conv + row * S::conv_channels() + channel;
  if (row >= S::conv_kernel)
    from = ring_row(s, sequence, layer.index, back <= sequence.position ? sequence.position - back : 0) + channel;
  copy(b.ahead + kOneStateFloats + row * kOneChannels + i, from, true);
}

template <typename C>
__device__ __forceinline__ void mix_linear_one(const Block<C>& b, const DeviceLayer& layer, std::uint32_t number) {
  using S = Shape08B;
  const S s;
  static_assert(kTaps<S> == S::conv_kernel && kTaps<S> == 4);
  const SequenceView& sequence = b.args.sequence[0];
  const std::uint32_t item = b.block;
  if (item >= delta_items(s)) return;
  const auto in = b.link(b.args.buffers.in, number);
  const std::uint32_t head = item / (S::value_dim / kItemColumns);
  float* const taken = b.ahead + kOneStateFloats;
  float* const values = taken + kOneRows * kOneChannels;
  const std::uint32_t tokens = C::kRows == 1 ? 1 : sequence.count;
  float* const gates = values + tokens * kOneChannels;
  if (b.thread < kOneChannels) {
    constexpr int kMost = C::kRows == 1 ? 1 : static_cast<int>(kGroupRows);
    std::uint32_t at[kMost];
    float newest[kMost];
#pragma unroll
    for (int t = 0; t < kMost; ++t)  // what is not there is asked for in the place of the first, and not used
      at[t] = (static_cast<std::uint32_t>(t) < tokens ? static_cast<std::uint32_t>(t) : 0) * b.args.buffers.in_floats +
              one_channel(item, b.thread);
    Taps<S> taps;
    taps.load(s, taken + b.thread, kOneChannels, sequence.position);
    in.load_values(at, newest);
#pragma unroll
    for (int t = 0; t < kMost; ++t) {
      if (static_cast<std::uint32_t>(t) < tokens)
        values[static_cast<std::uint32_t>(t) * kOneChannels + b.thread] = silu(taps.step(newest[t]));
    }
  } else if (b.warp == kWarps - 1) {  // two lanes a token: b, a
    const std::uint32_t t = b.lane / 2 < tokens ? b.lane / 2 : 0;
    const float one =
        in.load_one(t * b.args.buffers.in_floats + s.conv_channels() + b.lane % 2 * S::value_heads + head);
    const float2 both = delta_gates(layer, head, one, __shfl_down_sync(0xFFFFFFFFU, one, 1));
    if (b.lane % 2 == 0 && b.lane / 2 < tokens) *reinterpret_cast<float2*>(gates + b.lane) = both;
  }
  float state[kWarpColumns][4];
  const float* const from = b.ahead + b.warp * kWarpColumns * S::key_dim + b.lane * 4;
#pragma unroll
  for (int c = 0; c < kWarpColumns; ++c) {
    const float4 v = *reinterpret_cast<const float4*>(from + c * static_cast<int>(S::key_dim));
    state[c][0] = v.x, state[c][1] = v.y, state[c][2] = v.z, state[c][3] = v.w;
  }
  sync_compute();
  const auto mixed = b.link(b.args.buffers.mixed, number);
  const std::uint32_t first = item * kItemColumns + b.warp * kWarpColumns;  // of y
#pragma unroll 1
  for (std::uint32_t t = 0; t < tokens; ++t)
    delta_token(
        s, values + t * kOneChannels, gates + 2 * t, true, b.warp, b.lane, state,
        [&](std::uint32_t column, float y) { mixed.store(t * b.args.buffers.mixed_floats + first + column, y); });
  float* const to = sequence.s_out + (std::size_t{layer.index} * delta_items(s) + item) * kOneStateFloats +
                    b.warp * kWarpColumns * S::key_dim + b.lane * 4;
#pragma unroll
  for (int c = 0; c < kWarpColumns; ++c)
    *reinterpret_cast<float4*>(to + c * static_cast<int>(S::key_dim)) =
        make_float4(state[c][0], state[c][1], state[c][2], state[c][3]);
}

}  // namespace qwen35::cuda
