#pragma once

// Starting kernels, also before the one before them in the stream has ended (programmatic dependent launch, compute
// capability 9.0 and later): what does not depend on it, such as weights, is fetched while it runs out.

#include <cuda_runtime.h>

#include <cstddef>
#include <type_traits>

#include "backend/cuda/device/device.h"

namespace qwen35::cuda {

/// Until all of the kernel before has ended and what it wrote can be read; at once where this kernel was not started
/// early. Each thread calls it before it reads what that kernel writes or writes what that kernel reads.
__device__ __forceinline__ void wait_for_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
/// The next kernel may begin once all blocks have come here or ended.
__device__ __forceinline__ void let_next_begin() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// Lets blocks of `kernel` have `bytes` of dynamic shared memory, which above 48 KB must be asked for once for each
/// device and its life. Throws as check() does.
template <typename... Parameters>
void allow_shared(void (*kernel)(Parameters...), std::size_t bytes, const char* what) {
  if (bytes <= 48 * 1024) return;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)), what);
}

/// Puts `kernel` on `stream`, with `shared` bytes of dynamic shared memory (see allow_shared()). `early` (compute
/// capability 9.0 or later): it may begin before the kernel before it has ended, and calls wait_for_previous() itself.
/// Throws as check() does, with `what`.
template <typename... Parameters>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 threads, std::size_t shared, cudaStream_t stream, bool early,
            const char* what, std::type_identity_t<Parameters>... arguments) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = threads;
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = early ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, arguments...), what);
}

}  // namespace qwen35::cuda
