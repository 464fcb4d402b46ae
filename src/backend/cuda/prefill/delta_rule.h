#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "backend/cuda/device/device.h"
#include "backend/cuda/device/device_model.h"

namespace qwen35::cuda {

/// The mixer of a linear layer (model page, section 2) between its two projections, for many tokens of one state: the
/// chunked (WY) form on tensor cores, chunks of 64 counted from the pass's first token. A token's result does not
/// depend on how a text is cut into passes, as long as all but the last have a whole number of chunks.
///
/// Products have operands of bfloat16 hi + lo (three products: within about 2^-16, whatever the range); decays, the
/// triangular inverse and S are float32.
///
/// One thread at a time; scratch memory grows with the longest pass so far, and while one pass uses it, another may
/// not be put on another stream. Throws as check() does.
class DeltaRule {
 public:
  /// `model` must outlive it. `slices`: of 16 columns of S in a block of the scan, 1 or 2; 0: chosen (results are the
  /// same). Throws unsupported for a key_dim other than 32, 64, 128 or a value_dim that is no multiple of 16.
  DeltaRule(const DeviceModel& model, const DeviceInfo& device, std::uint32_t slices = 0);

  /// `in`: sequence.count × linear_in_rows() floats: qkv, b, a, z of each token (the sequence's first is row 0). `hi`,
  /// `lo`: the result in two halves (x = hi + lo, clamped to ±65504), token t's value_heads · value_dim at t · stride
  /// (even). Moves the layer's S from s_in to s_out (may be the same) and writes the last tokens into its ring.
  void run(const DeviceLayer& layer, const float* in, const SequenceView& sequence, __half* hi, __half* lo,
           std::uint32_t stride, cudaStream_t stream);

  /// Device memory held.
  [[nodiscard]] std::size_t memory_bytes() const { return scratch_.bytes(); }

 private:
  const DeviceModel& model_;
  std::uint32_t shared_bytes_ = 0;
  std::uint32_t slices_ = 0;
  bool early_ = false;  ///< kernels may start before the one before them has ended
  DeviceMemory scratch_;
};

}  // namespace qwen35::cuda
