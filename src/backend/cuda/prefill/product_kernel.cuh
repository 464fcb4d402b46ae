#pragma once

// The kernel of product.h. A block has kGroups groups of four warps; warp w of a group has, of each of its kBlocks
// blocks of 64 rows, rows 16 w … 16 w + 15: two tiles of the packed matrix (layout.h), whose pairs are the registers of
// the tensor core's row operand as they are. Weights go from global memory to registers, ahead of their use by kAhead
// half units of 64 columns; activations through shared memory in kStages stages of 64 columns of hi and of lo.
//
// kSplit: block z of the grid has only units [z · part_units, (z + 1) · part_units) of the sums and stores them as they
// are, for sum_parts_kernel (product.cu) to add up.

#include <cuda_fp16.h>

#include <cstdint>

#include "backend/cuda/pieces/launch.cuh"
#include "backend/cuda/pieces/tensor_core.cuh"
#include "backend/cuda/pieces/unpack.cuh"
#include "backend/cuda/prefill/product.h"

namespace qwen35::cuda {

enum class ProductEpilogue : std::uint8_t { store, add, swiglu };

struct ProductArguments {
  Matrix w;
  const __half* hi = nullptr;
  const __half* lo = nullptr;  ///< nullptr: hi alone
  std::uint32_t stride = 0;
  std::uint32_t tokens = 0;
  ProductEpilogue epilogue = ProductEpilogue::store;
  float factor = 1;  ///< the matrix's, and what the caller wants
  float* out = nullptr;
  std::uint32_t out_stride = 0;
  __half* out_hi = nullptr;
  __half* out_lo = nullptr;
  std::uint32_t part_units = 0;  ///< of a part, when the sums are split: out is parts × tokens × out_stride then
};

/// A kernel and how it is launched.
struct ProductEntry {
  void (*kernel)(ProductArguments) = nullptr;  ///< nullptr: the path does not have the shape
  std::uint32_t rows = 0, tokens = 0;          ///< of a block
  std::uint32_t threads = 0, shared_bytes = 0;
};
/// Instantiated for each number of bits in a file of its own (product_*.cu).
template <int kBits>
ProductEntry product_entry(ProductShape shape, Products::Path path, bool single);

namespace product {

inline constexpr std::uint32_t kStageColumns = 64;
inline constexpr std::uint32_t kTokenBytes = kStageColumns * 2;  // of hi or of lo in a stage

template <int kBits, int kGroups, int kBlocks, int kTokens, int kStages, int kAhead, int kParts, bool kWgmma,
          bool kSplit = false>
struct Kernel {
  static constexpr int kBlockCount = kBlocks;
  static constexpr std::uint32_t kTokenCount = kTokens;
  static constexpr std::uint32_t kThreads = kGroups * 128;
  static constexpr std::uint32_t kRows = kGroups * kBlocks * 64;
  static constexpr std::uint32_t kPartBytes = kTokens * kTokenBytes;
  static constexpr std::uint32_t kStageBytes = kParts * kPartBytes;
  static constexpr std::uint32_t kH = kRows / 2;                    // of the SwiGLU epilogue
  static constexpr std::uint32_t kHStride = kH + 8;                 // halves; conflict-free
  static constexpr std::uint32_t kHBytes = kTokens * kHStride * 4;  // hi and lo
  static constexpr std::uint32_t kBody = kStages * kStageBytes > kHBytes ? kStages* kStageBytes : kHBytes;
  static constexpr std::uint32_t kSharedBytes = kBody + 1024;  // swizzled stages begin at multiples of 1024
  static constexpr int kRegisters = kTokens / 2;               // sums of a block of 64 rows in a thread

  static_assert(kAhead % 2 == 0 && kStages >= 3);

  struct Weights {
    HalfUnit<kBits> values[kBlocks][2];
    std::uint32_t scales[kBlocks][2][2];  // of 32 columns each
  };

  const ProductArguments& a;
  std::uint32_t shared, lane, warp, group, first_token, stages;
  const std::uint8_t* base;          // the warp's first tile
  std::uint32_t offset[kBlocks][2];  // of its tiles from there
  std::uint32_t first_column = 0;    // of the block's part of the sums
  std::uint32_t scale_at = 0;        // bytes from a unit to the scales of the lane's row

