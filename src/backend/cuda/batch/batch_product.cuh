#pragma once

// A block of a product of many rows. Weights come by way of a ring of stages, one unit of each of the block's tiles a
// stage; the last warp to have read a stage asks for the next in its place. A warp takes four tiles by some groups of
// eight rows; in a block that has all strands, a quarter of the warps takes every fourth unit, so that the sum of a
// strand stays in registers. The order and kind of
// all float operations is that of decode_product.cuh: a value's bits are the same, whatever computes it.

#include "backend/cuda/batch/batch_copy.cuh"
#include "backend/cuda/batch/batch_product.h"
#include "backend/cuda/decode/decode_pass.cuh"
#include "backend/cuda/pieces/launch.cuh"

namespace qwen35::cuda {

/// Bytes of the activations of eight rows for one unit's columns.
inline constexpr std::uint32_t kChunkBytes = kGroupRows * kUnitColumns * 4;

/// The words of four units that a lane needs at a time: those of kSteps steps.
template <int kBits>
struct QuadWords {
  static constexpr int kSteps = kBits == 16 ? 2 : kBits == 8 ? 4 : 8;
  static constexpr int kUpper = kBits == 6 ? 2 : 1;
  std::uint32_t words[kQuad][4];
  std::uint32_t upper[kQuad][kUpper];  ///< 5 and 6 bits

