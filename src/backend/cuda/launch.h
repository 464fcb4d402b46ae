#pragma once

// Kernels that begin before the one before them in the stream has ended (programmatic dependent launch, compute
// capability 9.0 and later): what does not depend on it, such as weights, is fetched while it runs out.

#include <cuda_runtime.h>

#include <cstddef>
#include <utility>

namespace qwen35::cuda {

/// Puts a kernel on the stream. `early`: it may begin early; then the first that each of its threads does, but for
/// reading what no kernel writes, is wait_for_previous(). Returns what the runtime says.
template <typename... P, typename... A>
cudaError_t launch(void (*kernel)(P...), dim3 grid, dim3 threads, std::size_t shared, cudaStream_t stream, bool early,
                   A&&... arguments) {
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
  return cudaLaunchKernelEx(&config, kernel, std::forward<A>(arguments)...);
}

#if defined(__CUDACC__)
/// Until all kernels before have ended and their writes are seen. Nothing when launched without `early`.
__device__ __forceinline__ void wait_for_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
/// The next kernel may begin once all blocks have come here.
__device__ __forceinline__ void let_next_begin() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
#endif

}  // namespace qwen35::cuda
