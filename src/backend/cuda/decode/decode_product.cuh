#pragma once

// A block's share of y = W x for up to eight tokens: weights come by in stages of eight units, a warp takes one unit of
// a stage, multiplies it on tensor cores with the activations of its 128 columns, and leaves the sum; at the end of a
// wave the sums of a row's units are added up in order. So a value's bits depend on nothing but its row and its token.

#include "backend/cuda/decode/decode_link.cuh"
#include "backend/cuda/pieces/unpack.cuh"

namespace qwen35::cuda {

inline constexpr std::uint32_t kStageUnits = 8;
/// The tiles of a matrix that are block `block`'s.
struct TileRange {
  std::uint32_t begin, end;
};
__device__ inline TileRange tiles_of(const Matrix& m, std::uint32_t block, std::uint32_t blocks) {
  return {m.tiles * block / blocks, m.tiles * (block + 1) / blocks};  // 32 bits: half a billion rows
}

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
#define QWEN35_BULK_COPY 1
#endif

/// How a block takes its tiles of a product: in waves of whole tiles, a wave in stages.
struct Waves {
  TileRange tiles;
  std::uint32_t units;        ///< of a tile
  std::uint32_t tiles_each;   ///< of a wave
  std::uint32_t stages_each;  ///< of a full wave
  std::uint32_t stages;       ///< of all

  Waves() = default;
  /// A wave's sums must fit the block's memory.
  __device__ Waves(const Matrix& m, std::uint32_t per_tile, std::uint32_t block, std::uint32_t blocks,
                   std::uint32_t rows, std::uint32_t sum_floats)
      : tiles(tiles_of(m, block, blocks)), units(per_tile) {
    const std::uint32_t fit = sum_floats / (kTileRows * rows * units);
    tiles_each = max(fit, 1U);
    stages_each = stages_of(tiles_each);
    const std::uint32_t count = tiles.end - tiles.begin;
    stages = count / tiles_each * stages_each + stages_of(count % tiles_each);
  }
  [[nodiscard]] __device__ std::uint32_t stages_of(std::uint32_t count) const {
    return (count * units + kStageUnits - 1) / kStageUnits;
  }
  /// The units of stage `i`, counted from the first tile's first.
  struct Units {
    std::uint32_t begin, end;
  };
  [[nodiscard]] __device__ Units units_of(std::uint32_t i) const {
    const std::uint32_t all = (tiles.end - tiles.begin) * units;
    const std::uint32_t each = tiles_each * units;
    if (stages <= stages_each || each % kStageUnits == 0)  // one behind the other
      return {i * kStageUnits, min((i + 1) * kStageUnits, all)};
    const std::uint32_t wave = i / stages_each * each;
    const std::uint32_t begin = wave + i % stages_each * kStageUnits;
    return {begin, min(min(begin + kStageUnits, wave + each), all)};
  }
};

static_assert(sizeof(Waves) == kWavesBytes);

/// Stages of weights in a block's memory, in the order of the pass. A warp of its own fills them ahead by the bulk copy
/// engine, whatever the others wait for: weights depend on nothing. Stages are counted from the kernel's beginning; of
/// each, eight warps tell when they have read their unit, and then it is filled anew.
struct RingMemory {
  std::uint8_t* stages;  ///< 1 << log2 of them
  std::uint64_t* full;   ///< barriers: a stage's bytes have come
  std::uint64_t* empty;  ///< barriers: its kStageUnits readers have gone
  std::uint32_t stage_bytes;
  std::uint32_t log2;
  std::uint32_t arriving;  ///< lanes of a warp that arrive at `empty`

