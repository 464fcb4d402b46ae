#pragma once

// Attention of one token over what its state remembers: the arithmetic of attention_item() (decode_attention.cuh), to
// the bit, made for latency. Keys and values that are there already are on their way while the token's own are waited
// for; its own are put into the registers and not read back from the page.

#include "backend/cuda/decode_attention.cuh"

namespace qwen35::cuda {

/// One KV head and one split.
template <typename C>
__device__ __forceinline__ void attention_one(const Block<C>& b, const DeviceLayer& layer, std::uint32_t number,
                                              std::uint32_t kv_head, std::uint32_t split) {
  using S = typename C::Shape;
  constexpr std::uint32_t kDim = S::head_dim;
  constexpr std::uint32_t kQueries = S::heads / S::kv_heads;
  constexpr int k32 = kDim / 32;
  constexpr int kTiles = kDim / 8 / kWarps;  // of eight dimensions, a warp
  static_assert(kSplitKeys == 8 * kWarps && kDim % (8 * kWarps) == 0 && kQueries <= 8 && kQueries + 2 <= kWarps);
  const SequenceView& sequence = b.args.sequence[0];
  const auto in = b.link(b.args.buffers.in, number);
  const auto part = b.link(b.args.buffers.part, number);
  const auto scale = b.link(b.args.buffers.scale, number);
  const std::uint32_t position = sequence.position;
  const std::uint32_t begin = split * kSplitKeys;
  const std::uint32_t end = min(begin + kSplitKeys, position + 1);
  const bool fresh = end > position;  // the token's own key falls into it

  std::uint32_t* const query_words = b.scratch;
  std::uint32_t* const weight_words = query_words + 8 * kDim;
  float* const scores = reinterpret_cast<float*>(weight_words + 8 * kSplitKeys);
  float* const staged = scores + kQueries * kSplitKeys + b.warp * kDim;
  float* const own_key = scores + kQueries * kSplitKeys + kQueries * kDim;  // staged by the warps after the queries'
  float* const own_value = own_key + kDim;

  std::uint16_t* const page0 = sequence.pages[begin / kPageTokens];
  std::uint16_t* const page1 = begin + kPageTokens < end ? sequence.pages[begin / kPageTokens + 1] : page0;
  const auto strip = [&](std::uint32_t key, bool value) {
    return (key - begin < kPageTokens ? page0 : page1) + strip_offset(layer.index, kv_head, value, S::kv_heads, kDim);
  };
  // What lies past the end may be anything, also no number: scores and values there are put to nothing below.
  uint4 keys[k32];
  const std::uint32_t first = begin + b.warp * 8;
#pragma unroll
  for (int i = 0; i < k32; ++i) keys[i] = make_uint4(0, 0, 0, 0);
  if (first < end) {
    const auto* from = reinterpret_cast<const uint4*>(strip(first, false) + first % kPageTokens / 8 * k32 * 256);
#pragma unroll
    for (int i = 0; i < k32; ++i) keys[i] = __ldcg(from + i * kLanes + b.lane);
  }

  // The token's queries, key and value, a warp each.
  if (b.warp < kQueries) {
    norm_and_rotate(b, in, 0, (kv_head * kQueries + b.warp) * 2 * kDim, layer.q_norm, staged);
    const Fragments<0> fragments{query_words, kQueries};
    const float times = rsqrtf(static_cast<float>(kDim)) * CUDART_L2E_F;
    for (std::uint32_t pair = b.lane; pair < kDim / 2; pair += kLanes)
      fragments.put(b.warp, pair, make_float2(staged[2 * pair] * times, staged[2 * pair + 1] * times));
  } else if (fresh && b.warp == kQueries) {
    norm_and_rotate(b, in, 0, (2 * S::heads + kv_head) * kDim, layer.k_norm, own_key);
  } else if (fresh && b.warp == kQueries + 1) {
    constexpr int kEach = kDim / 64;
    std::uint32_t at[kEach];
    float2 pairs[kEach];
#pragma unroll
    for (int i = 0; i < kEach; ++i)
      at[i] = (2 * S::heads + S::kv_heads + kv_head) * kDim / 2 + b.lane + kLanes * static_cast<std::uint32_t>(i);
    in.load(at, pairs);
#pragma unroll
    for (int i = 0; i < kEach; ++i) reinterpret_cast<float2*>(own_value)[b.lane + kLanes * i] = pairs[i];
  }
  uint4 values[kSplitKeys / 32][kTiles];  // on the way while scores and weights are worked out
#pragma unroll
  for (std::uint32_t block = 0; block < kSplitKeys / 32; ++block) {
    const std::uint32_t key = begin + 32 * block;
    if (key >= end) continue;
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
      values[block][tile] =
          __ldcg(reinterpret_cast<const uint4*>(strip(key, true) +
                                                (key % kPageTokens / 32 * (kDim / 8) + b.warp + kWarps * tile) * 256) +
                 b.lane);
  }
  sync_compute();

  const std::uint32_t own = position - begin;  // of the split's keys, where it is one of them
  const auto halves = [](float low, float high) {
    return static_cast<std::uint32_t>(to_half(low)) | static_cast<std::uint32_t>(to_half(high)) << 16U;
  };
  if (fresh) {
    if (b.warp == own / 8 && b.lane / 4 == own % 8) {
#pragma unroll
      for (int i = 0; i < k32; ++i) {
        const float2* const from = reinterpret_cast<const float2*>(own_key) + 16 * i + b.lane % 4;
        keys[i] = make_uint4(halves(from[0].x, from[0].y), halves(from[4].x, from[4].y), halves(from[8].x, from[8].y),
                             halves(from[12].x, from[12].y));
      }
      auto* const to = reinterpret_cast<uint4*>(strip(position, false) + position % kPageTokens / 8 * k32 * 256);
#pragma unroll
      for (int i = 0; i < k32; ++i) to[i * kLanes + b.lane] = keys[i];
    }
    std::uint16_t* const to = strip(position, true);
    for (std::uint32_t d = b.thread; d < kDim; d += kThreads)
      to[value_index(position % kPageTokens, d, kDim)] = to_half(own_value[d]);
  }

  // Scores of this warp's keys.
  {
    const Fragments<0> fragments{query_words, kQueries};
    float sum[4] = {};
#pragma unroll
    for (int i = 0; i < k32; ++i) {
      mma(sum, fragments.get(2 * static_cast<std::uint32_t>(i), b.lane), keys[i].x, keys[i].y);
      mma(sum, fragments.get(2 * static_cast<std::uint32_t>(i) + 1, b.lane), keys[i].z, keys[i].w);
    }
    if (b.lane / 4 < kQueries) {
      const std::uint32_t column = b.warp * 8 + b.lane % 4 * 2;
      *reinterpret_cast<float2*>(scores + b.lane / 4 * kSplitKeys + column) =
          make_float2(begin + column > position ? -CUDART_INF_F : sum[0] + sum[2],
                      begin + column + 1 > position ? -CUDART_INF_F : sum[1] + sum[3]);
    }
  }
  sync_compute();

  const auto at = [&](std::uint32_t query) { return (kv_head * kQueries + query) * b.args.splits + split; };
  if (b.warp < kQueries) {
    const float4 score = *reinterpret_cast<const float4*>(scores + b.warp * kSplitKeys + b.lane * 4);
    const float most = warp_max(fmaxf(fmaxf(score.x, score.y), fmaxf(score.z, score.w)));
    const float shift = most == -CUDART_INF_F ? 0.0F : most;
    const float4 weight =
        make_float4(exp2f(score.x - shift), exp2f(score.y - shift), exp2f(score.z - shift), exp2f(score.w - shift));
    const float total = warp_sum((weight.x + weight.y) + (weight.z + weight.w));
    const Fragments<0> fragments{weight_words, kQueries};
    fragments.put(b.warp, b.lane * 2, make_float2(weight.x, weight.y));
    fragments.put(b.warp, b.lane * 2 + 1, make_float2(weight.z, weight.w));
    if (b.lane < 2) scale.store(at(b.warp) * 2 + b.lane, b.lane == 0 ? most : total);
  }
  // The token's own value among the others, while the weights are worked out.
  if (fresh && b.lane % 4 == own % 8 / 2) {
    const std::uint32_t word = own % 32 / 16 * 2 + own % 16 / 8;
    const std::uint32_t select = own % 2 == 0 ? 0x3254U : 0x5410U;  // which half of the word is put in
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      const std::uint32_t half = to_half(own_value[(b.warp + kWarps * tile) * 8 + b.lane / 4]);
#pragma unroll
      for (std::uint32_t block = 0; block < kSplitKeys / 32; ++block) {
        if (block != own / 32) continue;
        uint4& v = values[block][tile];
        if (word == 0) v.x = __byte_perm(v.x, half, select);
        if (word == 1) v.y = __byte_perm(v.y, half, select);
        if (word == 2) v.z = __byte_perm(v.z, half, select);
        if (word == 3) v.w = __byte_perm(v.w, half, select);
      }
    }
  }
  sync_compute();

