#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "backend/cuda/device/device.h"
#include "backend/cuda/device/device_model.h"
#include "base/cancellation.h"
#include "base/token.h"

namespace qwen35::cuda {

/// Passes over many tokens of one state, on tensor cores. A token's results do not depend on how a text is cut into
/// passes, as long as all but the last have a whole number of chunks (kChunk).
///
/// Work is put on `stream` and not waited for. One thread at a time. Throws as check() does.
class Prefill {
 public:
  static constexpr std::uint32_t kChunk = 64;   ///< of the delta rule
  static constexpr std::uint32_t kMost = 4096;  ///< tokens of one pass

  /// `model` must outlive it. Buffers grow with the longest pass so far.
  Prefill(const DeviceModel& model, const DeviceInfo& device);
  ~Prefill();
  Prefill(const Prefill&) = delete;
  Prefill& operator=(const Prefill&) = delete;

  /// Feeds 1 to kMost tokens to sequence (first = 0, count = tokens.size()): S, the ring and the pages. Returns the
  /// residual stream before the final norm, tokens × hidden floats in device memory, valid until the next run; or
  /// nullptr when `cancelled` was seen, which is asked for before each layer is put on the stream.
  const float* run(const SequenceView& sequence, std::span<const TokenId> tokens, const Cancellation& cancelled,
                   cudaStream_t stream);

  /// Device memory held beside the weights.
  [[nodiscard]] std::size_t memory_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qwen35::cuda
