#pragma once

// How the blocks of a decode pass hand values to each other, and the small pieces every step is made of.

#include <cuda_fp16.h>

#include <cstdint>

#include "backend/cuda/decode/decode_pass.h"
#include "backend/cuda/pieces/tensor_core.cuh"

namespace qwen35::cuda {

/// Values that all blocks write and all blocks read, within one grid.
///
/// A value travels with a number that says which step of which pass it belongs to, eight bytes written at once. A
/// reader asks again until the number is right. So there is no barrier of the whole grid: the value is its own
/// signal, and one way through the second-level cache replaces a fence, a counter, a wait and a load (NCCL's "LL").
class Link {
 public:
  __device__ Link(void* base, std::uint32_t tag) : base_(static_cast<char*>(base)), tag_(tag) {}

  __device__ void store(std::uint32_t i, float value) const {
    const std::uint64_t word = (std::uint64_t{tag_} << 32U) | __float_as_uint(value);
    asm volatile("st.relaxed.gpu.global.b64 [%0], %1;" ::"l"(base_ + std::size_t{8} * i), "l"(word));
  }

  /// Values 2 p and 2 p + 1 of kCount pairs p. All loads are on their way before the first is looked at.
  template <int kCount>
  __device__ __forceinline__ void load(const std::uint32_t (&pair)[kCount], float2 (&value)[kCount]) const {
    std::uint32_t tags;  // bits in which any of them is wrong
    do {
      tags = 0;
#pragma unroll
      for (int j = 0; j < kCount; ++j) {
        std::uint32_t first, first_tag, second, second_tag;
        asm volatile("ld.relaxed.gpu.global.v4.b32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(first), "=r"(first_tag), "=r"(second), "=r"(second_tag)
                     : "l"(base_ + std::size_t{16} * pair[j]));
        value[j] = make_float2(__uint_as_float(first), __uint_as_float(second));
        tags |= (first_tag ^ tag_) | (second_tag ^ tag_);
      }
    } while (tags != 0);
  }

  /// Values i of kCount.
  template <int kCount>
  __device__ __forceinline__ void load_values(const std::uint32_t (&i)[kCount], float (&value)[kCount]) const {
    std::uint32_t tags;
    do {
      tags = 0;
#pragma unroll
      for (int j = 0; j < kCount; ++j) {
        std::uint64_t word;
        asm volatile("ld.relaxed.gpu.global.b64 %0, [%1];" : "=l"(word) : "l"(base_ + std::size_t{8} * i[j]));
        value[j] = __uint_as_float(static_cast<std::uint32_t>(word));
        tags |= static_cast<std::uint32_t>(word >> 32U) ^ tag_;
      }
    } while (tags != 0);
  }

  __device__ float load_one(std::uint32_t i) const {
    std::uint64_t word;
    do {
      asm volatile("ld.relaxed.gpu.global.b64 %0, [%1];" : "=l"(word) : "l"(base_ + std::size_t{8} * i));
    } while (static_cast<std::uint32_t>(word >> 32U) != tag_);
    return __uint_as_float(static_cast<std::uint32_t>(word));
  }

 private:
  char* base_;
  std::uint32_t tag_;
};

/// Waits for the kThreads that compute; the warp that fetches weights goes on.
__device__ inline void sync_compute() { asm volatile("bar.sync 1, %0;" ::"n"(kThreads) : "memory"); }

/// Activations as the row operand: of 16 rows, up to eight tokens' high halves and below them the low ones, so that one
/// product has the precision of 22 bits. Word ((step · rows + row) · 4 + l % 4) · 4 + {high, low, high + 8, low + 8}:
/// a lane's four registers are 16 bytes in one place.
/// kRows: how many, or 0: known at run time.
template <std::uint32_t kRows>
struct Fragments {
  std::uint32_t* words;
  std::uint32_t count;  ///< at most 8

  [[nodiscard]] __device__ std::uint32_t rows() const { return kRows != 0 ? kRows : count; }

  /// Columns 2 pair and 2 pair + 1 of a row.
  __device__ void put(std::uint32_t row, std::uint32_t pair, float2 value) const {
    constexpr float kLargest = 65504;  // of binary16
    const float x = fminf(fmaxf(value.x, -kLargest), kLargest);
    const float y = fminf(fmaxf(value.y, -kLargest), kLargest);
    const __half2 high = __floats2half2_rn(x, y);
    const float2 back = __half22float2(high);
    const __half2 low = __floats2half2_rn(x - back.x, y - back.y);
    const std::uint32_t at = (((pair / 8) * rows() + row) * 4 + pair % 4) * 4 + pair % 8 / 4 * 2;
    *reinterpret_cast<uint2*>(words + at) =
        make_uint2(*reinterpret_cast<const std::uint32_t*>(&high), *reinterpret_cast<const std::uint32_t*>(&low));
  }
  /// What one lane reads, from a step of 16 columns on. Lanes of rows that are not there read the last one's: a row's
  /// sums depend on that row alone, and theirs are not looked at.
  struct Lane {
    const uint4* at;
    std::uint32_t stride;
    [[nodiscard]] __device__ uint4 get(std::uint32_t step) const {
      return at[step * (kRows != 0 ? 4 * kRows : stride)];
    }
  };
  [[nodiscard]] __device__ Lane from(std::uint32_t step, std::uint32_t lane) const {
    const std::uint32_t row = min(lane / 4, rows() - 1);
    return {reinterpret_cast<const uint4*>(words) + (step * rows() + row) * 4 + lane % 4, 4 * rows()};
  }
  /// A lane's registers of one step.
  [[nodiscard]] __device__ uint4 get(std::uint32_t step, std::uint32_t lane) const { return from(step, lane).get(0); }
};
/// Words of such activations.
QWEN35_HD constexpr std::uint32_t fragment_words(std::uint32_t rows, std::uint32_t columns) { return rows * columns; }

}  // namespace qwen35::cuda
