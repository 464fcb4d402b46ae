#pragma once

// What the kernels of the mixers share: tensor-core products on operands in registers, copies to shared memory, and
// numbers cut into halves whose sum is the number.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace qwen35::cuda {

/// d += a · b: 16 × 16 times 16 × 8. Lane l has rows l / 4 and l / 4 + 8, columns 2 (l % 4) … of d.
__device__ __forceinline__ void mma_bf16(float (&d)[4], const uint4& a, std::uint32_t b0, std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}
__device__ __forceinline__ void mma_f16(float (&d)[4], const uint4& a, std::uint32_t b0, std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

__device__ __forceinline__ std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

/// Four 8 × 8 matrices; lane l gives the address of row l % 8 of matrix l / 8.
__device__ __forceinline__ uint4 load_matrices(const void* row) {
  uint4 r;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w)
               : "r"(shared_address(row))
               : "memory");
  return r;
}
/// The same, each matrix transposed.
__device__ __forceinline__ uint4 load_matrices_transposed(const void* row) {
  uint4 r;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w)
               : "r"(shared_address(row))
               : "memory");
  return r;
}

/// 16 bytes from global to shared memory, in the background.
__device__ __forceinline__ void copy_16(void* to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\n" ::"r"(shared_address(to)), "l"(from) : "memory");
}
__device__ __forceinline__ void end_of_copies() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
/// Waits until at most `kLeft` of this thread's groups of copies are under way.
template <int kLeft>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kLeft) : "memory");
}
/// `bytes` (a multiple of 16) by all `threads` of a block.
__device__ __forceinline__ void copy_block(void* to, const void* from, std::uint32_t bytes, std::uint32_t threads) {
  for (std::uint32_t i = threadIdx.x * 16; i < bytes; i += threads * 16) {
    copy_16(static_cast<std::uint8_t*>(to) + i, static_cast<const std::uint8_t*>(from) + i);
  }
}

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int i = 16; i > 0; i /= 2) x += __shfl_xor_sync(~0U, x, i);
  return x;
}

/// Two floats as bfloat16 hi + lo: within 2^-17 of them, and with the range of a float.
struct SplitPair {
  std::uint32_t hi, lo;
};
__device__ __forceinline__ SplitPair split_bf16(float x, float y) {
  const __nv_bfloat162 hi = __floats2bfloat162_rn(x, y);
  const __nv_bfloat162 lo = __floats2bfloat162_rn(x - __low2float(hi), y - __high2float(hi));
  SplitPair pair;
  pair.hi = *reinterpret_cast<const std::uint32_t*>(&hi);
  pair.lo = *reinterpret_cast<const std::uint32_t*>(&lo);
  return pair;
}
/// Two floats as binary16 hi + lo, clamped to its range.
__device__ __forceinline__ SplitPair split_f16(float x, float y) {
  x = fminf(fmaxf(x, -65504.0F), 65504.0F);
  y = fminf(fmaxf(y, -65504.0F), 65504.0F);
  const __half2 hi = __floats2half2_rn(x, y);
  const __half2 lo = __floats2half2_rn(x - __low2float(hi), y - __high2float(hi));
  SplitPair pair;
  pair.hi = *reinterpret_cast<const std::uint32_t*>(&hi);
  pair.lo = *reinterpret_cast<const std::uint32_t*>(&lo);
  return pair;
}

/// Within about 1e-6 of itself: far less than what the two halves of operands leave out.
__device__ __forceinline__ float sigmoid(float x) { return __fdividef(1.0F, 1.0F + __expf(-x)); }

}  // namespace qwen35::cuda