  [[nodiscard]] __device__ std::uint32_t slot(std::uint32_t n) const { return n & ((1U << log2) - 1U); }

#if defined(QWEN35_BULK_COPY)
  __device__ void init(std::uint32_t thread) const {
    if (thread < (1U << log2)) {
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(full + thread)) : "memory");
      asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(empty + thread)),
                   "r"(kStageUnits * arriving)
                   : "memory");
      asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
  }
  /// Stage `n` is to hold `bytes` from `from`, which no other product of the pass reads; waits until it is free.
  __device__ void fetch(std::uint32_t n, const std::uint8_t* from, std::uint32_t bytes) const {
    barrier_wait(empty + slot(n), ((n >> log2) & 1U) ^ 1U);  // the first ones are: no phase has begun
    std::uint64_t policy;
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    const std::uint32_t barrier = shared_address(full + slot(n));
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::
            "r"(shared_address(stages + slot(n) * stage_bytes)),
        "l"(from), "r"(bytes), "r"(barrier), "l"(policy)
        : "memory");
  }
  /// Stage `n` once it is there.
  __device__ const std::uint8_t* take(std::uint32_t n) const {
    barrier_wait(full + slot(n), (n >> log2) & 1U);
    return stages + slot(n) * stage_bytes;
  }
  /// This warp has read its unit of stage `n` (or has none there).
  __device__ void release(std::uint32_t n, std::uint32_t lane) const {
    __syncwarp();
    if (lane < arriving)
      asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];" ::"r"(shared_address(empty + slot(n)))
                   : "memory");
  }
#endif
};

/// Sums of a lane's token's activations over each group of 128 columns. The activations themselves are read anew for
/// each unit: kept in registers they would push everything else out.
template <int kBits, int kGroup>
struct GroupSums {
  static constexpr int kGroups = kBits == 16 ? 1 : 128 / kGroup;
  float sum[kGroups];

  template <std::uint32_t kRows>
  __device__ __forceinline__ void load(const Fragments<kRows>& x, std::uint32_t block, std::uint32_t lane) {
    if constexpr (kBits != 16) {
      constexpr std::uint32_t kOnes = 0x3C003C00U;
      const auto columns = x.from(block * 8, lane);
#pragma unroll
      for (int group = 0; group < kGroups; ++group) {
        float total[4] = {0, 0, 0, 0};
#pragma unroll
        for (int i = 0; i < 8 / kGroups; ++i)
          mma(total, columns.get(static_cast<std::uint32_t>(group * (8 / kGroups) + i)), kOnes, kOnes);
        sum[group] = total[0] + total[2];
      }
    }
  }
};

/// A unit times its columns, for the two rows (2 (lane % 4) and the next) and the token (lane / 4) of this lane.
/// Quantised weights go in as 1024 + q, which costs nothing to make; the 1024 leave with the bias, in float32: scale ·
/// Σ (1024 + q) x + (bias - 1024 · scale) · Σ x.
/// kUnits units of the same columns at once; `scales`: where each one's begin. With kSums the activations' sums are
/// made on the way, as GroupSums::load() makes them.
template <bool kSums, int kUnits, int kBits, int kGroup, std::uint32_t kRows>
__device__ __forceinline__ void multiply(const Unit<kBits, kGroup> (&unit)[kUnits],
                                         const std::uint8_t* const (&scales)[kUnits], const Fragments<kRows>& x,
                                         std::uint32_t block, std::uint32_t lane, GroupSums<kBits, kGroup>& sums,
                                         float2 (&y)[kUnits]) {
  constexpr int kGroups = kBits == 16 ? 2 : GroupSums<kBits, kGroup>::kGroups;  // chains: a product waits for the last
  constexpr int kSteps = 8 / kGroups;
  constexpr bool kTotals = kSums && kBits != 16;
  constexpr std::uint32_t kOnes = 0x3C003C00U;
  float sum[kUnits][kGroups][4] = {};
  [[maybe_unused]] float total[kGroups][4] = {};
  const auto columns_from = x.from(block * 8, lane);
#pragma unroll
  for (int i = 0; i < kSteps; ++i) {
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      const int step = group * kSteps + i;
      const uint4 columns = columns_from.get(static_cast<std::uint32_t>(step));
      if constexpr (kTotals) mma(total[group], columns, kOnes, kOnes);
#pragma unroll
      for (int u = 0; u < kUnits; ++u) mma(sum[u][group], columns, unit[u].raw(2 * step), unit[u].raw(2 * step + 1));
    }
  }
  if constexpr (kTotals) {
#pragma unroll
    for (int group = 0; group < kGroups; ++group) sums.sum[group] = total[group][0] + total[group][2];
  }