  const Fragments<0> fragments{weight_words, kQueries};
  float sum[kTiles][4] = {};
#pragma unroll
  for (std::uint32_t block = 0; block < kSplitKeys / 32; ++block) {
    const std::uint32_t key = begin + 32 * block + b.lane % 4 * 2;
    if (begin + 32 * block >= end) continue;
    const uint4 low = fragments.get(2 * block, b.lane);
    const uint4 high = fragments.get(2 * block + 1, b.lane);
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      const uint4& v = values[block][i];
      mma(sum[i], low, keep_before(v.x, key, end), keep_before(v.y, key + 8, end));
      mma(sum[i], high, keep_before(v.z, key + 16, end), keep_before(v.w, key + 24, end));
    }
  }
  if (b.lane / 4 < kQueries) {
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      const std::uint32_t dim = (b.warp + kWarps * static_cast<std::uint32_t>(i)) * 8 + b.lane % 4 * 2;
      part.store(at(b.lane / 4) * kDim + dim, sum[i][0] + sum[i][2]);
      part.store(at(b.lane / 4) * kDim + dim + 1, sum[i][1] + sum[i][3]);
    }
  }
}

/// This block's items of a full layer.
template <typename C>
__device__ __forceinline__ void mix_full_one(const Block<C>& b, const DeviceLayer& layer, std::uint32_t number) {
  constexpr std::uint32_t kHeads = C::Shape::kv_heads;
  const std::uint32_t items = (b.args.sequence[0].position / kSplitKeys + 1) * kHeads;
#pragma unroll 1
  for (std::uint32_t item = b.block; item < items; item += b.blocks) {
    attention_one(b, layer, number, item % kHeads, item / kHeads);
    if (item + b.blocks < items) sync_compute();  // the block's memory is written again
  }
}

