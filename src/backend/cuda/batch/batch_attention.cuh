#pragma once

// The mixer of a full layer for the sequences of a pass: a block takes one split of one sequence's KV head at a time,
// from the input product's rows to the activations of `out`; where a sequence has several splits, a second kernel adds
// them up. Sums have the order of decode_attention.cuh.
//
// What a block must wait for is short: old keys and values are on their way before the kernel before has ended, values
// as far as the second-level cache; new keys go to their page and to the block's memory at once.

#include "backend/cuda/batch/batch_delta.cuh"
#include "backend/cuda/decode/decode_attention.cuh"

namespace qwen35::cuda {

/// Bytes of a block's memory.
struct AttentionMemory {
  std::uint32_t words;   ///< queries, then weights
  std::uint32_t scores;  ///< or a head a warp, before it is a query or a key
  std::uint32_t keys;    ///< new ones: kGroupRows × head_dim halves
  std::uint32_t rotary;  ///< kGroupRows × rotary_dim floats: cosines, sines
  std::uint32_t totals;  ///< a float a query
  std::uint32_t bytes;

  QWEN35_HD explicit AttentionMemory(const ModelSizes& s) {
    const std::uint32_t queries = (kGroupRows * (s.heads / s.kv_heads) + 7) / 8 * 8;
    const std::uint32_t wide = s.head_dim > kSplitKeys ? s.head_dim : kSplitKeys;
    const std::uint32_t score_floats = queries * kSplitKeys;
    const std::uint32_t head_floats = kMixWarps * s.head_dim;
    words = 0;
    scores = words + queries * wide * 4;
    keys = scores + (score_floats > head_floats ? score_floats : head_floats) * 4;
    rotary = keys + kGroupRows * s.head_dim * 2;
    totals = rotary + (kGroupRows * s.rotary_dim * 4 + 15) / 16 * 16;
    bytes = totals + queries * 4;
  }
};

/// 16 bytes, or zeros: without a branch, so that many go one behind the other.
__device__ __forceinline__ uint4 load_if(bool wanted, const void* from) {
  uint4 v;
  asm volatile(
      "{\n"
      ".reg .pred wanted;\n"
      "setp.ne.u32 wanted, %5, 0;\n"
      "mov.b32 %0, 0;\n"
      "mov.b32 %1, 0;\n"
      "mov.b32 %2, 0;\n"
      "mov.b32 %3, 0;\n"
      "@wanted ld.global.cg.v4.b32 {%0, %1, %2, %3}, [%4];\n"
      "}"
      : "=&r"(v.x), "=&r"(v.y), "=&r"(v.z), "=&r"(v.w)
      : "l"(from), "r"(static_cast<std::uint32_t>(wanted)));
  return v;
}

/// A head's values at `from`: RMSNorm, then rotation, by one warp; `staged` (head_dim floats of its own) holds them at
/// the end. `rotary`: of the row's position.
template <typename Shape>
__device__ __forceinline__ void norm_and_turn(const Shape& s, float eps, const float* from, const float* norm,
                                              const float* rotary, float* staged, std::uint32_t lane) {
  const std::uint32_t pairs = s.head_dim / 2;  // at most 128
  constexpr int kEach = 4;
  float2 value[kEach];
  float2 weights[kEach];
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    const std::uint32_t pair = lane + 32 * static_cast<std::uint32_t>(j);
    value[j] = pair < pairs ? __ldcg(reinterpret_cast<const float2*>(from) + pair) : make_float2(0, 0);
    weights[j] = pair < pairs ? __ldg(reinterpret_cast<const float2*>(norm) + pair) : make_float2(0, 0);
  }
  float square = 0;
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    if (lane + 32 * static_cast<std::uint32_t>(j) < pairs) square = add_squares(square, value[j]);
  }
  const float scale = rsqrtf(warp_sum(square) / static_cast<float>(s.head_dim) + eps);
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    const std::uint32_t pair = lane + 32 * static_cast<std::uint32_t>(j);
    if (pair >= pairs) continue;
    reinterpret_cast<float2*>(staged)[pair] =
        make_float2(value[j].x * scale * weights[j].x, value[j].y * scale * weights[j].y);
  }
  __syncwarp();
  const std::uint32_t half = s.rotary_dim / 2;
  for (std::uint32_t i = lane; i < half; i += kLanes) {
    const float2 pair = turned(staged[i], staged[half + i], rotary[i], rotary[half + i]);
    staged[i] = pair.x;
    staged[half + i] = pair.y;
  }
  __syncwarp();
}

