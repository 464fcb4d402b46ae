#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "backend/shared_block.h"

namespace qwen35::cuda {

/// Device memory for states and snapshots, from a pool of the driver's, so that freeing waits for no kernel. Held by
/// the blocks, so that they may outlive the backend. Thread-safe.
///
/// The rule that makes it safe without an event for each block: whoever puts work on a stream holds the blocks it uses
/// until that work is known to be done, or is told of by order_after(). So what lies in a BlockPool is idle.
class DeviceHeap : public std::enable_shared_from_this<DeviceHeap> {
 public:
  /// Throws as check() does.
  DeviceHeap();
  ~DeviceHeap();
  DeviceHeap(const DeviceHeap&) = delete;
  DeviceHeap& operator=(const DeviceHeap&) = delete;

  /// For BlockPool. The memory's first bytes are at a multiple of 256. Throws as check() does.
  std::unique_ptr<BlockMemory> make(std::size_t bytes);

  /// Whether what was made here is still there: not after the device was lost and begun afresh.
  [[nodiscard]] bool alive() const;

  /// The stream for copies to and from the host beside running passes.
  [[nodiscard]] cudaStream_t copies() const { return stream_; }
  /// What is put on copies() from now on, and what is freed, waits for all that is on `stream` now.
  void order_after(cudaStream_t stream);

 private:
  class Memory;
  cudaStream_t stream_ = nullptr;
  cudaMemPool_t pool_ = nullptr;  ///< nullptr: the device has none; memory then comes from cudaMalloc
  cudaEvent_t event_ = nullptr;
  std::uint64_t life_;
};

}  // namespace qwen35::cuda
