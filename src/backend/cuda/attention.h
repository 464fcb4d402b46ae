#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "backend/cuda/device.h"
#include "backend/cuda/device_model.h"

namespace qwen35::cuda {

/// Of many tokens of one state. Work is put on `stream`. Throws as check() does.
class Attention {
 public:
  Attention(const DeviceModel& model, const DeviceInfo& device);
  ~Attention();

  /// `in`: sequence.count × layer.in.rows floats. Writes hi and lo, `stride` halves between tokens.
  void run(const DeviceLayer& layer, const float* in, const SequenceView& sequence, __half* hi, __half* lo,
           std::uint32_t stride, cudaStream_t stream);

  [[nodiscard]] std::size_t memory_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qwen35::cuda