/// One item of attention.
struct AttentionItem {
  SequenceView sequence;
  std::uint32_t head;   ///< KV head
  std::uint32_t split;  ///< of `splits`
  std::uint32_t splits;
};

__device__ __forceinline__ std::uint32_t splits_of(const SequenceView& sequence) {
  return (sequence.position + sequence.count - 1) / kSplitKeys + 1;
}

/// A pass's items, found by a warp: lane l knows how many sequences 2 l and 2 l + 1 have.
struct AttentionItems {
  std::uint32_t first, end, total;

  template <typename Shape>
  __device__ AttentionItems(const DecodeArgs& args, const Shape& s, std::uint32_t lane) {
    static_assert(kPassRows == 2 * kLanes);
    const auto items = [&](std::uint32_t i) {
      return i < args.sequences ? splits_of(args.sequence[i]) * s.kv_heads : 0;
    };
    first = items(2 * lane);
    both = first + items(2 * lane + 1);
    end = both;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const std::uint32_t before = __shfl_up_sync(0xFFFFFFFFU, end, step);
      if (lane >= static_cast<std::uint32_t>(step)) end += before;
    }
    total = __shfl_sync(0xFFFFFFFFU, end, 31);
  }
  template <typename Shape>
  __device__ AttentionItem find(const DecodeArgs& args, const Shape& s, std::uint32_t item) const {
    const int holder = __popc(__ballot_sync(0xFFFFFFFFU, end <= item));
    std::uint32_t rest = item - __shfl_sync(0xFFFFFFFFU, end - both, holder);
    const std::uint32_t of_first = __shfl_sync(0xFFFFFFFFU, first, holder);
    std::uint32_t index = 2 * static_cast<std::uint32_t>(holder);
    if (rest >= of_first) {
      rest -= of_first;
      ++index;
    }
    const SequenceView& sequence = args.sequence[index];
    return {sequence, rest % s.kv_heads, rest / s.kv_heads, splits_of(sequence)};
  }

 private:
  std::uint32_t both;
};