  /// Those from step kSteps · piece on; `unit`: the first tile's, others `stride` bytes apart.
  __device__ __forceinline__ void load(const std::uint8_t* unit, std::uint32_t stride, int piece, std::uint32_t lane) {
#pragma unroll
    for (std::uint32_t t = 0; t < kQuad; ++t) {
      const std::uint8_t* const at = unit + t * stride;
      const uint4 v = *reinterpret_cast<const uint4*>(at + piece * 512 + lane * 16);
      words[t][0] = v.x, words[t][1] = v.y, words[t][2] = v.z, words[t][3] = v.w;
      if constexpr (kBits == 5) upper[t][0] = *reinterpret_cast<const std::uint32_t*>(at + 512 + lane * 4);
      if constexpr (kBits == 6) {
        const uint2 u = *reinterpret_cast<const uint2*>(at + 512 + lane * 8);
        upper[t][0] = u.x, upper[t][1] = u.y;
      }
    }
  }
  /// Pair `p` of the piece of tile `t`, as Unit::raw.
  __device__ __forceinline__ std::uint32_t raw(std::uint32_t t, int p) const {
    if constexpr (kBits == 16) {
      return words[t][p];
    } else if constexpr (kBits == 8) {
      return magic_bytes(words[t][p / 2], p % 2 != 0);
    } else {
      std::uint32_t above = 0;
      if constexpr (kBits == 5) above = move_bits(upper[t][0], p, 4) & 0x00100010U;
      if constexpr (kBits == 6) above = move_bits(upper[t][p / 8], 2 * (p % 8), 4) & 0x00300030U;
      return magic_nibbles(words[t][p / 4], p % 4, above);
    }
  }
};

/// A unit of four tiles times the columns of kCount groups of rows, added to `y`. The same operations as multiply().
/// `x`: the first group's chunk, of kChunkBytes; `sums`: of this lane's row and quantisation group 0 (the next is
/// `sum_stride` floats further), the next group of rows 8 further.
template <int kBits, int kGroup, int kCount>
__device__ __forceinline__ void multiply_quad(const std::uint8_t* unit, const std::uint8_t* x, const float* sums,
                                              std::uint32_t sum_stride, std::uint32_t lane,
                                              float2 (*__restrict__ y)[kQuad]) {
  constexpr std::uint32_t kUnitBytes = value_bytes(kBits) + scale_bytes(kBits, kBits == 16 ? 64 : kGroup);
  constexpr int kQuants = GroupSums<kBits, kGroup>::kGroups;
  constexpr int kChains = kBits == 16 ? 2 : kQuants;
  constexpr int kSteps = 8 / kChains;
  using Words = QuadWords<kBits>;
  Words words;
  float2 now[kCount][kQuad];
#pragma unroll
  for (int chain = 0; chain < kChains; ++chain) {
    float sum[kCount][kQuad][4] = {};
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      const int step = chain * kSteps + i;
      if (step % Words::kSteps == 0) words.load(unit, kUnitBytes, step / Words::kSteps, lane);
      uint4 columns[kCount];
#pragma unroll
      for (int g = 0; g < kCount; ++g)
        columns[g] = *reinterpret_cast<const uint4*>(x + g * kChunkBytes + step * 512 + lane * 16);
#pragma unroll
      for (std::uint32_t t = 0; t < kQuad; ++t) {
        const int pair = step % Words::kSteps * 2;
        const std::uint32_t first = words.raw(t, pair);
        const std::uint32_t second = words.raw(t, pair + 1);
#pragma unroll
        for (int g = 0; g < kCount; ++g) mma(sum[g][t], columns[g], first, second);
      }
    }
    float of_row[kCount];
    if constexpr (kBits != 16) {
#pragma unroll
      for (int g = 0; g < kCount; ++g) of_row[g] = sums[static_cast<std::uint32_t>(chain) * sum_stride + g * 8];
    }
#pragma unroll
    for (std::uint32_t t = 0; t < kQuad; ++t) {
      [[maybe_unused]] float2 scale[2];
      if constexpr (kBits != 16) {
        const auto* const scales =
            reinterpret_cast<const __half2*>(unit + t * kUnitBytes + value_bytes(kBits) + lane % 4 * (2 * kQuants * 4));
        scale[0] = __half22float2(scales[chain]);
        scale[1] = __half22float2(scales[kQuants + chain]);
      }
#pragma unroll
      for (int g = 0; g < kCount; ++g) {
        const float(&part)[4] = sum[g][t];
        const float2 all = make_float2(part[0] + part[2], part[1] + part[3]);  // of high halves and low ones
        float2 before = chain == 0 ? make_float2(0, 0) : now[g][t];
        if constexpr (kBits == 16) {
          before.x += all.x;
          before.y += all.y;
        } else {
          before.x = fmaf(scale[0].x, all.x, fmaf(fmaf(-1024.0F, scale[0].x, scale[0].y), of_row[g], before.x));
          before.y = fmaf(scale[1].x, all.y, fmaf(fmaf(-1024.0F, scale[1].x, scale[1].y), of_row[g], before.y));
        }
        now[g][t] = before;
      }
    }
  }
#pragma unroll
  for (int g = 0; g < kCount; ++g) {
#pragma unroll
    for (std::uint32_t t = 0; t < kQuad; ++t) {
      y[g][t].x += now[g][t].x;
      y[g][t].y += now[g][t].y;
    }
  }
}

/// Where a row's results go, worked out while nothing has come yet.
struct RowTargets {
  float* to;    ///< nullptr: nowhere. Of gate_up: its group's fragments
  float* ring;  ///< nullptr: it has none
};

__device__ inline RowTargets targets_of(const DecodeArgs& args, const BatchProduct& p, std::uint32_t row,
                                        std::uint32_t strand) {
  RowTargets targets{nullptr, nullptr};
  if (row >= args.rows) return targets;
  const DecodeBuffers& buffers = args.buffers;
  const std::size_t strands = (std::size_t{strand} * kPassRows + row) * args.sizes.hidden;
  switch (p.step) {
    case Step::in: {
      targets.to = static_cast<float*>(buffers.in[0]) + std::size_t{row} * buffers.in_floats;
      if (p.ring_layer != ~0U) {
        const SequenceView& sequence = args.sequence[args.sequence_of[row]];
        targets.ring = ring_row(args.sizes, sequence, p.ring_layer, sequence.position + row - sequence.first);
      }
      break;
    }
    case Step::out:
      targets.to = static_cast<float*>(buffers.out[0]) + strands;
      break;
    case Step::gate_up: {
      const std::uint32_t columns = (args.sizes.intermediate + kUnitColumns - 1) / kUnitColumns * kUnitColumns;
      targets.to = reinterpret_cast<float*>(buffers.act_inner + row / kGroupRows * fragment_words(kGroupRows, columns));
      break;
    }
    case Step::down:
      targets.to = static_cast<float*>(buffers.down[0]) + strands;
      break;
    default:
      if (args.logit_row[row] >= 0)
        targets.to = args.logits + static_cast<std::size_t>(args.logit_row[row]) * args.sizes.vocabulary;
  }
  return targets;
}

