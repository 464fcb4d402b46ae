#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "backend/cuda/device/device.h"
#include "backend/cuda/device/device_model.h"

namespace qwen35::cuda {

/// The mixer of a full layer (model page, section 2) between its projections, for many tokens of one state: norms,
/// rotary embedding, new keys and values into the pages, causal attention with an online softmax on tensor cores, and
/// the gate. A token's result does not depend on how a text is cut into passes.
///
/// Keys, values and probabilities are binary16, queries binary16 hi + lo, sums float32.
///
/// One thread at a time. Throws as check() does.
class Attention {
 public:
  /// `model` must outlive it. Throws unsupported for a head_dim other than 32, 64, 128, 256 or more than 64 query heads
  /// to a KV head.
  Attention(const DeviceModel& model, const DeviceInfo& device);

  /// `in`: sequence.count × full_in_rows() floats: of each head query and gate, then keys, then values. `hi`, `lo`: the
  /// result in two halves (x = hi + lo, clamped to ±65504), token t's heads · head_dim at t · stride (even). Pages for
  /// all positions must be there and those written to belong to the sequence alone; values past the last position of
  /// the last page become zero.
  void run(const DeviceLayer& layer, const float* in, const SequenceView& sequence, __half* hi, __half* lo,
           std::uint32_t stride, cudaStream_t stream);

  /// Device memory held.
  [[nodiscard]] std::size_t memory_bytes() const { return 0; }

 private:
  const DeviceModel& model_;
  bool early_ = false;  ///< kernels may start before the one before them has ended
};

}  // namespace qwen35::cuda