/// k32: head_dim / 32.
template <typename Shape, int k32>
__device__ __forceinline__ void batch_attention_item(const DecodeArgs& args, const ModelSizes& sizes,
                                                     const DeviceLayer& layer, const AttentionMemory& at,
                                                     std::uint8_t* memory, const AttentionItem& item) {
  constexpr std::uint32_t kDim = k32 * 32;
  constexpr int kTiles = (k32 * 4 + kMixWarps - 1) / kMixWarps;          // of eight dimensions, a warp
  constexpr int kBlocks = kSplitKeys / 8 / static_cast<int>(kMixWarps);  // of eight keys, a warp
  const auto& s = sizes_as<Shape>(sizes);
  const std::uint32_t thread = threadIdx.x;
  const std::uint32_t lane = thread % kLanes;
  const std::uint32_t warp = thread / kLanes;
  const SequenceView& sequence = item.sequence;
  const std::uint32_t kv_head = item.head;
  const std::uint32_t group = s.heads / s.kv_heads;
  const std::uint32_t queries = sequence.count * group;
  const std::uint32_t query_tiles = (queries + 7) / 8;
  const std::uint32_t begin = item.split * kSplitKeys;
  const std::uint32_t end = min(begin + kSplitKeys, sequence.position + sequence.count);
  const std::uint32_t first_new = max(begin, sequence.position);
  const std::uint32_t fresh_keys = end > first_new ? end - first_new : 0;  // that fall into the split
  auto* const words = reinterpret_cast<std::uint32_t*>(memory + at.words);
  auto* const scores = reinterpret_cast<float*>(memory + at.scores);
  auto* const new_keys = reinterpret_cast<std::uint16_t*>(memory + at.keys);
  auto* const rotary = reinterpret_cast<float*>(memory + at.rotary);
  auto* const totals = reinterpret_cast<float*>(memory + at.totals);
  const auto tile_rows = [&](std::uint32_t tile) { return min(8U, queries - tile * 8); };

  // Both pages of the split; a split whose second page is not there yet does not look at it.
  std::uint16_t* const page0 = sequence.pages[begin / kPageTokens];
  std::uint16_t* const page1 = begin + kPageTokens < end ? sequence.pages[begin / kPageTokens + 1] : page0;
  const auto strip = [&](std::uint32_t page, bool value) {
    return (page * kPageTokens == begin ? page0 : page1) + strip_offset(layer.index, kv_head, value, s.kv_heads, kDim);
  };
  // All that was there before the pass is asked for, 128 bytes a thread and step: keys, then values.
  constexpr std::uint32_t kLines = kSplitKeys * kDim * 2 / 128;
  const std::uint32_t old_end = min(end, sequence.position);
#pragma unroll
  for (std::uint32_t i = 0; i < 2 * kLines; i += kMixThreads) {
    const bool value = i + thread >= kLines;
    const std::uint32_t line = i + thread - (value ? kLines : 0);
    const std::uint32_t key = begin + line / (kDim / 2) * 32;
    if (line >= kLines || key >= old_end) continue;
    const std::uint16_t* const from =
        strip(key / kPageTokens, value) + key % kPageTokens / 32 * (kDim * 32) + line % (kDim / 2) * 64;
    asm volatile("prefetch.global.L2 [%0];" ::"l"(from));
  }
  // In double, because at position 200,000 a float angle would be off by a percent of a turn.
  const std::uint32_t half = s.rotary_dim / 2;
  for (std::uint32_t i = thread; i < sequence.count * half; i += kMixThreads) {
    double sine, cosine;
    sincos(static_cast<double>(sequence.position + i / half) * args.frequencies[i % half], &sine, &cosine);
    rotary[i / half * s.rotary_dim + i % half] = static_cast<float>(cosine);
    rotary[i / half * s.rotary_dim + half + i % half] = static_cast<float>(sine);
  }
  const auto key_block = [&](int block) { return begin + (warp + kMixWarps * static_cast<std::uint32_t>(block)) * 8; };
  uint4 keys[kBlocks][k32];
#pragma unroll
  for (int block = 0; block < kBlocks; ++block) {
    const std::uint32_t first = key_block(block);
    const auto* const from =
        reinterpret_cast<const uint4*>(strip(first / kPageTokens, false) + (first % kPageTokens / 8) * k32 * 256);
#pragma unroll
    for (int i = 0; i < k32; ++i) keys[block][i] = load_if(first < sequence.position, from + i * kLanes + lane);
  }
  __syncthreads();

  // Queries, times head_dim^-0.5 and into powers of two; new keys and values into their page.
  wait_for_previous();
  const auto* const in = static_cast<const float*>(args.buffers.in[0]);
  const auto input = [&](std::uint32_t t, std::uint32_t from) {
    return in + std::size_t{sequence.first + t} * args.buffers.in_floats + from;
  };
  float* const staged = scores + warp * kDim;
  for (std::uint32_t task = warp; task < queries + 2 * fresh_keys; task += kMixWarps) {
    if (task < queries) {
      const std::uint32_t t = task / group;
      const std::uint32_t head = kv_head * group + task % group;
      norm_and_turn(s, sizes.eps, input(t, head * 2 * kDim), layer.q_norm, rotary + t * s.rotary_dim, staged, lane);
      const Fragments<0> fragments{words + task / 8 * 8 * kDim, tile_rows(task / 8)};
      const float times = inverse_root(static_cast<float>(kDim)) * CUDART_L2E_F;
      for (std::uint32_t pair = lane; pair < kDim / 2; pair += kLanes)
        fragments.put(task % 8, pair, make_float2(staged[2 * pair] * times, staged[2 * pair + 1] * times));
      __syncwarp();
      continue;
    }
    const bool value = task >= queries + fresh_keys;
    const std::uint32_t fresh = task - queries - (value ? fresh_keys : 0);
    const std::uint32_t position = first_new + fresh;
    const std::uint32_t t = position - sequence.position;
    const std::uint32_t from = (2 * s.heads + (value ? s.kv_heads : 0) + kv_head) * kDim;
    std::uint16_t* const to = strip(position / kPageTokens, value);
    const std::uint32_t in_page = position % kPageTokens;
    if (value) {
      constexpr int kEach = kDim >= 64 ? kDim / 64 : 1;  // pairs a lane
      float2 pairs[kEach];
#pragma unroll
      for (int i = 0; i < kEach; ++i)
        pairs[i] = __ldcg(reinterpret_cast<const float2*>(input(t, from)) + (lane < kDim / 2 ? lane : 0) +
                          kLanes * static_cast<std::uint32_t>(i));
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        const std::uint32_t d = 2 * (lane + kLanes * static_cast<std::uint32_t>(i));
        if (d >= kDim) continue;
        to[value_index(in_page, d, kDim)] = to_half(pairs[i].x);
        to[value_index(in_page, d + 1, kDim)] = to_half(pairs[i].y);
      }
    } else {
      norm_and_turn(s, sizes.eps, input(t, from), layer.k_norm, rotary + t * s.rotary_dim, staged, lane);
      for (std::uint32_t d = 2 * lane; d < kDim; d += 2 * kLanes) {
        const std::uint32_t pair = to_half(staged[d]) | static_cast<std::uint32_t>(to_half(staged[d + 1])) << 16U;
        *reinterpret_cast<std::uint32_t*>(to + key_index(in_page, d, kDim)) = pair;
        *reinterpret_cast<std::uint32_t*>(new_keys + fresh * kDim + d / 32 * 32 + piece_index(0, d % 32)) = pair;
      }
      __syncwarp();
    }
  }
  __syncthreads();
