#pragma once

// Attention of few tokens over what their state remembers, kSplitKeys keys at a time, on tensor cores: queries are the
// rows (high halves, and below them the low ones), keys the columns; then the probabilities are the rows and the
// dimensions of the values the columns. Splits begin at fixed positions and a key after a token counts for nothing, so
// that a token's result does not depend on what else is in the pass.

#include <math_constants.h>

#include "backend/cuda/decode/decode_gather.cuh"

namespace qwen35::cuda {

inline constexpr std::uint32_t kSplitBlocks = kSplitKeys / 32;

/// Words of a block's memory that an item needs: queries, probabilities, and scores (or heads before their rotation).
QWEN35_HD inline std::uint32_t attention_words(const ModelSizes& s, std::uint32_t tokens) {
  const std::uint32_t queries = tokens * (s.heads / s.kv_heads);
  const std::uint32_t padded = (queries + 7) / 8 * 8;
  const std::uint32_t scores = queries * kSplitKeys;
  const std::uint32_t heads = kWarps * s.head_dim;
  return padded * s.head_dim + padded * kSplitKeys + (scores > heads ? scores : heads);
}

/// Cosine and sine of every angle of the rows' positions; in double, because at position 200,000 a float angle would be
/// off by a percent of a turn.
template <typename C>
__device__ __forceinline__ void fill_rotary(const Block<C>& b) {
  const auto& s = b.sizes();
  const std::uint32_t half = s.rotary_dim / 2;
  for (std::uint32_t i = b.thread; i < b.rows() * half; i += kThreads) {
    const std::uint32_t row = i / half;
    double sine, cosine;
    sincos(static_cast<double>(b.position_of(row)) * b.args.frequencies[i % half], &sine, &cosine);
    b.rotary[row * s.rotary_dim + i % half] = static_cast<float>(cosine);
    b.rotary[row * s.rotary_dim + half + i % half] = static_cast<float>(sine);
  }
}

/// A head's values at `from` (in the input product's rows): RMSNorm, then rotation, by one warp; `staged` (head_dim
/// floats of its own) holds them at the end.
template <typename C>
__device__ __forceinline__ void norm_and_rotate(const Block<C>& b, const Link& in, std::uint32_t row,
                                                std::uint32_t from, const float* norm, float* staged) {
  const auto& s = b.sizes();
  const std::uint32_t pairs = s.head_dim / 2;  // at most 128
  constexpr int kEach = 4;
  std::uint32_t at[kEach];
  float2 value[kEach];
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    const std::uint32_t pair = b.lane + 32 * static_cast<std::uint32_t>(j);
    at[j] = (row * b.args.buffers.in_floats + from) / 2 + (pair < pairs ? pair : 0);
  }
  float2 weights[kEach];  // on the way while the values are waited for
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    const std::uint32_t pair = b.lane + 32 * static_cast<std::uint32_t>(j);
    weights[j] = pair < pairs ? __ldg(reinterpret_cast<const float2*>(norm) + pair) : make_float2(0, 0);
  }
  in.load(at, value);
  float square = 0;
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    if (b.lane + 32 * static_cast<std::uint32_t>(j) < pairs) square = add_squares(square, value[j]);
  }
  const float scale = rsqrtf(warp_sum(square) / static_cast<float>(s.head_dim) + b.args.sizes.eps);
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    const std::uint32_t pair = b.lane + 32 * static_cast<std::uint32_t>(j);
    if (pair >= pairs) continue;
    const float2 weight = weights[j];
    reinterpret_cast<float2*>(staged)[pair] = make_float2(value[j].x * scale * weight.x, value[j].y * scale * weight.y);
  }
  __syncwarp();
  const std::uint32_t half = s.rotary_dim / 2;
  for (std::uint32_t i = b.lane; i < half; i += kLanes) {
    const float cosine = b.rotary[row * s.rotary_dim + i];  // held by each block
    const float sine = b.rotary[row * s.rotary_dim + half + i];
    const float low = staged[i];
    const float high = staged[half + i];
    const float2 both = turned(low, high, cosine, sine);
    staged[i] = both.x;
    staged[half + i] = both.y;
  }
  __syncwarp();
}