  __device__ __forceinline__ Kernel(const ProductArguments& arguments, std::uint32_t shared_base)
      : a(arguments),
        shared(shared_base),
        lane(threadIdx.x % 32),
        warp(threadIdx.x / 32 % 4),
        group(threadIdx.x / 128),
        first_token(blockIdx.y * kTokens),
        stages(2 * arguments.w.units) {
    const std::uint32_t tile_bytes = a.w.units * a.w.unit_bytes;
    const std::uint32_t last = a.w.tiles - 1;
    const std::uint32_t first = min(tile(0, 0), last);
    base = a.w.data + std::size_t{first} * tile_bytes;
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) {
#pragma unroll
      for (int t = 0; t < 2; ++t) offset[b][t] = b + t == 0 ? 0 : (min(tile(b, t), last) - first) * tile_bytes;
    }
    if constexpr (kSplit) {
      const std::uint32_t unit = blockIdx.z * a.part_units;
      base += unit * a.w.unit_bytes;
      first_column = unit * kUnitColumns;
      stages = 2 * min(a.part_units, a.w.units - unit);
    }
    if constexpr (kBits != 16) scale_at = value_bytes(kBits) + lane / 4 * (4 * (kUnitColumns / a.w.group));
  }

  /// Of the matrix: tile t (0 or 1) of block b of this warp.
  __device__ __forceinline__ std::uint32_t tile(int b, int t) const {
    return blockIdx.x * (kRows / kTileRows) + (group * kBlocks + b) * 8 + 2 * warp + t;
  }

  /// The weights of a stage; past the end, the last one's again.
  __device__ __forceinline__ void load(Weights& w, std::uint32_t stage) const {
    stage = min(stage, stages - 1);
    const std::uint8_t* unit = base + stage / 2 * a.w.unit_bytes;
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) {
#pragma unroll
      for (int t = 0; t < 2; ++t) {
        const std::uint8_t* at = unit + offset[b][t];
        w.values[b][t].load(at, lane, stage % 2);
        if constexpr (kBits != 16) {
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            const std::uint32_t index = (64 * (stage % 2) + 32 * i) / a.w.group;
            w.scales[b][t][i] = *reinterpret_cast<const std::uint32_t*>(at + scale_at + 4 * index);
          }
        }
      }
    }
  }

  /// Starts the copies of a stage's activations into `slot`; nothing past the end.
  __device__ __forceinline__ void copy(std::uint32_t stage, std::uint32_t slot) const {
    if (stage < stages) {
      constexpr std::uint32_t kStep = kThreads / 8;  // tokens of one round; a multiple of 8: the swizzle stays
      const std::uint32_t chunk = threadIdx.x % 8;
      const std::uint32_t row = threadIdx.x / 8;
      const std::uint32_t to = shared + slot * kStageBytes + row * kTokenBytes + (chunk ^ (row % 8)) * 16;
      const std::uint32_t column = (kSplit ? first_column : 0) + stage * kStageColumns + chunk * 8;
#pragma unroll
      for (std::uint32_t i = 0; i < kTokens / kStep; ++i) {
        // Past the last token: that one again, for sums that are not stored.
        const std::uint32_t token = min(first_token + row + i * kStep, a.tokens - 1);
        const std::uint32_t from = token * a.stride + column;
        copy_16(to + i * kStep * kTokenBytes, a.hi + from);
        if constexpr (kParts == 2) copy_16(to + kPartBytes + i * kStep * kTokenBytes, a.lo + from);
      }
    }
    end_of_copies();
  }

  /// The row operands of step s of a stage.
  __device__ __forceinline__ static void unpack(std::uint32_t (&fragment)[kBlocks][4], const Weights& w, int s) {
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const __half2 scale = kBits == 16 ? __half2{} : as_half2(w.scales[b][i % 2][s / 2]);
        std::uint32_t value = as_bits(w.values[b][i % 2].pair(2 * s + i / 2, scale));
        // A register of its own, defined here: wgmma reads it while the next load already fills the one it came from,
        // and a definition moved behind the fence would make the compiler wait for every wgmma.
        asm volatile("mov.b32 %0, %0;" : "+r"(value));
        fragment[b][i] = value;
      }
    }
  }

  __device__ __forceinline__ void multiply(float (&sums)[kBlocks][kRegisters], const std::uint32_t (&f)[kBlocks][4],
                                           std::uint32_t at, int s) const {
    if constexpr (kWgmma) {
#ifdef QWEN35_WGMMA
      wgmma_fence();
      const std::uint64_t operand = swizzled_operand(at) + 2 * s;
#pragma unroll
      for (int b = 0; b < kBlocks; ++b) {
        wgmma(sums[b], f[b], operand);
        if constexpr (kParts == 2) wgmma(sums[b], f[b], operand + (kPartBytes >> 4));
      }
      wgmma_commit();
      wgmma_wait<1>();
#endif
    } else {
      // ldmatrix: tokens 0 to 7 with columns 0 to 7 and 8 to 15, then tokens 8 to 15.
      const std::uint32_t row = lane % 8 + lane / 16 * 8;
      const std::uint32_t chunk = 2 * s + lane / 8 % 2;
      const std::uint32_t address = at + row * kTokenBytes + (chunk ^ (row % 8)) * 16;
#pragma unroll
      for (int n = 0; n < kTokens / 16; ++n) {
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
          const uint4 x = load_matrices(address + part * kPartBytes + n * 16 * kTokenBytes);
#pragma unroll
          for (int b = 0; b < kBlocks; ++b) {
            const uint4 w{f[b][0], f[b][1], f[b][2], f[b][3]};
            mma(&sums[b][8 * n], w, x.x, x.y);
            mma(&sums[b][8 * n + 4], w, x.z, x.w);
          }
        }
      }
    }
  }

  __device__ __forceinline__ void run(float (&sums)[kBlocks][kRegisters]) const {
    Weights ring[kAhead];
    std::uint32_t fragments[2][kBlocks][4];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) load(ring[i], i);
    wait_for_previous();  // weights are nobody's results, activations are