#pragma unroll
  for (int block = 0; block < kBlocks; ++block) {
    const std::uint32_t key = key_block(block) + lane / 4;
    if (key < first_new || key >= end) continue;
#pragma unroll
    for (int i = 0; i < k32; ++i)
      keys[block][i] = *reinterpret_cast<const uint4*>(new_keys + (key - first_new) * kDim + i * 32 + lane % 4 * 8);
  }
  __syncwarp();

  // Scores of this warp's keys.
  for (std::uint32_t tile = 0; tile < query_tiles; ++tile) {
    const Fragments<0> fragments{words + tile * 8 * kDim, tile_rows(tile)};
    float sum[kBlocks][4] = {};
#pragma unroll
    for (int i = 0; i < k32; ++i) {
      const uint4 even = fragments.get(2 * static_cast<std::uint32_t>(i), lane);
      const uint4 odd = fragments.get(2 * static_cast<std::uint32_t>(i) + 1, lane);
#pragma unroll
      for (int block = 0; block < kBlocks; ++block) {
        mma(sum[block], even, keys[block][i].x, keys[block][i].y);
        mma(sum[block], odd, keys[block][i].z, keys[block][i].w);
      }
    }
    const std::uint32_t query = tile * 8 + lane / 4;
    if (query >= queries) continue;
    const std::uint32_t last = sequence.position + query / group;  // the key at the query's own position
#pragma unroll
    for (int block = 0; block < kBlocks; ++block) {
      const std::uint32_t key = key_block(block) + lane % 4 * 2;
      const float2 score = make_float2(key > last ? -CUDART_INF_F : sum[block][0] + sum[block][2],
                                       key + 1 > last ? -CUDART_INF_F : sum[block][1] + sum[block][3]);
      *reinterpret_cast<float2*>(scores + query * kSplitKeys + key - begin) = score;
    }
  }
  uint4 values[kSplitBlocks][kTiles];  // on the way while the weights are worked out