/// Two neighbouring values, of which `limit` says how many there are.
__device__ __forceinline__ void put_pair(float* to, std::uint32_t i, std::uint32_t limit, float2 value, bool together) {
  if (together && i + 1 < limit) {
    *reinterpret_cast<float2*>(to + i) = value;
  } else {
    if (i < limit) to[i] = value.x;
    if (i + 1 < limit) to[i + 1] = value.y;
  }
}

/// Rows 2 (lane % 4) and the next of tile `tile`, for row lane / 4 of a group. All lanes of a warp come here.
__device__ __forceinline__ void leave_pair(const BatchProduct& p, const ModelSizes& s, const RowTargets& targets,
                                           std::uint32_t tile, std::uint32_t row, std::uint32_t lane, float2 sum) {
  const std::uint32_t i = tile * kTileRows + lane % 4 * 2;
  if (p.step == Step::gate_up) {
    // Four rows of gate_proj, the same of up_proj: the latter are those of the lane after the next.
    const float up_x = __shfl_down_sync(0xFFFFFFFFU, sum.x, 2);
    const float up_y = __shfl_down_sync(0xFFFFFFFFU, sum.y, 2);
    const std::uint32_t pair = tile * 2 + lane % 4;
    if (targets.to == nullptr || lane % 4 >= 2 || tile >= p.m.tiles || 2 * pair >= s.intermediate) return;
    const float x = silu(sum.x * p.m.factor) * (up_x * p.m.factor);
    const float y = silu(sum.y * p.m.factor) * (up_y * p.m.factor);
    const Fragments<kGroupRows> fragments{reinterpret_cast<std::uint32_t*>(targets.to), kGroupRows};
    fragments.put(row % kGroupRows, pair, make_float2(x * kInnerScale, y * kInnerScale));
    return;
  }
  if (targets.to == nullptr || i >= p.m.rows) return;
  if (p.split) {  // hidden is even
    put_pair(targets.to, i, p.m.rows, sum, true);
    return;
  }
  const float2 value = make_float2(sum.x * p.m.factor, sum.y * p.m.factor);
  put_pair(targets.to, i, p.m.rows, value, p.step == Step::in || s.vocabulary % 2 == 0);
  if (targets.ring != nullptr) put_pair(targets.ring, i, s.ring_floats(), value, true);
}

/// What comes into a block's memory. Each function: by all lanes of one warp.
struct ProductCopies {
  const BatchProduct& p;
  std::uint8_t* memory;
  std::uint64_t* full;   ///< a stage's bytes have come
  std::uint64_t* there;  ///< activations of a unit have come
  const std::uint8_t* x;
  std::uint32_t units, groups;  ///< of the block
  std::uint32_t lane;

  /// Stage `n` of the block's, counted over all its turns; nothing where there is none.
  __device__ __forceinline__ void fetch(std::uint32_t n) const {
    const Matrix& m = p.m;
    const std::uint32_t tile = (blockIdx.x + n / units * gridDim.x) * p.tiles;
    if (tile >= m.tiles) return;
    const std::uint32_t tiles = min(p.tiles, m.tiles - tile);
    const std::uint32_t unit = unit_of(n % units);
    const std::uint32_t slot = n % p.stages;
    std::uint8_t* const to = memory + p.ring + slot * p.stage_bytes;
    copies_begin(full + slot, tiles * m.unit_bytes + (p.resident ? 0 : groups * kChunkBytes), lane);
    copy_pieces(full + slot, to, m.unit_bytes, m.data + (std::size_t{tile} * m.units + unit) * m.unit_bytes,
                std::size_t{m.units} * m.unit_bytes, m.unit_bytes, tiles, lane);
    if (!p.resident) {
      if (n < p.stages) wait_for_previous();
      copy_activations(full + slot, to + p.tiles * m.unit_bytes, unit);
    }
    copies_end(full + slot);
  }
  /// Activations of the block's unit `i`, which stay.
  __device__ __forceinline__ void fetch_activations(std::uint32_t i) const {
    copies_begin(there + i, groups * kChunkBytes, lane);
    copy_activations(there + i, memory + p.activations + i * p.groups * kChunkBytes, unit_of(i));
    copies_end(there + i);
  }