/// A half as it is stored.
__device__ inline std::uint16_t to_half(float value) {
  return __half_as_ushort(__float2half_rn(fminf(fmaxf(value, -65504.0F), 65504.0F)));
}

/// Of a register of two values at keys `key` and `key` + 1, what lies before `end`.
__device__ inline std::uint32_t keep_before(std::uint32_t values, std::uint32_t key, std::uint32_t end) {
  if (key >= end) return 0;
  return key + 1 >= end ? values & 0xFFFFU : values;
}

/// One KV head, one split of one sequence: scores, weights and sums of all its queries there; new keys and values that
/// fall into the split are written first. k32: head_dim / 32.
template <typename C, int k32>
__device__ __forceinline__ void attention_item(const Block<C>& b, const DeviceLayer& layer, std::uint32_t number,
                                               const SequenceView& sequence, std::uint32_t kv_head,
                                               std::uint32_t split) {
  constexpr std::uint32_t kDim = k32 * 32;
  constexpr int kTiles = (k32 * 4 + kWarps - 1) / kWarps;             // of eight dimensions, a warp
  constexpr int kBlocks = kSplitKeys / 8 / static_cast<int>(kWarps);  // of eight keys, a warp
  const auto& s = b.sizes();
  const auto in = b.link(b.args.buffers.in, number);
  const auto part = b.link(b.args.buffers.part, number);
  const auto scale = b.link(b.args.buffers.scale, number);
  const std::uint32_t group = s.heads / s.kv_heads;
  const std::uint32_t queries = sequence.count * group;
  const std::uint32_t query_tiles = (queries + 7) / 8;
  const std::uint32_t begin = split * kSplitKeys;
  const std::uint32_t end = min(begin + kSplitKeys, sequence.position + sequence.count);
  const bool fresh = end > sequence.position;  // new keys fall into it
  std::uint32_t* const query_words = b.scratch;
  std::uint32_t* const weight_words = query_words + query_tiles * 8 * kDim;
  float* const scores = reinterpret_cast<float*>(weight_words + query_tiles * 8 * kSplitKeys);
  const auto tile_rows = [&](std::uint32_t tile) { return min(8U, queries - tile * 8); };

  // Both pages of the split; a split whose second page is not there yet does not look at it.
  std::uint16_t* const page0 = sequence.pages[begin / kPageTokens];
  std::uint16_t* const page1 = begin + kPageTokens < end ? sequence.pages[begin / kPageTokens + 1] : page0;
  const auto strip = [&](std::uint32_t page, bool value) {
    return (page * kPageTokens == begin ? page0 : page1) + strip_offset(layer.index, kv_head, value, s.kv_heads, kDim);
  };
  uint4 keys[kBlocks][k32];
  const auto load_keys = [&] {
#pragma unroll
    for (int block = 0; block < kBlocks; ++block) {
      const std::uint32_t first = begin + (b.warp + kWarps * static_cast<std::uint32_t>(block)) * 8;
      if (first >= end) continue;
      const auto* from =
          reinterpret_cast<const uint4*>(strip(first / kPageTokens, false) + (first % kPageTokens / 8) * k32 * 256);
#pragma unroll
      for (int i = 0; i < k32; ++i) keys[block][i] = __ldcg(from + i * kLanes + b.lane);
    }
  };
#pragma unroll
  for (int i = 0; i < kBlocks * k32; ++i) keys[i / k32][i % k32] = make_uint4(0, 0, 0, 0);
  if (!fresh) load_keys();  // on the way while the queries are waited for

  // Queries, times head_dim^-0.5 and into powers of two; new keys and values into their page.
  const std::uint32_t first_new = max(begin, sequence.position);
  const std::uint32_t fresh_keys = fresh ? end - first_new : 0;
  float* const staged = scores + b.warp * kDim;
  for (std::uint32_t task = b.warp; task < queries + 2 * fresh_keys; task += kWarps) {
    if (task < queries) {
      const std::uint32_t row = sequence.first + task / group;
      const std::uint32_t head = kv_head * group + task % group;
      norm_and_rotate(b, in, row, head * 2 * kDim, layer.q_norm, staged);
      const Fragments<0> fragments{query_words + task / 8 * 8 * kDim, tile_rows(task / 8)};
      const float times = inverse_root(static_cast<float>(kDim)) * CUDART_L2E_F;
      for (std::uint32_t pair = b.lane; pair < kDim / 2; pair += kLanes)
        fragments.put(task % 8, pair, make_float2(staged[2 * pair] * times, staged[2 * pair + 1] * times));
      __syncwarp();
      continue;
    }
    const bool value = task >= queries + fresh_keys;
    const std::uint32_t position = first_new + task - queries - (value ? fresh_keys : 0);
    const std::uint32_t row = sequence.first + position - sequence.position;
    const std::uint32_t from = (2 * s.heads + (value ? s.kv_heads : 0) + kv_head) * kDim;
    std::uint16_t* const to = strip(position / kPageTokens, value);
    const std::uint32_t t = position % kPageTokens;
    if (value) {
      constexpr int kEach = kDim >= 64 ? kDim / 64 : 1;  // pairs a lane
      std::uint32_t at[kEach];
      float2 pairs[kEach];
#pragma unroll
      for (int i = 0; i < kEach; ++i)
        at[i] = (row * b.args.buffers.in_floats + from) / 2 + (b.lane < kDim / 2 ? b.lane : 0) +
                kLanes * static_cast<std::uint32_t>(i);
      in.load(at, pairs);
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        const std::uint32_t d = 2 * (b.lane + kLanes * static_cast<std::uint32_t>(i));
        if (d >= kDim) continue;
        to[value_index(t, d, kDim)] = to_half(pairs[i].x);
        to[value_index(t, d + 1, kDim)] = to_half(pairs[i].y);
      }
    } else {
      norm_and_rotate(b, in, row, from, layer.k_norm, staged);
      for (std::uint32_t d = b.lane; d < kDim; d += kLanes) to[key_index(t, d, kDim)] = to_half(staged[d]);
      __syncwarp();
    }
  }
  sync_compute();
  if (fresh) load_keys();

  // Scores of this warp's keys.
  for (std::uint32_t tile = 0; tile < query_tiles; ++tile) {
    const Fragments<0> fragments{query_words + tile * 8 * kDim, tile_rows(tile)};
    float sum[kBlocks][4] = {};
#pragma unroll
    for (int i = 0; i < k32; ++i) {
      const uint4 even = fragments.get(2 * static_cast<std::uint32_t>(i), b.lane);
      const uint4 odd = fragments.get(2 * static_cast<std::uint32_t>(i) + 1, b.lane);
#pragma unroll
      for (int block = 0; block < kBlocks; ++block) {
        mma(sum[block], even, keys[block][i].x, keys[block][i].y);
        mma(sum[block], odd, keys[block][i].z, keys[block][i].w);
      }
    }
    const std::uint32_t query = tile * 8 + b.lane / 4;
    if (query >= queries) continue;
    const std::uint32_t last = sequence.position + query / group;  // the key at the query's own position
#pragma unroll
    for (int block = 0; block < kBlocks; ++block) {
      const std::uint32_t column = (b.warp + kWarps * static_cast<std::uint32_t>(block)) * 8 + b.lane % 4 * 2;
      const float2 score = make_float2(begin + column > last ? -CUDART_INF_F : sum[block][0] + sum[block][2],
                                       begin + column + 1 > last ? -CUDART_INF_F : sum[block][1] + sum[block][3]);
      *reinterpret_cast<float2*>(scores + query * kSplitKeys + column) = score;
    }
  }
  uint4 values[kSplitBlocks][kTiles];  // on the way while the weights are worked out