#pragma unroll
  for (int block = 0; block < static_cast<int>(kSplitBlocks); ++block) {
    const std::uint32_t key = begin + 32 * static_cast<std::uint32_t>(block);
    const auto* const from =
        reinterpret_cast<const uint4*>(strip(key / kPageTokens, true) + key % kPageTokens / 32 * (kDim / 8) * 256);
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      const std::uint32_t dims = warp + kMixWarps * static_cast<std::uint32_t>(tile);
      values[block][tile] = load_if(key < end && dims * 8 < kDim, from + dims * kLanes + lane);
    }
  }
  __syncthreads();  // scores are there, queries no longer needed

  const auto part_of = [&](std::uint32_t query) {
    const std::uint32_t row = sequence.first + query / group;
    return std::size_t{row * s.heads + kv_head * group + query % group} * args.splits + item.split;
  };
  for (std::uint32_t query = warp; query < queries; query += kMixWarps) {
    const float4 score = *reinterpret_cast<const float4*>(scores + query * kSplitKeys + lane * 4);
    const float most = warp_max(fmaxf(fmaxf(score.x, score.y), fmaxf(score.z, score.w)));
    const float shift = most == -CUDART_INF_F ? 0.0F : most;
    const float4 weight =
        make_float4(exp2f(score.x - shift), exp2f(score.y - shift), exp2f(score.z - shift), exp2f(score.w - shift));
    const float total = warp_sum((weight.x + weight.y) + (weight.z + weight.w));
    const Fragments<0> fragments{words + query / 8 * 8 * kSplitKeys, tile_rows(query / 8)};
    fragments.put(query % 8, lane * 2, make_float2(weight.x, weight.y));
    fragments.put(query % 8, lane * 2 + 1, make_float2(weight.z, weight.w));
    if (lane == 0) {
      totals[query] = total;
      if (item.splits > 1) reinterpret_cast<float2*>(args.buffers.scale[0])[part_of(query)] = make_float2(most, total);
    }
  }
  __syncthreads();

  for (std::uint32_t tile = 0; tile < query_tiles; ++tile) {
    const Fragments<0> fragments{words + tile * 8 * kSplitKeys, tile_rows(tile)};
    const std::uint32_t query = tile * 8 + lane / 4;
    const std::uint32_t row = sequence.first + query / group;
    const std::uint32_t head = kv_head * group + query % group;
    const auto dim_of = [&](int i) { return (warp + kMixWarps * static_cast<std::uint32_t>(i)) * 8 + lane % 4 * 2; };
    float2 gate[kTiles];  // on the way meanwhile
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      gate[i] = make_float2(0, 0);
      if (item.splits == 1 && query < queries && dim_of(i) < kDim)
        gate[i] = __ldcg(reinterpret_cast<const float2*>(input(query / group, (2 * head + 1) * kDim + dim_of(i))));
    }
    float sum[kTiles][4] = {};
#pragma unroll
    for (int block = 0; block < static_cast<int>(kSplitBlocks); ++block) {
      const std::uint32_t key = begin + 32 * static_cast<std::uint32_t>(block) + lane % 4 * 2;
      if (begin + 32 * static_cast<std::uint32_t>(block) >= end) continue;
      const uint4 low = fragments.get(2 * static_cast<std::uint32_t>(block), lane);
      const uint4 high = fragments.get(2 * static_cast<std::uint32_t>(block) + 1, lane);
#pragma unroll
      for (int i = 0; i < kTiles; ++i) {
        const uint4& v = values[block][i];  // what lies past the end may be anything, also no number
        mma(sum[i], low, keep_before(v.x, key, end), keep_before(v.y, key + 8, end));
        mma(sum[i], high, keep_before(v.z, key + 16, end), keep_before(v.w, key + 24, end));
      }
    }
    if (query >= queries) continue;
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      if (dim_of(i) >= kDim) continue;
      const float2 value = make_float2(sum[i][0] + sum[i][2], sum[i][1] + sum[i][3]);
      if (item.splits > 1) {
        *reinterpret_cast<float2*>(static_cast<float*>(args.buffers.part[0]) + part_of(query) * kDim + dim_of(i)) =
            value;
        continue;
      }
      const float total = totals[query];
      group_of(args.buffers.act_mixed, layer.out.units, row)
          .put(row % kGroupRows, (head * kDim + dim_of(i)) / 2,
               make_float2(value.x / total * sigmoid(gate[i].x), value.y / total * sigmoid(gate[i].y)));
    }
  }
}

template <typename Shape, int k32>
__global__ void __launch_bounds__(kMixThreads, 2)
    batch_attention(const DecodeArgs* __restrict__ pass, const __grid_constant__ ModelSizes sizes,
                    const __grid_constant__ DeviceLayer layer) {
  extern __shared__ __align__(128) std::uint8_t memory[];
  const auto& s = sizes_as<Shape>(sizes);
  const DecodeArgs& args = *pass;
  let_next_begin();
  const AttentionMemory at(sizes);
  const AttentionItems items(args, s, threadIdx.x % kLanes);
#pragma unroll 1
  for (std::uint32_t i = blockIdx.x; i < items.total; i += gridDim.x) {
    batch_attention_item<Shape, k32>(args, sizes, layer, at, memory, items.find(args, s, i));
    __syncthreads();  // the block's memory is written again
  }
  wait_for_previous();  // a block that had no item
  zero_rest(args, s.heads * s.head_dim, layer.out.units, blockIdx.x, gridDim.x);
}