#pragma unroll
  for (int u = 0; u < kUnits; ++u) {
    y[u] = make_float2(0, 0);
    [[maybe_unused]] std::uint32_t both[2 * kGroups];  // scale and bias of the first row's groups, then the second's
    if constexpr (kBits != 16 && kGroups == 1) {
      const uint2 v = *reinterpret_cast<const uint2*>(scales[u]);
      both[0] = v.x, both[1] = v.y;
    } else if constexpr (kBits != 16) {
#pragma unroll
      for (int i = 0; i < 2 * kGroups; i += 4) {
        const uint4 v = *reinterpret_cast<const uint4*>(scales[u] + 4 * i);
        both[i] = v.x, both[i + 1] = v.y, both[i + 2] = v.z, both[i + 3] = v.w;
      }
    }
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      const float(&part)[4] = sum[u][group];
      const float2 all = make_float2(part[0] + part[2], part[1] + part[3]);  // of the high halves and of the low ones
      if constexpr (kBits == 16) {
        y[u].x += all.x;
        y[u].y += all.y;
      } else {
        const float2 first = __half22float2(as_half2(both[group]));
        const float2 second = __half22float2(as_half2(both[kGroups + group]));
        y[u].x = fmaf(first.x, all.x, fmaf(fmaf(-1024.0F, first.x, first.y), sums.sum[group], y[u].x));
        y[u].y = fmaf(second.x, all.y, fmaf(fmaf(-1024.0F, second.x, second.y), sums.sum[group], y[u].y));
      }
    }
  }
}

/// Where in a unit the scales of a lane's two rows begin.
template <int kBits, int kGroup>
__device__ __forceinline__ const std::uint8_t* scales_of(const std::uint8_t* unit, std::uint32_t lane) {
  if constexpr (kBits == 16) return unit;
  return unit + value_bytes(kBits) + lane % 4 * (2 * GroupSums<kBits, kGroup>::kGroups * 4);
}