#pragma unroll
  for (int block = 0; block < static_cast<int>(kSplitBlocks); ++block) {
    const std::uint32_t key = begin + 32 * static_cast<std::uint32_t>(block);
    if (key >= end) continue;
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      const std::uint32_t dims = b.warp + kWarps * static_cast<std::uint32_t>(tile);
      if (dims * 8 < kDim)
        values[block][tile] =
            __ldcg(reinterpret_cast<const uint4*>(strip(key / kPageTokens, true) +
                                                  (key % kPageTokens / 32 * (kDim / 8) + dims) * 256) +
                   b.lane);
    }
  }
  sync_compute();

  const auto at = [&](std::uint32_t query) {
    const std::uint32_t row = sequence.first + query / group;
    return (row * s.heads + kv_head * group + query % group) * b.args.splits + split;
  };
  for (std::uint32_t query = b.warp; query < queries; query += kWarps) {
    const float4 score = *reinterpret_cast<const float4*>(scores + query * kSplitKeys + b.lane * 4);
    const float most = warp_max(fmaxf(fmaxf(score.x, score.y), fmaxf(score.z, score.w)));
    const float shift = most == -CUDART_INF_F ? 0.0F : most;
    const float4 weight =
        make_float4(exp2f(score.x - shift), exp2f(score.y - shift), exp2f(score.z - shift), exp2f(score.w - shift));
    const float total = warp_sum((weight.x + weight.y) + (weight.z + weight.w));
    const Fragments<0> fragments{weight_words + query / 8 * 8 * kSplitKeys, tile_rows(query / 8)};
    fragments.put(query % 8, b.lane * 2, make_float2(weight.x, weight.y));
    fragments.put(query % 8, b.lane * 2 + 1, make_float2(weight.z, weight.w));
    if (b.lane < 2) scale.store(at(query) * 2 + b.lane, b.lane == 0 ? most : total);
  }
  sync_compute();

  for (std::uint32_t tile = 0; tile < query_tiles; ++tile) {
    const Fragments<0> fragments{weight_words + tile * 8 * kSplitKeys, tile_rows(tile)};
    float sum[kTiles][4] = {};
#pragma unroll
    for (int block = 0; block < static_cast<int>(kSplitBlocks); ++block) {
      const std::uint32_t key = begin + 32 * static_cast<std::uint32_t>(block) + b.lane % 4 * 2;
      if (begin + 32 * static_cast<std::uint32_t>(block) >= end) continue;
      const uint4 low = fragments.get(2 * static_cast<std::uint32_t>(block), b.lane);
      const uint4 high = fragments.get(2 * static_cast<std::uint32_t>(block) + 1, b.lane);
#pragma unroll
      for (int i = 0; i < kTiles; ++i) {
        const uint4& v = values[block][i];  // what lies past the end may be anything, also no number
        mma(sum[i], low, keep_before(v.x, key, end), keep_before(v.y, key + 8, end));
        mma(sum[i], high, keep_before(v.z, key + 16, end), keep_before(v.w, key + 24, end));
      }
    }
    const std::uint32_t query = tile * 8 + b.lane / 4;
    if (query >= queries) continue;
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      const std::uint32_t dim = (b.warp + kWarps * static_cast<std::uint32_t>(i)) * 8 + b.lane % 4 * 2;
      if (dim >= kDim) continue;
      part.store(at(query) * kDim + dim, sum[i][0] + sum[i][2]);
      part.store(at(query) * kDim + dim + 1, sum[i][1] + sum[i][3]);
    }
  }
  sync_compute();  // the block's memory is written again
}

