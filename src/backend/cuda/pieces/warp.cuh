#pragma once

// Small pieces that kernels are made of: sums over a warp, functions of a float, numbers cut into halves whose sum is
// the number, copies to shared memory in the background, waiting for a barrier there.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace qwen35::cuda {

/// Over the 32 lanes, always in the same order; every lane gets it.
__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xFFFFFFFFU, value, step);
  return value;
}
__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(0xFFFFFFFFU, value, step));
  return value;
}

__device__ __forceinline__ float sigmoid(float x) { return 1.0F / (1.0F + __expf(-x)); }
__device__ __forceinline__ float silu(float x) { return x * sigmoid(x); }
/// Within about 1e-6 of itself: far less than what two halves of an operand leave out. Where it is taken millions of
/// times (prefill).
__device__ __forceinline__ float quick_sigmoid(float x) { return __fdividef(1.0F, 1.0F + __expf(-x)); }

/// Two floats as hi + lo, the first in the lower half of each word.
struct SplitPair {
  std::uint32_t hi, lo;
};
/// As bfloat16: within 2^-17 of them, and with the range of a float.
__device__ __forceinline__ SplitPair split_bf16(float x, float y) {
  const __nv_bfloat162 hi = __floats2bfloat162_rn(x, y);
  const __nv_bfloat162 lo = __floats2bfloat162_rn(x - __low2float(hi), y - __high2float(hi));
  SplitPair pair;
  pair.hi = *reinterpret_cast<const std::uint32_t*>(&hi);
  pair.lo = *reinterpret_cast<const std::uint32_t*>(&lo);
  return pair;
}
/// As binary16, clamped to its range.
__device__ __forceinline__ float clamp_f16(float x) { return fminf(fmaxf(x, -65504.0F), 65504.0F); }
__device__ __forceinline__ SplitPair split_f16(float x, float y) {
  x = clamp_f16(x);
  y = clamp_f16(y);
  const __half2 hi = __floats2half2_rn(x, y);
  const __half2 lo = __floats2half2_rn(x - __low2float(hi), y - __high2float(hi));
  SplitPair pair;
  pair.hi = *reinterpret_cast<const std::uint32_t*>(&hi);
  pair.lo = *reinterpret_cast<const std::uint32_t*>(&lo);
  return pair;
}
/// One float alone.
__device__ __forceinline__ void split_f16(float x, __half& hi, __half& lo) {
  x = clamp_f16(x);
  hi = __float2half_rn(x);
  lo = __float2half_rn(x - __half2float(hi));
}

__device__ __forceinline__ std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

/// 16 bytes from global to shared memory, in the background.
__device__ __forceinline__ void copy_16(std::uint32_t to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
__device__ __forceinline__ void copy_16(void* to, const void* from) { copy_16(shared_address(to), from); }
__device__ __forceinline__ void end_of_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most `kLeft` of this thread's groups of copies are under way.
template <int kLeft>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}
/// `bytes` (a multiple of 16) by all `threads` of a block.
__device__ __forceinline__ void copy_block(void* to, const void* from, std::uint32_t bytes, std::uint32_t threads) {
  for (std::uint32_t i = threadIdx.x * 16; i < bytes; i += threads * 16) {
    copy_16(static_cast<std::uint8_t*>(to) + i, static_cast<const std::uint8_t*>(from) + i);
  }
}

/// Until the phase of that parity (0 the first) has ended; the phase before it must have.
__device__ __forceinline__ void barrier_wait(const std::uint64_t* barrier, std::uint32_t parity) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  asm volatile(
      "{ .reg .pred p;\n"
      "AGAIN_%=: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
      "@!p bra AGAIN_%=; }" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
#else
  asm volatile(
      "{ .reg .pred p;\n"
      "AGAIN_%=: mbarrier.test_wait.parity.shared.b64 p, [%0], %1;\n"
      "@!p bra AGAIN_%=; }" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
#endif
}

}  // namespace qwen35::cuda