/// One wave's stages. `per_tile`: units of a tile.
template <typename C, int kBits, int kGroup>
__device__ __forceinline__ void run_stages(const Matrix& m, std::uint32_t per_tile, std::uint32_t first_tile,
                                           std::uint32_t units, const Fragments<C::kRows>& x, float* sums,
                                           const RingMemory& ring, std::uint32_t stage0, std::uint32_t thread) {
  constexpr std::uint32_t kUnitBytes = value_bytes(kBits) + scale_bytes(kBits, kBits == 16 ? 64 : kGroup);
  const std::uint32_t lane = thread % kLanes;
  const std::uint32_t warp = thread / kLanes;
  [[maybe_unused]] const std::uint32_t stages = (units + kStageUnits - 1) / kStageUnits;
  const std::uint8_t* const base = m.data + std::size_t{first_tile} * per_tile * kUnitBytes;
  const auto leave = [&](std::uint32_t unit, float2 sum) {
    if (lane / 4 < x.rows())
      *reinterpret_cast<float2*>(sums + (unit * x.rows() + lane / 4) * kTileRows + lane % 4 * 2) = sum;
  };
  [[maybe_unused]] constexpr std::uint32_t kStep = kWarps / kStageUnits;
  GroupSums<kBits, kGroup> group_sums;
  if constexpr (C::kRing) {
#if defined(QWEN35_BULK_COPY)
    const std::uint32_t part = warp % kStageUnits * kUnitBytes;
    std::uint32_t stage = warp / kStageUnits;
    // Two units at a time where they meet the same columns: their products do not wait for each other. A warp holds two
    // stages then, which a ring of two does not have.
    if (per_tile == kStageUnits) group_sums.load(x, warp % kStageUnits, lane);
    if (per_tile == kStageUnits && ring.log2 > 1) {
      const std::uint32_t block = warp % kStageUnits;
#pragma unroll 1
      for (; stage + kStep < stages; stage += 2 * kStep) {
        const std::uint8_t* const first = ring.take(stage0 + stage) + part;
        Unit<kBits, kGroup> weights[2];
        weights[0].load_values(first, lane);
        const std::uint8_t* const second = ring.take(stage0 + stage + kStep) + part;
        weights[1].load_values(second, lane);
        const std::uint8_t* const scales[2] = {scales_of<kBits, kGroup>(first, lane),
                                               scales_of<kBits, kGroup>(second, lane)};
        float2 sum[2];
        multiply<false>(weights, scales, x, block, lane, group_sums, sum);
        ring.release(stage0 + stage, lane);
        ring.release(stage0 + stage + kStep, lane);
        leave(stage * kStageUnits + block, sum[0]);
        leave((stage + kStep) * kStageUnits + block, sum[1]);
      }
    }
#pragma unroll 1
    for (; stage < stages; stage += kStep) {
      const std::uint32_t unit = stage * kStageUnits + warp % kStageUnits;
      if (unit >= units) {
        (void)ring.take(stage0 + stage);  // or this would count as having read what was there before
        ring.release(stage0 + stage, lane);
        continue;
      }
      const std::uint32_t block = unit % per_tile;
      const std::uint8_t* const at = ring.take(stage0 + stage) + part;
      Unit<kBits, kGroup> weights[1];
      weights[0].load_values(at, lane);
      const std::uint8_t* const scales[1] = {scales_of<kBits, kGroup>(at, lane)};
      float2 sum[1];
      if (per_tile == kStageUnits) {
        multiply<false>(weights, scales, x, block, lane, group_sums, sum);
      } else {
        multiply<true>(weights, scales, x, block, lane, group_sums, sum);
      }
      ring.release(stage0 + stage, lane);
      leave(unit, sum[0]);
    }
#endif
  } else {
    std::uint32_t loaded = ~0U;
    Unit<kBits, kGroup> ahead;  // what the next turn takes is on its way during this one
    if (warp < units) ahead.load_values(base + std::size_t{warp} * kUnitBytes, lane);
#pragma unroll 1
    for (std::uint32_t unit = warp; unit < units; unit += kWarps) {
      const std::uint32_t block = unit % per_tile;
      if (block != loaded) {
        group_sums.load(x, block, lane);
        loaded = block;
      }
      const Unit<kBits, kGroup> weights[1] = {ahead};
      const std::uint8_t* const at = base + std::size_t{unit} * kUnitBytes;
      if (unit + kWarps < units) ahead.load_values(at + kWarps * kUnitBytes, lane);
      const std::uint8_t* const scales[1] = {scales_of<kBits, kGroup>(at, lane)};
      float2 sum[1];
      multiply<false>(weights, scales, x, block, lane, group_sums, sum);
      leave(unit, sum[0]);
    }
  }
}

/// Any format: a function of its own, so that every format is compiled once a kernel and not once a step.
template <typename C>
__device__ __noinline__ void run_any_stages(const Matrix& m, std::uint32_t per_tile, std::uint32_t first_tile,
                                            std::uint32_t units, const Fragments<C::kRows>& x, float* sums,
                                            const RingMemory& ring, std::uint32_t stage0, std::uint32_t thread) {
  switch (m.bits * 256 + m.group) {
#define QWEN35_FORMAT(bits, group)                                                             \
  case bits * 256 + group:                                                                     \
    run_stages<C, bits, group>(m, per_tile, first_tile, units, x, sums, ring, stage0, thread); \
    break;
    QWEN35_FORMAT(16, 0)
    QWEN35_FORMAT(4, 32)
    QWEN35_FORMAT(4, 64)
    QWEN35_FORMAT(4, 128)
    QWEN35_FORMAT(5, 32)
    QWEN35_FORMAT(5, 64)
    QWEN35_FORMAT(5, 128)
    QWEN35_FORMAT(6, 32)
    QWEN35_FORMAT(6, 64)
    QWEN35_FORMAT(6, 128)
    QWEN35_FORMAT(8, 32)
    QWEN35_FORMAT(8, 64)
    QWEN35_FORMAT(8, 128)
#undef QWEN35_FORMAT
    default:
      break;  // there are no others: PackedModel makes them
  }
}