/// This block's items of a full layer.
template <typename C>
__device__ __forceinline__ void mix_full(const Block<C>& b, const DeviceLayer& layer, std::uint32_t number) {
  const auto& s = b.sizes();
  std::uint32_t item = b.block;
  for (std::uint32_t i = 0; i < b.args.sequences; ++i) {
    const SequenceView& sequence = b.args.sequence[i];
    const std::uint32_t items = ((sequence.position + sequence.count - 1) / kSplitKeys + 1) * s.kv_heads;
    for (; item < items; item += b.blocks) {
      const std::uint32_t head = item % s.kv_heads;
      const std::uint32_t split = item / s.kv_heads;
      if constexpr (C::kFixed) {
        attention_item<C, C::Shape::head_dim / 32>(b, layer, number, sequence, head, split);
        continue;
      }
      switch (s.head_dim / 32) {
        case 1:
          attention_item<C, 1>(b, layer, number, sequence, head, split);
          break;
        case 2:
          attention_item<C, 2>(b, layer, number, sequence, head, split);
          break;
        case 4:
          attention_item<C, 4>(b, layer, number, sequence, head, split);
          break;
        default:
          attention_item<C, 8>(b, layer, number, sequence, head, split);
          break;
      }
    }
    item -= items;
  }
}

/// Sixteen dimensions of one head of one row, by one warp: the splits' sums, each times how much its largest score lags
/// behind the largest of all. Sums go over 64 strands of splits (4 w + lane / 8), weights over 512.
template <typename C>
__device__ __forceinline__ void combine_item(const Block<C>& b, std::uint32_t number, std::uint32_t row,
                                             std::uint32_t head, std::uint32_t dim) {
  constexpr std::uint32_t kPairs = 8;
  constexpr std::uint32_t kTogether = kLanes / kPairs;  // splits that a warp adds at once
  constexpr std::uint32_t kStrands = 64;
  constexpr int kGroups = 4;  // of kTogether splits, asked for before the first is looked at
  const auto& s = b.sizes();
  const auto part = b.link(b.args.buffers.part, number);
  const auto scale = b.link(b.args.buffers.scale, number);
  const auto mixed = b.link(b.args.buffers.mixed, number);
  const std::uint32_t splits = b.position_of(row) / kSplitKeys + 1;
  const std::uint32_t base = (row * s.heads + head) * b.args.splits;
  const auto load_scale = [&](std::uint32_t split) {
    const std::uint32_t at[1] = {base + split};
    float2 value[1];
    scale.load(at, value);
    return value[0];
  };

  float most = -CUDART_INF_F;
  float2 kept[2];  // this lane's first two
#pragma unroll
  for (std::uint32_t i = 0; i < 2; ++i) {
    kept[i] = b.lane + kLanes * i < splits ? load_scale(b.lane + kLanes * i) : make_float2(-CUDART_INF_F, 0);
    most = fmaxf(most, kept[i].x);
  }
  for (std::uint32_t split = b.lane + 2 * kLanes; split < splits; split += kLanes)
    most = fmaxf(most, load_scale(split).x);
  most = warp_max(most);

  float weights = 0;
#pragma unroll
  for (std::uint32_t w = 0; w < 2; ++w) {
    if (w * kLanes >= splits) break;
    float total = 0;
    if (b.lane + kLanes * w < splits) total += exp2f(kept[w].x - most) * kept[w].y;
    for (std::uint32_t split = b.lane + kLanes * w + kThreads; split < splits; split += kThreads) {
      const float2 one = load_scale(split);
      total += exp2f(one.x - most) * one.y;
    }
    weights += warp_sum(total);
  }
#pragma unroll 1
  for (std::uint32_t w = 2; w < kWarps && w * kLanes < splits; ++w) {
    float total = 0;
    for (std::uint32_t split = b.lane + kLanes * w; split < splits; split += kThreads) {
      const float2 one = load_scale(split);
      total += exp2f(one.x - most) * one.y;
    }
    weights += warp_sum(total);
  }

  float2 value = make_float2(0, 0);
#pragma unroll 1
  for (std::uint32_t first = 0; first < kStrands && first < splits; first += kTogether * kGroups) {
    float2 sum[kGroups] = {};
    for (std::uint32_t round = first; round < splits; round += kStrands) {
      std::uint32_t at[kGroups];
      float times[kGroups];
      float2 one[kGroups];
#pragma unroll
      for (int i = 0; i < kGroups; ++i) {
        // What is not there is asked for in the place of the first, and not used.
        const std::uint32_t split = round + kTogether * static_cast<std::uint32_t>(i) + b.lane / kPairs;
        at[i] = ((base + (split < splits ? split : 0)) * s.head_dim + dim) / 2 + b.lane % kPairs;
        const float near = __shfl_sync(0xFFFFFFFFU, kept[0].x, static_cast<int>(split % kLanes));
        const float far = __shfl_sync(0xFFFFFFFFU, kept[1].x, static_cast<int>(split % kLanes));
        times[i] = split < kLanes ? near : far;
        if (split >= 2 * kLanes && split < splits) times[i] = load_scale(split).x;
      }
      part.load(at, one);
#pragma unroll
      for (int i = 0; i < kGroups; ++i) {
        const std::uint32_t split = round + kTogether * static_cast<std::uint32_t>(i) + b.lane / kPairs;
        if (split >= splits) continue;
        const float lag = exp2f(times[i] - most);
        sum[i].x += lag * one[i].x;
        sum[i].y += lag * one[i].y;
      }
    }
#pragma unroll
    for (int i = 0; i < kGroups; ++i) {
#pragma unroll
      for (int step = static_cast<int>(kPairs); step < static_cast<int>(kLanes); step *= 2) {
        sum[i].x += __shfl_xor_sync(0xFFFFFFFFU, sum[i].x, step);
        sum[i].y += __shfl_xor_sync(0xFFFFFFFFU, sum[i].y, step);
      }
      value.x += sum[i].x;
      value.y += sum[i].y;
    }
  }
  if (b.lane < kPairs) {
    const std::uint32_t to = row * b.args.buffers.mixed_floats + head * s.head_dim + dim + 2 * b.lane;
    mixed.store(to, value.x / weights);
    mixed.store(to + 1, value.y / weights);
  }
}

