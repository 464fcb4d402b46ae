#pragma once

// The mixer of a linear layer for the sequences of a pass, a block for each sequence and head: convolution, SiLU, the
// gated delta rule and the gated norm, from the input product's rows to the activations of `out`. S, 64 KB a head, is
// all the work: it is asked for before anything is waited for and stays in registers, two blocks a multiprocessor, so
// that while one computes and writes, the other's 64 KB are on the way.
//
// Every sum has the order of decode_delta.cuh, where a column's keys lie over a warp's 32 lanes. Here a thread has four
// of those lanes' parts of a column: they are added up in registers in the order the shuffles would add them, and only
// the last three steps go from lane to lane.

#include "backend/cuda/decode/decode_delta.cuh"
#include "backend/cuda/pieces/launch.cuh"
#include "backend/cuda/pieces/mix_math.cuh"

namespace qwen35::cuda {

inline constexpr std::uint32_t kMixThreads = 256;
inline constexpr std::uint32_t kMixWarps = kMixThreads / kLanes;
static_assert(kGroupRows <= kMixWarps);  // a warp a token

/// Sizes as Shape has them.
template <typename Shape>
__device__ __forceinline__ decltype(auto) sizes_as(const ModelSizes& sizes) {
  if constexpr (std::is_same_v<Shape, ModelSizes>) {
    return (sizes);
  } else {
    return Shape{};
  }
}

/// Activations of a product with `units` units a row: those of the group of rows that `row` belongs to.
__device__ __forceinline__ Fragments<kGroupRows> group_of(std::uint32_t* words, std::uint32_t units,
                                                          std::uint32_t row) {
  return {words + std::size_t{row / kGroupRows} * fragment_words(kGroupRows, units * kUnitColumns), kGroupRows};
}

/// Zeros where a product's activations have no values: columns past `columns`, and the last group's rows past the
/// pass's. All blocks that are there have their share.
__device__ __forceinline__ void zero_rest(const DecodeArgs& args, std::uint32_t columns, std::uint32_t units,
                                          std::uint32_t block, std::uint32_t blocks) {
  const std::uint32_t all = units * kUnitColumns / 2;
  const std::uint32_t behind = all - columns / 2;
  const std::uint32_t missing = (kGroupRows - args.rows % kGroupRows) % kGroupRows;
  const auto zero = [&](std::uint32_t row, std::uint32_t pair) {
    group_of(args.buffers.act_mixed, units, row).put(row % kGroupRows, pair, make_float2(0, 0));
  };
  const std::uint32_t step = blocks * kMixThreads;
  for (std::uint32_t i = block * kMixThreads + threadIdx.x; i < missing * all; i += step)
    zero(args.rows + i / all, i % all);
  if (behind == 0) return;
  for (std::uint32_t i = block * kMixThreads + threadIdx.x; i < args.rows * behind; i += step)
    zero(i / behind, columns / 2 + i % behind);
}

/// Floats of a block's memory: convolved q, k, v of up to kGroupRows tokens, y, silu(z), beta and decay.
QWEN35_HD inline std::uint32_t linear_floats(const ModelSizes& s) {
  return kGroupRows * (2 * s.key_dim + 3 * s.value_dim + 2);
}

/// kEach: keys of a column in a lane of the order above: key_dim / 32, rounded up to 1, 2, 4 or 8.
template <typename Shape, int kEach>
__global__ void __launch_bounds__(kMixThreads, 2)
    batch_linear(const DecodeArgs* __restrict__ pass, const __grid_constant__ ModelSizes sizes,
                 const __grid_constant__ DeviceLayer layer) {
  constexpr bool kFixed = !std::is_same_v<Shape, ModelSizes>;
  constexpr std::uint32_t kParts = 4;                       // of a column's 32, a thread
  constexpr std::uint32_t kColumnLanes = kLanes / kParts;   // of a column
  constexpr std::uint32_t kAtOnce = kLanes / kColumnLanes;  // columns that a warp has side by side
  constexpr int kDeep = kEach <= 4 ? 4 : 2;                 // and one behind the other
  constexpr std::uint32_t kSpan = kDeep * kMixWarps * kAtOnce;
  constexpr bool kWhole = [] {  // every thread always has something
    if constexpr (kFixed) {
      return Shape::value_dim % kSpan == 0 && Shape::key_dim == kLanes * kEach;
    } else {
      return false;
    }
  }();
  extern __shared__ __align__(128) std::uint8_t memory[];
  const auto& s = sizes_as<Shape>(sizes);
  const DecodeArgs& args = *pass;
  let_next_begin();
  const SequenceView sequence = args.sequence[blockIdx.y];
  if (sequence.count == 0) return;  // fewer sequences; asked of what is loaded anyway
  const std::uint32_t count = sequence.count;
  const std::uint32_t thread = threadIdx.x;
  const std::uint32_t lane = thread % kLanes;
  const std::uint32_t warp = thread / kLanes;
  const std::uint32_t head = blockIdx.x;
  const std::uint32_t key_head = head / (s.value_heads / s.key_heads);
  const std::uint32_t channels = 2 * s.key_dim + s.value_dim;
  const std::uint32_t part = lane % kColumnLanes;  // its parts: part + kColumnLanes · p

  // S.
  float state[kDeep][kParts][kEach];
  const std::size_t s_at = (std::size_t{layer.index} * s.value_heads + head) * s.value_dim * s.key_dim;
  const auto column_of_deep = [&](std::uint32_t first, int deep) {
    return first + (static_cast<std::uint32_t>(deep) * kMixWarps + warp) * kAtOnce + lane / kColumnLanes;
  };
  const auto has_column = [&](std::uint32_t column) { return kWhole || column < s.value_dim; };
  const auto key_of = [&](std::uint32_t p) { return (part + kColumnLanes * p) * kEach; };
  const auto has_key = [&](std::uint32_t p) { return kWhole || key_of(p) < s.key_dim; };
  const auto load_state = [&](std::uint32_t first) {
#pragma unroll
    for (int deep = 0; deep < kDeep; ++deep) {
      const std::uint32_t column = column_of_deep(first, deep);
#pragma unroll
      for (std::uint32_t p = 0; p < kParts; ++p) {
#pragma unroll
        for (int i = 0; i < kEach; ++i) state[deep][p][i] = 0;
        if (sequence.s_in == nullptr || !has_column(column) || !has_key(p)) continue;
        const float* const from = sequence.s_in + s_at + column * s.key_dim + key_of(p);
        if constexpr (kEach % 4 == 0) {
#pragma unroll
          for (int i = 0; i < kEach; i += 4) {
            const float4 v = __ldcs(reinterpret_cast<const float4*>(from + i));  // nothing needs it again soon
            state[deep][p][i] = v.x, state[deep][p][i + 1] = v.y;
            state[deep][p][i + 2] = v.z, state[deep][p][i + 3] = v.w;
          }
        } else {
#pragma unroll
          for (int i = 0; i < kEach; ++i) state[deep][p][i] = __ldcs(from + i);
        }
      }
    }
  };
  load_state(0);

  // The convolution's weights and what it remembers; where a thread has few channels, all before anything is waited
  // for.
  constexpr int kChannels = [] {
    if constexpr (kFixed) {
      return static_cast<int>((2 * Shape::key_dim + Shape::value_dim + kMixThreads - 1) / kMixThreads);
    } else {
      return 1;
    }
  }();
  const auto channel_of = [&](std::uint32_t i) {
    return i < s.key_dim       ? key_head * s.key_dim + i
           : i < 2 * s.key_dim ? (s.key_heads + key_head) * s.key_dim + i - s.key_dim
                               : 2 * s.key_heads * s.key_dim + head * s.value_dim + i - 2 * s.key_dim;
  };
  Taps<Shape> taps[kChannels] = {};
  const auto load_taps = [&](std::uint32_t first) {
#pragma unroll
    for (int j = 0; j < kChannels; ++j) {
      const std::uint32_t i = first + static_cast<std::uint32_t>(j) * kMixThreads + thread;
      if (i < channels) taps[j].load(s, layer, sequence, channel_of(i));
    }
  };
  load_taps(0);

  wait_for_previous();
  float* const values = reinterpret_cast<float*>(memory);     // tokens × channels: q, k, v
  float* const results = values + count * channels;           // tokens × value_dim
  float* const output_gates = results + count * s.value_dim;  // tokens × value_dim: silu(z)
  float* const gates = output_gates + count * s.value_dim;    // tokens × 2: beta, decay
  const float* const in =
      static_cast<const float*>(args.buffers.in[0]) + std::size_t{sequence.first} * args.buffers.in_floats;
  const auto input = [&](std::uint32_t t, std::uint32_t value) {
    return __ldcg(in + t * args.buffers.in_floats + value);
  };
  // Other warps than those with most channels begin with z.
  const std::uint32_t z_first = (thread + kMixThreads / 2) % kMixThreads;
  const auto load_z = [&](std::uint32_t i) {
    return input(i / s.value_dim, s.ring_floats() + head * s.value_dim + i % s.value_dim);
  };
  float z = 0;
  if (z_first < count * s.value_dim) z = load_z(z_first);
  for (std::uint32_t first = 0; first < channels; first += kChannels * kMixThreads) {
    if (first > 0) load_taps(first);
    constexpr std::uint32_t kTokens = 4;  // asked for at once
    for (std::uint32_t t0 = 0; t0 < count; t0 += kTokens) {
      float newest[kChannels][kTokens];
#pragma unroll
      for (int j = 0; j < kChannels; ++j) {
        const std::uint32_t i = first + static_cast<std::uint32_t>(j) * kMixThreads + thread;
#pragma unroll
        for (std::uint32_t t = 0; t < kTokens; ++t)
          newest[j][t] = i < channels && t0 + t < count ? input(t0 + t, channel_of(i)) : 0.0F;
      }
#pragma unroll
      for (int j = 0; j < kChannels; ++j) {
        const std::uint32_t i = first + static_cast<std::uint32_t>(j) * kMixThreads + thread;
#pragma unroll
        for (std::uint32_t t = 0; t < kTokens; ++t) {
          if (i < channels && t0 + t < count) values[(t0 + t) * channels + i] = silu(taps[j].step(newest[j][t]));
        }
      }
    }
  }
  for (std::uint32_t i = z_first; i < count * s.value_dim; i += kMixThreads)
    output_gates[i] = silu(i == z_first ? z : load_z(i));
  if (warp == kMixWarps - 1 && lane < count) {
    const float2 both = delta_gates(layer, head, input(lane, s.conv_channels() + head),
                                    input(lane, s.conv_channels() + s.value_heads + head));
    gates[2 * lane] = both.x;
    gates[2 * lane + 1] = both.y;
  }
  __syncthreads();

  // kEach values of q or k.
  const auto keys_at = [&](float(&to)[kEach], const float* from, bool there) {
    if constexpr (kEach % 4 == 0) {
#pragma unroll
      for (int i = 0; i < kEach; i += 4) {
        const float4 v = there ? *reinterpret_cast<const float4*>(from + i) : make_float4(0, 0, 0, 0);
        to[i] = v.x, to[i + 1] = v.y, to[i + 2] = v.z, to[i + 3] = v.w;
      }
    } else {
#pragma unroll
      for (int i = 0; i < kEach; ++i) to[i] = there ? from[i] : 0.0F;
    }
  };
  const float q_scale = inverse_root(static_cast<float>(s.key_dim));
  for (std::uint32_t first = 0; first < s.value_dim; first += kSpan) {
    if (first > 0) load_state(first);
    for (std::uint32_t t = 0; t < count; ++t) {
      const float* const q = values + t * channels;
      const float* const k = q + s.key_dim;
      float qq = 0, kk = 0, qk = 0;
      {
        float qs[kEach], ks[kEach];
        keys_at(qs, q + lane * kEach, lane * kEach < s.key_dim);
        keys_at(ks, k + lane * kEach, lane * kEach < s.key_dim);
#pragma unroll
        for (int i = 0; i < kEach; ++i) {
          qq += qs[i] * qs[i];
          kk += ks[i] * ks[i];
          qk += qs[i] * ks[i];
        }
      }
      // A warp's sums go 16, 8, 4, 2, 1 lanes across: part 0 and 2 of a thread, 1 and 3, those two sums, then lanes.
      float q_state[kDeep], k_state[kDeep];
#pragma unroll
      for (std::uint32_t half = 0; half < 2; ++half) {
        float q_low[kDeep], k_low[kDeep];
#pragma unroll
        for (std::uint32_t p = half; p < kParts; p += 2) {
          float qs[kEach], ks[kEach];
          keys_at(qs, q + key_of(p), has_key(p));
          keys_at(ks, k + key_of(p), has_key(p));
#pragma unroll
          for (int deep = 0; deep < kDeep; ++deep) {
            float q_sum = 0, k_sum = 0;
#pragma unroll
            for (int i = 0; i < kEach; ++i) {
              q_sum += qs[i] * state[deep][p][i];
              k_sum += ks[i] * state[deep][p][i];
            }
            q_low[deep] = p == half ? q_sum : q_low[deep] + q_sum;
            k_low[deep] = p == half ? k_sum : k_low[deep] + k_sum;
          }
        }
#pragma unroll
        for (int deep = 0; deep < kDeep; ++deep) {
          q_state[deep] = half == 0 ? q_low[deep] : q_state[deep] + q_low[deep];
          k_state[deep] = half == 0 ? k_low[deep] : k_state[deep] + k_low[deep];
        }
      }
#pragma unroll
      for (int step = 16; step > 0; step /= 2) {
        qq += __shfl_xor_sync(0xFFFFFFFFU, qq, step);
        kk += __shfl_xor_sync(0xFFFFFFFFU, kk, step);
        qk += __shfl_xor_sync(0xFFFFFFFFU, qk, step);
        if (step >= static_cast<int>(kColumnLanes)) continue;
#pragma unroll
        for (int deep = 0; deep < kDeep; ++deep) {
          q_state[deep] += __shfl_xor_sync(0xFFFFFFFFU, q_state[deep], step);
          k_state[deep] += __shfl_xor_sync(0xFFFFFFFFU, k_state[deep], step);
        }
      }
      const float q_norm = rsqrtf(qq + 1e-6F) * q_scale;
      const float k_norm = rsqrtf(kk + 1e-6F);
      const float beta = gates[2 * t];
      const float decay = gates[2 * t + 1];
      float each[kDeep];
#pragma unroll
      for (int deep = 0; deep < kDeep; ++deep) {
        const std::uint32_t column = column_of_deep(first, deep);
        const float v = has_column(column) ? q[2 * s.key_dim + column] : 0.0F;
        const float added = delta_added(beta, v, decay, k_norm, k_state[deep]);
        if (part == 0 && has_column(column))
          results[t * s.value_dim + column] = delta_result(decay, q_norm, q_state[deep], k_norm, qk, added);
        each[deep] = k_norm * added;
      }
#pragma unroll
      for (std::uint32_t p = 0; p < kParts; ++p) {
        float ks[kEach];
        keys_at(ks, k + key_of(p), has_key(p));
#pragma unroll
        for (int deep = 0; deep < kDeep; ++deep) {
#pragma unroll
          for (int i = 0; i < kEach; ++i) state[deep][p][i] = delta_state(decay, state[deep][p][i], ks[i], each[deep]);
        }
      }
    }
#pragma unroll
    for (int deep = 0; deep < kDeep; ++deep) {
      const std::uint32_t column = column_of_deep(first, deep);
#pragma unroll
      for (std::uint32_t p = 0; p < kParts; ++p) {
        if (!has_column(column) || !has_key(p)) continue;
        float* const to = sequence.s_out + s_at + column * s.key_dim + key_of(p);
        if constexpr (kEach % 4 == 0) {
#pragma unroll
          for (int i = 0; i < kEach; i += 4)
            __stcs(reinterpret_cast<float4*>(to + i),
                   make_float4(state[deep][p][i], state[deep][p][i + 1], state[deep][p][i + 2], state[deep][p][i + 3]));
        } else {
#pragma unroll
          for (int i = 0; i < kEach; ++i) to[i] = state[deep][p][i];
        }
      }
    }
  }

  // The gated norm: w · y · rsqrt(mean y² + eps) · silu(z), a warp a token.
  constexpr int kPairs = kFixed ? 2 : 4;  // a lane
  const std::uint32_t pairs = s.value_dim / 2;
  float2 weights[kPairs];
#pragma unroll
  for (int j = 0; j < kPairs; ++j) {
    const std::uint32_t pair = lane + 32 * static_cast<std::uint32_t>(j);
    weights[j] = warp < count && pair < pairs ? __ldg(reinterpret_cast<const float2*>(layer.gated_norm) + pair)
                                              : make_float2(0, 0);
  }
  __syncthreads();
  if (warp < count) {
    const auto* const y = reinterpret_cast<const float2*>(results + warp * s.value_dim);
    const auto* const gate = reinterpret_cast<const float2*>(output_gates + warp * s.value_dim);
    float2 value[kPairs];
    float square = 0;
#pragma unroll
    for (int j = 0; j < kPairs; ++j) {
      const std::uint32_t pair = lane + 32 * static_cast<std::uint32_t>(j);
      value[j] = pair < pairs ? y[pair] : make_float2(0, 0);
      if (pair < pairs) square = add_squares(square, value[j]);
    }
    const float scale = rsqrtf(warp_sum(square) / static_cast<float>(s.value_dim) + sizes.eps);
    const std::uint32_t row = sequence.first + warp;
    const auto fragments = group_of(args.buffers.act_mixed, layer.out.units, row);
#pragma unroll
    for (int j = 0; j < kPairs; ++j) {
      const std::uint32_t pair = lane + 32 * static_cast<std::uint32_t>(j);
      if (pair >= pairs) continue;
      const float2 v = value[j];
      fragments.put(row % kGroupRows, head * pairs + pair,
                    make_float2(weights[j].x * v.x * scale * gate[pair].x, weights[j].y * v.y * scale * gate[pair].y));
    }
  }
  zero_rest(args, s.z_floats(), layer.out.units, blockIdx.y * gridDim.x + head, gridDim.x * args.sequences);
}

}  // namespace qwen35::cuda