#pragma unroll
    for (int i = 0; i < kStages - 2; ++i) copy(i, i);
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) {
#pragma unroll
      for (int i = 0; i < kRegisters; ++i) sums[b][i] = 0;
    }
    std::uint32_t slot = 0;
    std::uint32_t ahead = kStages - 2;
    for (std::uint32_t stage = 0; stage < stages; stage += kAhead) {
#pragma unroll
      for (int d = 0; d < kAhead; ++d) {
        if (d >= 2 && stage + d >= stages) break;  // stages is even
        wait_for_copies<kStages - 3>();
#ifdef QWEN35_WGMMA
        if constexpr (kWgmma) proxy_fence();
#endif
        // Now this stage is there for all, and all are through with the one before the last, whose place is filled.
        __syncthreads();
        copy(stage + d + kStages - 2, ahead);
        const std::uint32_t at = shared + slot * kStageBytes;
#pragma unroll
        for (int s = 0; s < 4; ++s) {
          unpack(fragments[s % 2], ring[d], s);
          multiply(sums, fragments[s % 2], at, s);
          // The stage before is through with its registers by now.
          if (s == 0 && (d > 0 || stage > 0)) load(ring[(d + kAhead - 1) % kAhead], stage + d + kAhead - 1);
        }
        slot = slot + 1 == kStages ? 0 : slot + 1;
        ahead = ahead + 1 == kStages ? 0 : ahead + 1;
      }
    }
#ifdef QWEN35_WGMMA
    if constexpr (kWgmma) {
      wgmma_wait<0>();
#pragma unroll
      for (int b = 0; b < kBlocks; ++b) {
#pragma unroll
        for (int i = 0; i < kRegisters; ++i) asm volatile("" : "+f"(sums[b][i])::"memory");
      }
    }
#endif
  }

  /// Eight lanes write eight floats side by side: whole sectors.
  __device__ __forceinline__ void store(const float (&sums)[kBlocks][kRegisters]) const {
    const bool add = a.epilogue == ProductEpilogue::add;
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) {
#pragma unroll
      for (int t = 0; t < 2; ++t) {
        const std::uint32_t row = tile(b, t) * kTileRows + lane / 4;
        if (row >= a.w.rows) continue;
        float* out = a.out + row;
        if constexpr (kSplit) out += std::size_t{blockIdx.z} * a.tokens * a.out_stride;
#pragma unroll
        for (int n = 0; n < kTokens / 8; ++n) {
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            const std::uint32_t token = first_token + 8 * n + 2 * (lane % 4) + i;
            if (token < a.tokens) {
              float* at = out + std::size_t{token} * a.out_stride;
              const float value = sums[b][4 * n + 2 * t + i] * a.factor;
              *at = add ? *at + value : value;
            }
          }
        }
      }
    }
  }

  /// Lanes 0 to 15 of a warp have gate rows, 16 to 31 up rows of the same tiles. The lower half takes the first tile,
  /// the upper the second; through shared memory for whole sectors.
  __device__ __forceinline__ void swiglu(const float (&sums)[kBlocks][kRegisters], __half* staging) const {
    __syncthreads();  // the stages are read
    const bool upper = lane >= 16;
    __half* hi = staging;
    __half* lo = staging + kTokens * kHStride;
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) {
      const bool inside = tile(b, upper ? 1 : 0) < a.w.tiles;
      const std::uint32_t h = (group * kBlocks + b) * 32 + warp * 8 + lane / 4;
#pragma unroll
      for (int n = 0; n < kTokens / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const float first = sums[b][4 * n + i];
          const float second = sums[b][4 * n + 2 + i];
          const float other = __shfl_xor_sync(0xffffffffU, upper ? first : second, 16);
          const float gate = (upper ? other : first) * a.factor;
          const float up = (upper ? second : other) * a.factor;
          const float value = inside ? kSwigluFactor * __fdividef(gate, 1.0F + __expf(-gate)) * up : 0.0F;
          const std::uint32_t at = (8 * n + 2 * (lane % 4) + i) * kHStride + h;
          split_f16(value, hi[at], lo[at]);
        }
      }
    }
    __syncthreads();
    constexpr std::uint32_t kChunks = kH / 8;  // of 16 bytes
    for (std::uint32_t i = threadIdx.x; i < kTokens * kChunks; i += kThreads) {
      const std::uint32_t row = i / kChunks;
      const std::uint32_t token = first_token + row;
      const std::uint32_t column = blockIdx.x * kH + i % kChunks * 8;
      if (token < a.tokens && column < a.out_stride) {
        const std::uint32_t from = row * kHStride + i % kChunks * 8;
        const std::size_t to = std::size_t{token} * a.out_stride + column;
        *reinterpret_cast<uint4*>(a.out_hi + to) = *reinterpret_cast<const uint4*>(hi + from);
        *reinterpret_cast<uint4*>(a.out_lo + to) = *reinterpret_cast<const uint4*>(lo + from);
      }
    }
  }
};

