#pragma once

// Packed weights (layout.h) to pairs of binary16 in registers, the operands of a tensor-core product as they are. All
// pointers may be to global or to shared memory. Indices of pairs must be known when the code is compiled (unrolled
// loops), or words end in local memory.

#include <cuda_fp16.h>

#include <cstdint>
#include <cstring>

#include "backend/cuda/device/layout.h"

namespace qwen35::cuda {

/// 1024 + q in both halves: binary16 from 1024 to 2048 counts in ones, so that q can be put in by its bits.
inline constexpr std::uint32_t kMagic = 0x64006400U;

__device__ __forceinline__ __half2 as_half2(std::uint32_t bits) {
  __half2 value;
  static_assert(sizeof(value) == sizeof(bits));
  std::memcpy(static_cast<void*>(&value), &bits, sizeof(value));
  return value;
}
__device__ __forceinline__ std::uint32_t as_bits(__half2 value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

/// `value` moved so that bit `from` comes to bit `to`.
__device__ __forceinline__ std::uint32_t move_bits(std::uint32_t value, int from, int to) {
  return from >= to ? value >> (from - to) : value << (to - from);
}

/// Bytes 2 · odd and 2 · odd + 1 of `word`, each under 0x64.
__device__ __forceinline__ std::uint32_t magic_bytes(std::uint32_t word, bool odd) {
  return __byte_perm(word, kMagic >> 8U, odd ? 0x4342U : 0x4140U);
}

/// Pair `i` (0 to 3) of a word of the lower four bits; `upper`: what stands above them, at bits 4 … and 20 …, the rest
/// zero.
__device__ __forceinline__ std::uint32_t magic_nibbles(std::uint32_t word, int i, std::uint32_t upper) {
  std::uint32_t result;  // (a & b) | c in one instruction, which the compiler does not find with two constants
  asm("lop3.b32 %0, %1, %2, %3, 0xEA;" : "=r"(result) : "r"(word >> (4 * i)), "n"(0x000f000fU), "r"(upper | kMagic));
  return result;
}

/// scale · q + bias, rounded once, of a magic pair. `scale_bias`: as it stands in memory, scale in the lower half.
__device__ __forceinline__ __half2 dequantize(std::uint32_t magic, __half2 scale_bias) {
  const __half2 q = __hsub2(as_half2(magic), as_half2(kMagic));  // exact
  return __hfma2(q, __low2half2(scale_bias), __high2half2(scale_bias));
}

/// The values of a lane in half a unit: 64 columns, four steps, pairs 8 h … 8 h + 7 of the unit.
template <int kBits>
struct HalfUnit {
  static constexpr int kWords = kBits == 16 ? 8 : kBits == 8 ? 4 : 2;
  std::uint32_t words[kWords];
  std::uint32_t upper;  ///< 5 and 6 bits

  __device__ __forceinline__ void load(const std::uint8_t* unit, std::uint32_t lane, std::uint32_t half) {
    if constexpr (kBits == 16) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const uint4 v = *reinterpret_cast<const uint4*>(unit + (2 * half + i) * 512 + lane * 16);
        words[4 * i] = v.x, words[4 * i + 1] = v.y, words[4 * i + 2] = v.z, words[4 * i + 3] = v.w;
      }
    } else if constexpr (kBits == 8) {
      const uint4 v = *reinterpret_cast<const uint4*>(unit + half * 512 + lane * 16);
      words[0] = v.x, words[1] = v.y, words[2] = v.z, words[3] = v.w;
    } else {
      const uint2 v = *reinterpret_cast<const uint2*>(unit + lane * 16 + half * 8);
      words[0] = v.x, words[1] = v.y;
      if constexpr (kBits == 5) upper = *reinterpret_cast<const std::uint32_t*>(unit + 512 + lane * 4) >> (8 * half);
      if constexpr (kBits == 6) upper = *reinterpret_cast<const std::uint32_t*>(unit + 512 + lane * 8 + half * 4);
    }
  }