/// The sum of the units of row lane % 8 of a tile, by one warp: four strands side by side, one to eight lanes. `sums`:
/// of the tile's first unit.
template <std::uint32_t kUnits>
__device__ __forceinline__ float add_units(const float* sums, std::uint32_t units, std::uint32_t stride,
                                           std::uint32_t lane) {
  const float* const from = sums + lane % kTileRows;
  float strand = 0;
  if constexpr (kUnits != 0 && kUnits % 4 == 0) {
#pragma unroll
    for (std::uint32_t unit = 0; unit < kUnits; unit += 4) strand += from[(unit + lane / kTileRows) * stride];
  } else {
#pragma unroll 4
    for (std::uint32_t unit = lane / kTileRows; unit < units; unit += 4) strand += from[unit * stride];
  }
  strand += __shfl_xor_sync(0xFFFFFFFFU, strand, kTileRows);
  return strand + __shfl_xor_sync(0xFFFFFFFFU, strand, 2 * kTileRows);
}

/// A block's share of a product. `emit(tile, row, token, sum, sum4)` is called once for each row (of eight) and token
/// by one thread; sums are not yet times m.factor. With kPairs it gets rows 0 to 3 only, and sum4, that of row + 4,
/// too. kUnits: units of a tile, or 0: known at run time. `next`: the number of the product's first stage of the ring;
/// becomes that of the next product. All kThreads come here together and may read what others wrote before; they leave
/// without waiting, but all have read the activations.
template <typename C, std::uint32_t kUnits, bool kPairs, typename Emit>
__device__ __forceinline__ void product(const Matrix& m, const Fragments<C::kRows>& x, const Waves& waves,
                                        std::uint32_t thread, float* sums, const RingMemory& memory,
                                        std::uint32_t& next, const Emit& emit) {
  const std::uint32_t per_tile = kUnits != 0 ? kUnits : m.units;
  constexpr std::uint32_t kOutputs = kPairs ? kTileRows / 2 : kTileRows;
#pragma unroll 1
  for (std::uint32_t first = waves.tiles.begin; first < waves.tiles.end; first += waves.tiles_each) {
    const std::uint32_t count = min(waves.tiles_each, waves.tiles.end - first);
    if constexpr (C::kBits != 0) {
      run_stages<C, C::kBits, C::kGroup>(m, per_tile, first, count * per_tile, x, sums, memory, next, thread);
    } else {
      run_any_stages<C>(m, per_tile, first, count * per_tile, x, sums, memory, next, thread);
    }
    sync_compute();
    if constexpr (C::kRing) next += waves.stages_of(count);
#pragma unroll 1
    for (std::uint32_t i = thread / kLanes; i < count * x.rows(); i += kWarps) {
      const std::uint32_t lane = thread % kLanes;
      const std::uint32_t token = i % x.rows();
      const std::uint32_t tile = i / x.rows();
      const float sum = add_units<kUnits>(sums + (tile * per_tile * x.rows() + token) * kTileRows, per_tile,
                                          x.rows() * kTileRows, lane);
      const float sum4 = kPairs ? __shfl_down_sync(0xFFFFFFFFU, sum, kTileRows / 2) : 0.0F;
      if (lane < kOutputs) emit(first + tile, lane, token, sum, sum4);
    }
    if (first + waves.tiles_each < waves.tiles.end) sync_compute();  // the sums are written again
  }
}

}  // namespace qwen35::cuda