template <typename C>
__device__ __forceinline__ void combine(const Block<C>& b, std::uint32_t number) {
  if (b.layer(number).linear) return;
  const auto& s = b.sizes();
  const std::uint32_t slices = s.head_dim / 16;
  const std::uint32_t items = b.args.rows * s.heads * slices;
#pragma unroll 1
  for (std::uint32_t i = b.block + b.blocks * b.warp; i < items; i += b.blocks * kWarps)
    combine_item(b, number, i / slices / s.heads, i / slices % s.heads, i % slices * 16);
}

/// Activations of o_proj: attention's result, from `mixed` or, with a single split, from it as it is, times
/// sigmoid(gate).
template <typename C>
__device__ __forceinline__ void gather_attention(const Block<C>& b, const DeviceLayer& layer, std::uint32_t number) {
  const auto& s = b.sizes();
  const auto in = b.link(b.args.buffers.in, number);
  const auto scale = b.link(b.args.buffers.scale, number);
  const std::uint32_t pairs = s.head_dim / 2;
  const auto gated = [&](std::uint32_t row, std::uint32_t pair, float2 value) {
    const std::uint32_t at[1] = {(row * b.args.buffers.in_floats + (2 * (pair / pairs) + 1) * s.head_dim) / 2 +
                                 pair % pairs};
    float2 gate[1];
    in.load(at, gate);
    return make_float2(value.x * sigmoid(gate[0].x), value.y * sigmoid(gate[0].y));
  };
  if (b.args.combine == 0) {
    const auto part = b.link(b.args.buffers.part, number);
    gather_values(
        b, part, s.heads * s.head_dim, layer.out.units,
        [&](std::uint32_t row, std::uint32_t pair) {
          return (row * s.heads + pair / pairs) * b.args.splits * pairs + pair % pairs;
        },
        [&](std::uint32_t row, std::uint32_t pair, float2 value) {
          const std::uint32_t at[1] = {(row * s.heads + pair / pairs) * b.args.splits};
          float2 weights[1];
          scale.load(at, weights);
          return gated(row, pair, make_float2(value.x / weights[0].y, value.y / weights[0].y));
        });
  } else {
    const auto mixed = b.link(b.args.buffers.mixed, number);
    gather_values(
        b, mixed, s.heads * s.head_dim, layer.out.units,
        [&](std::uint32_t row, std::uint32_t pair) { return row * b.args.buffers.mixed_floats / 2 + pair; }, gated);
  }
}

}  // namespace qwen35::cuda
