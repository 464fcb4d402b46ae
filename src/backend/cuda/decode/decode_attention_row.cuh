#pragma once

// Attention of one row of a pass over what its state remembers, sizes known: the arithmetic of attention_item()
// (decode_attention.cuh), to the bit, made for latency. Every row is an item of its own for some block. Keys and values
// of the pass itself are worked out by each block that needs them, put into the registers and not read back from the
// page; the item of a sequence's last row writes them there.

#include "backend/cuda/decode/decode_attention.cuh"

namespace qwen35::cuda {

/// Words of a block's memory that such an item needs, in a pass of `tokens` of one sequence.
template <typename S>
constexpr std::uint32_t attention_row_words(std::uint32_t tokens) {
  return S::heads / S::kv_heads * (S::head_dim + 2 * kSplitKeys) + (kWarps + tokens) * S::head_dim;
}

/// One row, KV head and split.
template <typename C>
__device__ __forceinline__ void attention_row(const Block<C>& b, const DeviceLayer& layer, std::uint32_t number,
                                              std::uint32_t row, std::uint32_t kv_head, std::uint32_t split) {
  using S = typename C::Shape;
  constexpr std::uint32_t kDim = S::head_dim;
  constexpr std::uint32_t kQueries = S::heads / S::kv_heads;
  constexpr int k32 = kDim / 32;
  constexpr int kTiles = kDim / 8 / kWarps;  // of eight dimensions, a warp
  constexpr int kBlocks = kSplitKeys / 32;
  static_assert(kSplitKeys == 8 * kWarps && kDim % (8 * kWarps) == 0 && kQueries <= 8 && kDim % 64 == 0);
  const SequenceView& sequence = b.sequence_of(row);
  const auto in = b.link(b.args.buffers.in, number);
  const auto part = b.link(b.args.buffers.part, number);
  const auto scale = b.link(b.args.buffers.scale, number);
  const std::uint32_t position = b.position_of(row);
  const std::uint32_t begin = split * kSplitKeys;
  const std::uint32_t end = min(begin + kSplitKeys, position + 1);
  const std::uint32_t first_new = max(begin, sequence.position);  // of the pass's own keys in the split
  const std::uint32_t fresh = end > first_new ? end - first_new : 0;
  const bool writes = C::kRows == 1 || row + 1 == sequence.first + sequence.count;

  std::uint32_t* const query_words = b.scratch;
  std::uint32_t* const weight_words = query_words + kQueries * kDim;
  float* const scores = reinterpret_cast<float*>(weight_words + kQueries * kSplitKeys);
  float* const staged = scores + kQueries * kSplitKeys + b.warp * kDim;
  // The pass's own keys, then values, as they are stored, pairs of dimensions in a word.
  std::uint32_t* const own_keys = reinterpret_cast<std::uint32_t*>(scores + kQueries * kSplitKeys + kWarps * kDim);
  std::uint32_t* const own_values = own_keys + fresh * (kDim / 2);
  const auto halves = [](float low, float high) {
    return static_cast<std::uint32_t>(to_half(low)) | static_cast<std::uint32_t>(to_half(high)) << 16U;
  };

  std::uint16_t* const page0 = sequence.pages[begin / kPageTokens];
  std::uint16_t* const page1 = begin + kPageTokens < end ? sequence.pages[begin / kPageTokens + 1] : page0;
  const auto strip = [&](std::uint32_t key, bool value) {
    return (key - begin < kPageTokens ? page0 : page1) + strip_offset(layer.index, kv_head, value, S::kv_heads, kDim);
  };

  // Queries, new keys and new values, a warp each.
#pragma unroll 1
  for (std::uint32_t task = b.warp; task < kQueries + 2 * fresh; task += kWarps) {
    const bool query = task < kQueries;
    if (task < kQueries + fresh) {
      const std::uint32_t key = query ? 0 : task - kQueries;
      norm_and_rotate(b, in, query ? row : sequence.first + first_new + key - sequence.position,
                      (query ? (kv_head * kQueries + task) * 2 : 2 * S::heads + kv_head) * kDim,
                      query ? layer.q_norm : layer.k_norm, staged);
      const Fragments<kQueries> fragments{query_words, kQueries};
      const float times = inverse_root(static_cast<float>(kDim)) * CUDART_L2E_F;
#pragma unroll
      for (std::uint32_t i = 0; i < kDim / 2; i += kLanes) {
        const float2 pair = reinterpret_cast<const float2*>(staged)[i + b.lane];
        if (query) {
          fragments.put(task, i + b.lane, make_float2(pair.x * times, pair.y * times));
        } else {
          own_keys[key * (kDim / 2) + i + b.lane] = halves(pair.x, pair.y);
        }
      }
      __syncwarp();
      continue;
    }
    const std::uint32_t key = task - kQueries - fresh;
    const std::uint32_t from = sequence.first + first_new + key - sequence.position;
    constexpr int kEach = kDim / 64;
    std::uint32_t at[kEach];
    float2 pairs[kEach];
#pragma unroll
    for (int i = 0; i < kEach; ++i)
      at[i] = (from * b.args.buffers.in_floats + (2 * S::heads + S::kv_heads + kv_head) * kDim) / 2 + b.lane +
              kLanes * static_cast<std::uint32_t>(i);
    in.load(at, pairs);
#pragma unroll
    for (int i = 0; i < kEach; ++i)
      own_values[key * (kDim / 2) + b.lane + kLanes * static_cast<std::uint32_t>(i)] = halves(pairs[i].x, pairs[i].y);
  }
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
  sync_compute();

  const std::uint32_t my_key = first + b.lane / 4;
  if (my_key >= first_new && my_key < end) {
#pragma unroll
    for (int i = 0; i < k32; ++i) {
      const std::uint32_t* const from = own_keys + (my_key - first_new) * (kDim / 2) + 16 * i + b.lane % 4;
      keys[i] = make_uint4(from[0], from[4], from[8], from[12]);
    }
    if (writes) {
      auto* const to = reinterpret_cast<uint4*>(strip(first, false) + first % kPageTokens / 8 * k32 * 256);
#pragma unroll
      for (int i = 0; i < k32; ++i) to[i * static_cast<int>(kLanes) + static_cast<int>(b.lane)] = keys[i];
    }
  }

  // Scores of this warp's keys.
  {
    const Fragments<kQueries> fragments{query_words, kQueries};
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
  uint4 values[kBlocks][kTiles];  // on the way while the weights are worked out
#pragma unroll
  for (int i = 0; i < kBlocks * kTiles; ++i) {
    const std::uint32_t key = begin + 32 * static_cast<std::uint32_t>(i / kTiles);
    const std::uint32_t dims = b.warp + kWarps * static_cast<std::uint32_t>(i % kTiles);
    uint4& v = values[i / kTiles][i % kTiles];
    v = make_uint4(0, 0, 0, 0);
    if (key < end)
      v = __ldcg(reinterpret_cast<const uint4*>(strip(key, true) + (key % kPageTokens / 32 * (kDim / 8) + dims) * 256) +
                 b.lane);
  }
  sync_compute();

  const auto at = [&](std::uint32_t query) {
    return (row * S::heads + kv_head * kQueries + query) * b.args.splits + split;
  };
  if (b.warp < kQueries) {
    const float4 score = *reinterpret_cast<const float4*>(scores + b.warp * kSplitKeys + b.lane * 4);
    const float most = warp_max(fmaxf(fmaxf(score.x, score.y), fmaxf(score.z, score.w)));
    const float shift = most == -CUDART_INF_F ? 0.0F : most;
    const float4 weight =
        make_float4(exp2f(score.x - shift), exp2f(score.y - shift), exp2f(score.z - shift), exp2f(score.w - shift));
    const float total = warp_sum((weight.x + weight.y) + (weight.z + weight.w));
    const Fragments<kQueries> fragments{weight_words, kQueries};
    fragments.put(b.warp, b.lane * 2, make_float2(weight.x, weight.y));
    fragments.put(b.warp, b.lane * 2 + 1, make_float2(weight.z, weight.w));
    if (b.lane < 2) scale.store(at(b.warp) * 2 + b.lane, b.lane == 0 ? most : total);
  }
  // The new values among the others, and into their page.
#pragma unroll 1
  for (std::uint32_t i = 0; i < fresh; ++i) {
    const std::uint32_t key = first_new + i;
    const std::uint32_t of_split = key - begin;
    if (b.lane % 4 != of_split % 8 / 2) continue;
    const std::uint32_t word = of_split % 32 / 16 * 2 + of_split % 16 / 8;
    const std::uint32_t select = of_split % 2 == 0 ? 0x3254U : 0x5410U;  // which half of the word is put in
    std::uint16_t* const to = strip(key, true);
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      const std::uint32_t dim = (b.warp + kWarps * static_cast<std::uint32_t>(tile)) * 8 + b.lane / 4;
      const std::uint32_t half = own_values[i * (kDim / 2) + dim / 2] >> (16 * (dim % 2)) & 0xFFFFU;
      if (writes) to[value_index(key % kPageTokens, dim, kDim)] = static_cast<std::uint16_t>(half);
#pragma unroll
      for (int block = 0; block < kBlocks; ++block) {
        // Not a branch: the compiler would make an index of it, and put the array into local memory.
        const std::uint32_t here = block == static_cast<int>(of_split / 32) ? word : ~0U;
        uint4& v = values[block][tile];
        v.x = __byte_perm(v.x, half, here == 0 ? select : 0x3210U);
        v.y = __byte_perm(v.y, half, here == 1 ? select : 0x3210U);
        v.z = __byte_perm(v.z, half, here == 2 ? select : 0x3210U);
        v.w = __byte_perm(v.w, half, here == 3 ? select : 0x3210U);
      }
    }
  }
  sync_compute();

  const Fragments<kQueries> fragments{weight_words, kQueries};
  float sum[kTiles][4] = {};
#pragma unroll
  for (int block = 0; block < kBlocks; ++block) {
    const std::uint32_t first_key = begin + 32 * static_cast<std::uint32_t>(block);
    if (first_key < end) {
      const std::uint32_t key = first_key + b.lane % 4 * 2;
      const uint4 low = fragments.get(2 * static_cast<std::uint32_t>(block), b.lane);
      const uint4 high = fragments.get(2 * static_cast<std::uint32_t>(block) + 1, b.lane);
#pragma unroll
      for (int i = 0; i < kTiles; ++i) {
        const uint4 v = values[block][i];
        mma(sum[i], low, keep_before(v.x, key, end), keep_before(v.y, key + 8, end));
        mma(sum[i], high, keep_before(v.z, key + 16, end), keep_before(v.w, key + 24, end));
      }
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
__device__ __forceinline__ void mix_full_rows(const Block<C>& b, const DeviceLayer& layer, std::uint32_t number) {
  constexpr std::uint32_t kHeads = C::Shape::kv_heads;
  std::uint32_t splits = 0;  // the most that a row has
#pragma unroll 1
  for (std::uint32_t row = 0; row < b.rows(); ++row) splits = max(splits, b.position_of(row) / kSplitKeys + 1);
  const std::uint32_t each = splits * kHeads;
#pragma unroll 1
  for (std::uint32_t item = b.block; item < each * b.rows(); item += b.blocks) {
    const std::uint32_t row = C::kRows == 1 ? 0 : item / each;
    const std::uint32_t of_row = C::kRows == 1 ? item : item % each;
    if (of_row / kHeads * kSplitKeys > b.position_of(row)) continue;
    attention_row(b, layer, number, row, of_row % kHeads, of_row / kHeads);
    sync_compute();  // the block's memory is written again
  }
}

/// Activations of o_proj as gather_attention() makes them: everything a thread needs of a row or two is on its way at
/// once.
template <typename C>
__device__ __forceinline__ void gather_attention_rows(const Block<C>& b, std::uint32_t number) {
  using S = typename C::Shape;
  constexpr std::uint32_t kPairs = S::head_dim / 2;
  constexpr std::uint32_t kRowPairs = S::heads * kPairs;
  constexpr int kEach = static_cast<int>(kRowPairs / kThreads) * (C::kRows == 1 ? 1 : 2);
  static_assert(kRowPairs % kThreads == 0 && 2 * kRowPairs % kUnitColumns == 0);
  const auto fragments = b.fragments();
  const std::uint32_t all = b.rows() * kRowPairs;
#pragma unroll 1
  for (std::uint32_t begin = b.thread; begin < all; begin += kThreads * kEach) {
    std::uint32_t at[kEach];
    std::uint32_t gate_at[kEach];
    std::uint32_t scale_at[kEach];
    float2 value[kEach];
    float2 gate[kEach];
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      // What is not there is asked for in the place of the first, and not used.
      const std::uint32_t i = begin + kThreads * static_cast<std::uint32_t>(j);
      const std::uint32_t row = (i < all ? i : begin) / kRowPairs;
      const std::uint32_t pair = (i < all ? i : begin) % kRowPairs;
      const std::uint32_t head = pair / kPairs;
      gate_at[j] = row * (b.args.buffers.in_floats / 2) + (2 * head + 1) * kPairs + pair % kPairs;
      scale_at[j] = (row * S::heads + head) * b.args.splits;
      at[j] =
          b.args.combine != 0 ? row * (b.args.buffers.mixed_floats / 2) + pair : scale_at[j] * kPairs + pair % kPairs;
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
    for (int j = 0; j < kEach; ++j) {
      const std::uint32_t i = begin + kThreads * static_cast<std::uint32_t>(j);
      if (i < all)
        fragments.put(i / kRowPairs, i % kRowPairs,
                      make_float2(value[j].x * sigmoid(gate[j].x), value[j].y * sigmoid(gate[j].y)));
    }
  }
  sync_compute();
}

}  // namespace qwen35::cuda