template <typename K, int kResident>
__global__ void __launch_bounds__(K::kThreads, kResident) product_kernel(const __grid_constant__ ProductArguments a) {
  extern __shared__ std::uint8_t memory[];
  const std::uint32_t at = shared_address(memory);
  const std::uint32_t padding = (1024 - at % 1024) % 1024;
  let_next_begin();
  const K kernel(a, at + padding);
  float sums[K::kBlockCount][K::kRegisters];
  kernel.run(sums);
  if (a.epilogue == ProductEpilogue::swiglu) {
    kernel.swiglu(sums, reinterpret_cast<__half*>(memory + padding));
  } else {
    kernel.store(sums);
  }
}

template <typename K, int kResident>
ProductEntry entry() {
  return {product_kernel<K, kResident>, K::kRows, K::kTokenCount, K::kThreads, K::kSharedBytes};
}

template <int kBits, int kParts>
ProductEntry entry(ProductShape shape, Products::Path path) {
  // 96 KiB and 1 KiB of shared memory at most for mma: what compute capabilities 8.6, 8.9 and 12.0 give a block.
  const bool wgmma = path == Products::Path::wgmma;
  if (shape == ProductShape::r256_t128) {
    return wgmma ? entry<Kernel<kBits, 2, 2, 128, 4, 2, kParts, true>, 1>()
                 : entry<Kernel<kBits, 2, 2, 128, 3, 2, kParts, false>, 1>();
  }
  if (shape == ProductShape::r64_t32) {
    return wgmma ? entry<Kernel<kBits, 1, 1, 32, 6, 8, kParts, true>, 2>()
                 : entry<Kernel<kBits, 1, 1, 32, 6, 8, kParts, false>, 2>();
  }
  // hi alone is for measuring: the two ends are enough.
  if constexpr (kParts == 2) {
    if (shape == ProductShape::split) {
      return wgmma ? entry<Kernel<kBits, 1, 1, 32, 6, 8, kParts, true, true>, 2>()
                   : entry<Kernel<kBits, 1, 1, 32, 6, 8, kParts, false, true>, 2>();
    }
    if (shape == ProductShape::r128_t64) {
      return wgmma ? entry<Kernel<kBits, 2, 1, 64, 4, kBits == 16 ? 2 : 4, kParts, true>, 2>()
                   : entry<Kernel<kBits, 2, 1, 64, 3, 2, kParts, false>, 2>();
    }
    if (shape == ProductShape::r128_t128 && wgmma) return entry<Kernel<kBits, 2, 1, 128, 3, 2, kParts, true>, 2>();
    if (shape == ProductShape::r64_t64 && wgmma) return entry<Kernel<kBits, 1, 1, 64, 4, 4, kParts, true>, 3>();
  }
  return {};
}

}  // namespace product

template <int kBits>
ProductEntry product_entry(ProductShape shape, Products::Path path, bool single) {
  return single ? product::entry<kBits, 1>(shape, path) : product::entry<kBits, 2>(shape, path);
}

}  // namespace qwen35::cuda