 private:
  /// The block's unit `i`, of a tile's.
  [[nodiscard]] __device__ __forceinline__ std::uint32_t unit_of(std::uint32_t i) const {
    return p.split ? blockIdx.z + i * kStrands : i;
  }
  __device__ __forceinline__ void copy_activations(std::uint64_t* barrier, std::uint8_t* to, std::uint32_t unit) const {
    copy_pieces(barrier, to, kChunkBytes, x + std::size_t{unit} * kChunkBytes, std::size_t{p.m.units} * kChunkBytes,
                kChunkBytes, groups, lane);
  }
};

template <int kBits, int kGroup, int kWarpGroups>
__global__ void __launch_bounds__(kBatchThreads, 1)
    batch_product(const DecodeArgs* __restrict__ pass, const __grid_constant__ BatchProduct p) {
  extern __shared__ __align__(128) std::uint8_t memory[];
  constexpr std::uint32_t kUnitBytes = value_bytes(kBits) + scale_bytes(kBits, kBits == 16 ? 64 : kGroup);
  constexpr std::uint32_t kQuants = GroupSums<kBits, kGroup>::kGroups;
  constexpr int kPart = kWarpGroups < 2 ? 1 : 2;  // groups of rows at a time
  const std::uint32_t lane = threadIdx.x % kLanes;
  const std::uint32_t warp = threadIdx.x / kLanes;
  const std::uint32_t warps = p.warps();
  const std::uint32_t strands = p.strands();
  const std::uint32_t strand_warps = p.strand_warps();
  const std::uint32_t group0 = blockIdx.y * p.groups;
  const std::uint32_t groups = min(p.groups, p.groups_all - group0);
  const std::uint32_t rows = p.groups * kGroupRows;
  const std::uint32_t units = p.split ? (p.m.units + kStrands - 1 - blockIdx.z) / kStrands : p.m.units;
  auto* const targets = reinterpret_cast<RowTargets*>(memory);  // of the block's rows
  auto* const full = reinterpret_cast<std::uint64_t*>(targets + rows);
  std::uint64_t* const there = full + p.stages;
  auto* const read = reinterpret_cast<std::uint32_t*>(there + units);  // how often warps have read a slot of the ring
  auto* const sums = reinterpret_cast<float*>(memory + p.sums);
  let_next_begin();
  for (std::uint32_t i = threadIdx.x; i < p.stages + units; i += blockDim.x) {
    barrier_init(full + i, kCopyArrivals);
    if (i < p.stages) read[i] = 0;
  }
  barriers_ready();
  __syncthreads();
  const DecodeBuffers& buffers = pass->buffers;
  const std::uint32_t* const words = p.step == Step::out    ? buffers.act_mixed
                                     : p.step == Step::down ? buffers.act_inner
                                                            : buffers.act_x;
  const ProductCopies copies{
      p,
      memory,
      full,
      there,
      reinterpret_cast<const std::uint8_t*>(words) + std::size_t{group0} * p.m.units * kChunkBytes,
      units,
      groups,
      lane};
  // A copy takes some sixty cycles to be asked for: all warps do. Weights come first, they depend on nothing.
  if (units != 0) {
    const std::uint32_t first_copies = p.stages + (p.resident ? units : 0);
    for (std::uint32_t n = warp; n < first_copies; n += warps) {
      if (n < p.stages) {
        copies.fetch(n);
      } else {
        wait_for_previous();
        copies.fetch_activations(n - p.stages);
      }
    }
  }
  // Seen by others after the barrier before results are left.
  if (threadIdx.x < rows)
    targets[threadIdx.x] = targets_of(*pass, p, group0 * kGroupRows + threadIdx.x, p.split ? blockIdx.z : 0);

  const std::uint32_t strand = warp / strand_warps;
  const std::uint32_t in_strand = warp % strand_warps;
  const std::uint32_t quad = in_strand % (p.tiles / kQuad);
  const std::uint32_t first = in_strand / (p.tiles / kQuad) * kWarpGroups;  // of the block's groups
  std::uint32_t stage = strand;                                             // counted over all turns
  // Where there are no units, the kernel before is waited for here; else by way of its activations.
  if (units == 0) wait_for_previous();
#pragma unroll 1
  for (std::uint32_t tile0 = blockIdx.x * p.tiles; tile0 < p.m.tiles; tile0 += gridDim.x * p.tiles) {
    const bool once = tile0 == blockIdx.x * p.tiles;
    const std::uint32_t tile = tile0 + quad * kQuad;
    float2 y[kWarpGroups][kQuad];
#pragma unroll
    for (int g = 0; g < kWarpGroups; ++g) {
#pragma unroll
      for (std::uint32_t t = 0; t < kQuad; ++t) y[g][t] = make_float2(0, 0);
    }
    std::uint32_t unit = strand;
#pragma unroll 1
    for (; unit < units; unit += strands, stage += strands) {
      const std::uint32_t slot = stage % p.stages;
      const std::uint8_t* const weights = memory + p.ring + slot * p.stage_bytes;
      const std::uint8_t* const x =
          p.resident ? memory + p.activations + unit * p.groups * kChunkBytes : weights + p.tiles * kUnitBytes;
      const std::uint32_t round = stage / p.stages;
      const auto wait_for_stage = [&] {
        wait_for_count(read + slot, round * strand_warps);  // else the barrier may be two phases behind
        barrier_wait(full + slot, round & 1U);
      };
      if (p.resident && once) barrier_wait(there + unit, 0);
      if (!p.resident) wait_for_stage();
      float* const unit_sums = sums + unit * kQuants * rows;
      // Where a strand has the block to itself, for all of its units at once: else all warps wait for a few each time.
      const bool ahead = p.split && p.resident;
      if (kBits != 16 && once && (!ahead || unit == 0)) {
        const std::uint32_t count = (ahead ? units : 1) * groups;
        for (std::uint32_t i = in_strand; i < count; i += strand_warps) {
          const std::uint32_t further = i / groups;
          const std::uint32_t g = i % groups;
          if (ahead) barrier_wait(there + further, 0);
          GroupSums<kBits, kGroup> of_group;
          const Fragments<kGroupRows> chunk{const_cast<std::uint32_t*>(reinterpret_cast<const std::uint32_t*>(
                                                x + (further * p.groups + g) * kChunkBytes)),
                                            kGroupRows};
          of_group.load(chunk, 0, lane);
          if (lane % 4 == 0) {
            float* const to = unit_sums + further * kQuants * rows + g * 8 + lane / 4;
#pragma unroll
            for (std::uint32_t quant = 0; quant < kQuants; ++quant) to[quant * rows] = of_group.sum[quant];
          }
        }
        if (strand_warps == 1) {
          __syncwarp();
        } else {
          sync_threads(1 + strand, strand_warps * kLanes);
        }
      }
      if (p.resident) wait_for_stage();
      if (tile < p.m.tiles) {
#pragma unroll
        for (int part = 0; part < kWarpGroups; part += kPart) {
          const std::uint32_t g = first + static_cast<std::uint32_t>(part);
          if (g < groups)
            multiply_quad<kBits, kGroup, kPart>(weights + quad * kQuad * kUnitBytes, x + g * kChunkBytes,
                                                unit_sums + g * 8 + lane / 4, rows, lane, y + part);
        }
      }
      // The last to have read the stage asks for the next one in its place.
      __syncwarp();
      std::uint32_t last = 0;
      if (lane == 0) {
        __threadfence_block();
        last = atomicAdd(read + slot, 1U) + 1 == (round + 1) * strand_warps ? 1 : 0;
        __threadfence_block();
      }
      if (__shfl_sync(0xFFFFFFFFU, last, 0) != 0) copies.fetch(stage + p.stages);
    }
    // A strand with a unit less comes to its barrier as often as the others: the race checker counts them all as one.
    if (kBits != 16 && once && !p.split && strand_warps > 1 && units % strands != 0 && strand >= units % strands)
      sync_threads(1 + strand, strand_warps * kLanes);
    stage += units - unit + strand;  // the next turn's units begin where this one's end
    if (p.split) {
      if (once) __syncthreads();  // targets
#pragma unroll
      for (int g = 0; g < kWarpGroups; ++g) {
        const std::uint32_t row = (first + static_cast<std::uint32_t>(g)) * kGroupRows + lane / 4;
        const RowTargets to = targets[row];
#pragma unroll
        for (std::uint32_t t = 0; t < kQuad; ++t) leave_pair(p, pass->sizes, to, tile + t, row, lane, y[g][t]);
      }
      continue;
    }
    // A strand's warp adds up all strands of one of the four tiles; it gives the others away. Addresses are worked out
    // here: kept from turn to turn they would push out what units need.
    std::uint32_t here = in_strand * kLanes + lane;
    std::uint32_t mine = strand;
    asm volatile("" : "+r"(here), "+r"(mine));
    auto* const exchange = reinterpret_cast<float2*>(memory + p.exchange);
    const auto place = [&](std::uint32_t from, std::uint32_t t, int g) {
      const std::uint32_t at = from * (kStrands - 1) + (t < from ? t : t - 1);
      return (at * kWarpGroups + static_cast<std::uint32_t>(g)) * strand_warps * kLanes + here;
    };
    float2 own[kWarpGroups];
    __syncthreads();  // what was there before has been read
#pragma unroll
    for (int g = 0; g < kWarpGroups; ++g) {
#pragma unroll
      for (std::uint32_t t = 0; t < kQuad; ++t) {
        if (t == mine) {
          own[g] = y[g][t];
        } else {
          exchange[place(mine, t, g)] = y[g][t];
        }
      }
    }
    __syncthreads();
#pragma unroll
    for (int g = 0; g < kWarpGroups; ++g) {
      float2 of[kStrands];
#pragma unroll
      for (std::uint32_t i = 0; i < kStrands; ++i) of[i] = i == mine ? own[g] : exchange[place(i, mine, g)];
      own[g].x = (of[0].x + of[1].x) + (of[2].x + of[3].x);
      own[g].y = (of[0].y + of[1].y) + (of[2].y + of[3].y);
    }
#pragma unroll
    for (int g = 0; g < kWarpGroups; ++g) {
      const std::uint32_t row = (first + static_cast<std::uint32_t>(g)) * kGroupRows + lane / 4;
      leave_pair(p, pass->sizes, targets[row], tile + mine, row, lane, own[g]);
    }
  }
}

template <int kBits, int kGroup>
BatchKernel batch_kernel(std::uint32_t warp_groups) {
  switch (warp_groups) {
    case 1:
      return batch_product<kBits, kGroup, 1>;
    case 2:
      return batch_product<kBits, kGroup, 2>;
    case 4:
      return batch_product<kBits, kGroup, 4>;
    default:
      return nullptr;
  }
}

/// The kernels of `kBits` by the group of scales.
template <int kBits>
BatchKernel batch_kernel_of(std::uint32_t group, std::uint32_t warp_groups) {
  switch (group) {
    case 32:
      return batch_kernel<kBits, 32>(warp_groups);
    case 64:
      return batch_kernel<kBits, 64>(warp_groups);
    case 128:
      return batch_kernel<kBits, 128>(warp_groups);
    default:
      return nullptr;
  }
}

}  // namespace qwen35::cuda
