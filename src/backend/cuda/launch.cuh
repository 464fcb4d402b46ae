#pragma once

// Starting kernels that follow each other closely.

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "backend/cuda/device.h"

namespace qwen35::cuda {

/// Until all of the kernel before has ended and what it wrote can be read; at once where this kernel was not started
/// early. Each thread calls it before it reads what that kernel writes or writes what that kernel reads.
__device__ __forceinline__ void wait_for_kernel_before() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;\n" ::: "memory");
#endif
}
/// Blocks of the next kernel may be put beside this kernel's last ones.
__device__ __forceinline__ void let_next_kernel_start() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;\n" ::: "memory");
#endif
}

/// Puts `kernel` on `stream`, with `shared` bytes of dynamic shared memory. `early` (compute capability 9.0 or later):
/// it may start before the kernel before it has ended, and calls wait_for_kernel_before() itself.
template <typename... Parameters>
void launch(void (*kernel)(Parameters...), dim3 grid, std::uint32_t threads, std::uint32_t shared, cudaStream_t stream,
            bool early, const char* what, Parameters... arguments) {
  if (shared > 48 * 1024) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)), what);
  }
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &attribute;
  config.numAttrs = early ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, arguments...), what);
}

}  // namespace qwen35::cuda