  /// Pair `p` (0 to 7) of the half unit. `scale_bias` is not looked at at 16 bits.
  __device__ __forceinline__ __half2 pair(int p, __half2 scale_bias) const {
    if constexpr (kBits == 16) {
      return as_half2(words[p]);
    } else if constexpr (kBits == 8) {
      return dequantize(magic_bytes(words[p / 2], p % 2 != 0), scale_bias);
    } else {
      std::uint32_t above = 0;
      if constexpr (kBits == 5) above = move_bits(upper, p, 4) & 0x00100010U;
      if constexpr (kBits == 6) above = move_bits(upper, 2 * p, 4) & 0x00300030U;
      return dequantize(magic_nibbles(words[p / 4], p % 4, above), scale_bias);
    }
  }
};

/// A lane's values of a unit with its scales, for a group known when the code is compiled (0 at 16 bits).
template <int kBits, int kGroup>
struct Unit {
  static_assert(kBits == 16 ? kGroup == 0 : kGroup == 32 || kGroup == 64 || kGroup == 128);
  static constexpr int kWords = kBits == 16 ? 16 : kBits == 8 ? 8 : 4;
  static constexpr int kGroups = kBits == 16 ? 1 : 128 / kGroup;
  std::uint32_t words[kWords];
  std::uint32_t upper[2];         ///< 5 bits: the first; 6 bits: both
  std::uint32_t scales[kGroups];  ///< scale in the lower half, bias in the upper

  __device__ __forceinline__ void load(const std::uint8_t* unit, std::uint32_t lane) {
    load_values(unit, lane);
    load_scales(unit, lane);
  }

  __device__ __forceinline__ void load_values(const std::uint8_t* unit, std::uint32_t lane) {
#pragma unroll
    for (int i = 0; i < kWords / 4; ++i) {
      const uint4 v = *reinterpret_cast<const uint4*>(unit + i * 512 + lane * 16);
      words[4 * i] = v.x, words[4 * i + 1] = v.y, words[4 * i + 2] = v.z, words[4 * i + 3] = v.w;
    }
    if constexpr (kBits == 5) upper[0] = *reinterpret_cast<const std::uint32_t*>(unit + 512 + lane * 4);
    if constexpr (kBits == 6) {
      const uint2 v = *reinterpret_cast<const uint2*>(unit + 512 + lane * 8);
      upper[0] = v.x, upper[1] = v.y;
    }
  }

  __device__ __forceinline__ void load_scales(const std::uint8_t* unit, std::uint32_t lane) {
    if constexpr (kBits != 16) {
      const std::uint8_t* at = unit + value_bytes(kBits) + lane / 4 * (4 * kGroups);
      if constexpr (kGroups == 4) {
        const uint4 v = *reinterpret_cast<const uint4*>(at);
        scales[0] = v.x, scales[1] = v.y, scales[2] = v.z, scales[3] = v.w;
      } else if constexpr (kGroups == 2) {
        const uint2 v = *reinterpret_cast<const uint2*>(at);
        scales[0] = v.x, scales[1] = v.y;
      } else {
        scales[0] = *reinterpret_cast<const std::uint32_t*>(at);
      }
    }
  }

  /// Pair `p` as 1024 + q in both halves (at 16 bits: the values), for sums that are put right afterwards.
  __device__ __forceinline__ std::uint32_t raw(int p) const {
    if constexpr (kBits == 16) {
      return words[p];
    } else if constexpr (kBits == 8) {
      return magic_bytes(words[p / 2], p % 2 != 0);
    } else {
      std::uint32_t above = 0;
      if constexpr (kBits == 5) above = move_bits(upper[0], p, 4) & 0x00100010U;
      if constexpr (kBits == 6) above = move_bits(upper[p / 8], 2 * (p % 8), 4) & 0x00300030U;
      return magic_nibbles(words[p / 4], p % 4, above);
    }
  }

  /// Pair `p` (0 to 15): columns 16 (p / 2) + 8 (p % 2) + 2 (lane % 4) and the next.
  __device__ __forceinline__ __half2 pair(int p) const {
    if constexpr (kBits == 16) {
      return as_half2(words[p]);
    } else {
      return dequantize(raw(p), as_half2(scales[p * 8 / kGroup]));
    }
  }
};

}  // namespace qwen35::cuda
