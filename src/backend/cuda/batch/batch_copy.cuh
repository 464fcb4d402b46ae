#pragma once

// Copies from global to shared memory that end at a barrier (mbarrier): by the bulk copy engine from compute
// capability 9.0 on, before it by 16 bytes a thread. One warp copies, any threads wait.

#include <cstdint>

#include "backend/cuda/pieces/warp.cuh"

namespace qwen35::cuda {

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
inline constexpr std::uint32_t kCopyArrivals = 1;  ///< at the barrier of a copy
#else
inline constexpr std::uint32_t kCopyArrivals = 32;
#endif

/// By one thread, before the block's first barrier.
__device__ __forceinline__ void barrier_init(std::uint64_t* barrier, std::uint32_t arrivals) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
/// By the thread that has initialised barriers.
__device__ __forceinline__ void barriers_ready() {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}
/// Begins copies of `bytes` in all that end at `barrier`. This and what follows: by all lanes of a warp.
__device__ __forceinline__ void copies_begin(std::uint64_t* barrier, std::uint32_t bytes, std::uint32_t lane) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  if (lane == 0)
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
                 : "memory");
  __syncwarp();
#endif
}
/// `count` pieces of `bytes` (a multiple of 16), each so many bytes behind the one before.
__device__ __forceinline__ void copy_pieces(std::uint64_t* barrier, std::uint8_t* to, std::uint32_t to_stride,
                                            const std::uint8_t* from, std::size_t from_stride, std::uint32_t bytes,
                                            std::uint32_t count, std::uint32_t lane) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  for (std::uint32_t i = lane; i < count; i += 32)
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                     shared_address(to + i * to_stride)),
                 "l"(from + i * from_stride), "r"(bytes), "r"(shared_address(barrier))
                 : "memory");
#else
  const std::uint32_t each = bytes / 16;
  for (std::uint32_t i = lane; i < each * count; i += 32)
    asm volatile(
        "cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to + i / each * to_stride + i % each * 16)),
        "l"(from + i / each * from_stride + i % each * 16)
        : "memory");
#endif
}
/// No more copies end at `barrier` in this phase.
__device__ __forceinline__ void copies_end(std::uint64_t* barrier) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
  asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(shared_address(barrier)) : "memory");
#endif
}

/// Until a counter in shared memory that only grows has come to `least`.
__device__ __forceinline__ void wait_for_count(const std::uint32_t* counter, std::uint32_t least) {
  while (*static_cast<const volatile std::uint32_t*>(counter) < least) {
  }
}

/// Until `threads` of the block have come to barrier `number`, 1 to 4.
__device__ __forceinline__ void sync_threads(std::uint32_t number, std::uint32_t threads) {
  if (number == 1) asm volatile("bar.sync 1, %0;" ::"r"(threads) : "memory");
  if (number == 2) asm volatile("bar.sync 2, %0;" ::"r"(threads) : "memory");
  if (number == 3) asm volatile("bar.sync 3, %0;" ::"r"(threads) : "memory");
  if (number == 4) asm volatile("bar.sync 4, %0;" ::"r"(threads) : "memory");
}

}  // namespace qwen35::cuda