/// Activations of o_proj as gather_attention() makes them: everything a thread needs is on its way at once.
template <typename C>
__device__ __forceinline__ void gather_attention_one(const Block<C>& b, std::uint32_t number) {
  using S = typename C::Shape;
  constexpr std::uint32_t kPairs = S::head_dim / 2;
  constexpr int kEach = S::heads * kPairs / kThreads;
  static_assert(S::heads * kPairs % kThreads == 0 && S::heads * S::head_dim % kUnitColumns == 0);
  std::uint32_t at[kEach];
  std::uint32_t gate_at[kEach];
  std::uint32_t scale_at[kEach];
  float2 value[kEach];
  float2 gate[kEach];
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    const std::uint32_t pair = b.thread + kThreads * static_cast<std::uint32_t>(j);
    const std::uint32_t head = pair / kPairs;
    gate_at[j] = (2 * head + 1) * kPairs + pair % kPairs;
    scale_at[j] = head * b.args.splits;
    at[j] = b.args.combine != 0 ? pair : scale_at[j] * kPairs + pair % kPairs;
  }
  b.link(b.args.buffers.in, number).load(gate_at, gate);
  if (b.args.combine != 0) {
    b.link(b.args.buffers.mixed, number).load(at, value);
  } else {
    float2 weights[kEach];
    b.link(b.args.buffers.scale, number).load(scale_at, weights);
    b.link(b.args.buffers.part, number).load(at, value);
#pragma unroll
    for (int j = 0; j < kEach; ++j) value[j] = make_float2(value[j].x / weights[j].y, value[j].y / weights[j].y);
  }
#pragma unroll
  for (int j = 0; j < kEach; ++j)
    b.fragments().put(0, b.thread + kThreads * static_cast<std::uint32_t>(j),
                      make_float2(value[j].x * sigmoid(gate[j].x), value[j].y * sigmoid(gate[j].y)));
  sync_compute();
}

}  // namespace qwen35::cuda