/// A head of a row: the splits' sums, each times how much its largest score lags behind the largest of all, then the
/// gate. In the order of combine_item: split i is with strand i % 64, strands are added by fours, the fours in order.
template <typename Shape>
__global__ void __launch_bounds__(kThreads)
    batch_combine(const DecodeArgs* __restrict__ pass, const __grid_constant__ ModelSizes sizes, std::uint32_t units) {
  constexpr std::uint32_t kStrands = kThreads / 8;
  constexpr std::uint32_t kFours = kStrands / 4;
  constexpr std::uint32_t kMostPairs = 128;
  static_assert(kFours == kWarps);
  __shared__ float2 sums[kFours * kMostPairs];
  __shared__ float across[2 * kWarps];  // maxima, totals
  const auto& s = sizes_as<Shape>(sizes);
  const DecodeArgs& args = *pass;
  let_next_begin();
  const std::uint32_t head = blockIdx.x;
  const std::uint32_t row = blockIdx.y;
  if (row >= args.rows) return;
  const SequenceView& sequence = args.sequence[args.sequence_of[row]];
  if (splits_of(sequence) == 1) return;  // it is done
  const std::uint32_t splits = (sequence.position + row - sequence.first) / kSplitKeys + 1;
  const std::size_t base = std::size_t{row * s.heads + head} * args.splits;
  const std::uint32_t thread = threadIdx.x;
  const std::uint32_t lane = thread % kLanes;
  const std::uint32_t warp = thread / kLanes;
  const std::uint32_t pairs = s.head_dim / 2;
  const auto* const scale = reinterpret_cast<const float2*>(args.buffers.scale[0]) + base;
  const auto* const part = reinterpret_cast<const float2*>(args.buffers.part[0]) + base * pairs;
  const auto* const gates =
      reinterpret_cast<const float2*>(static_cast<const float*>(args.buffers.in[0]) +
                                      std::size_t{row} * args.buffers.in_floats + (2 * head + 1) * s.head_dim);
  wait_for_previous();

  const float2 gate = thread < pairs ? __ldcg(gates + thread) : make_float2(0, 0);
  float most = -CUDART_INF_F;
  for (std::uint32_t split = thread; split < splits; split += kThreads) most = fmaxf(most, __ldcg(scale + split).x);
  most = warp_max(most);
  if (lane == 0) across[warp] = most;
  __syncthreads();
  most = across[0];
  for (std::uint32_t i = 1; i < kWarps; ++i) most = fmaxf(most, across[i]);

  float total = 0;
  for (std::uint32_t split = thread; split < splits; split += kThreads) {
    const float2 one = __ldcg(scale + split);
    total += exp2f(one.x - most) * one.y;
  }
  total = warp_sum(total);
  if (lane == 0) across[kWarps + warp] = total;

  const std::uint32_t pair = thread % pairs;
  for (std::uint32_t four = thread / pairs; four < kFours; four += kThreads / pairs) {
    float2 strand[4];
#pragma unroll
    for (std::uint32_t k = 0; k < 4; ++k) strand[k] = make_float2(0, 0);
#pragma unroll 2
    for (std::uint32_t first = 4 * four; first < splits; first += kStrands) {
#pragma unroll
      for (std::uint32_t k = 0; k < 4; ++k) {
        if (first + k >= splits) continue;
        const float times = exp2f(__ldcg(scale + first + k).x - most);
        const float2 one = __ldcg(part + std::size_t{first + k} * pairs + pair);
        strand[k].x += times * one.x;
        strand[k].y += times * one.y;
      }
    }
    sums[four * pairs + pair] = make_float2((strand[0].x + strand[1].x) + (strand[2].x + strand[3].x),
                                            (strand[0].y + strand[1].y) + (strand[2].y + strand[3].y));
  }
  __syncthreads();
  if (thread >= pairs) return;
  float2 value = make_float2(0, 0);
  float weights = 0;
  for (std::uint32_t i = 0; i < kFours; ++i) {
    value.x += sums[i * pairs + thread].x;
    value.y += sums[i * pairs + thread].y;
    weights += across[kWarps + i];
  }
  group_of(args.buffers.act_mixed, units, row)
      .put(row % kGroupRows, head * pairs + thread,
           make_float2(value.x / weights * sigmoid(gate.x), value.y / weights * sigmoid(gate.y)));
}

}  // namespace qwen35::cuda
