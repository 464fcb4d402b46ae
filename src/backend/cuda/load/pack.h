#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/cuda/device/device.h"
#include "backend/cuda/device/device_model.h"
#include "checkpoint/weights.h"

namespace qwen35::cuda {

/// All weights of a model in device memory in the layout of layout.h, made on the GPU from the checkpoint's own bytes.
/// Matrices that are packed as one (device_model.h) and differ in form take the widest one's bits and the finest one's
/// groups, which is exact; dense beside quantised makes all binary16.
class PackedModel {
 public:
  /// The host's map is only read. Throws as check() does, and unsupported for sizes that the kernels do not take
  /// (naming them).
  PackedModel(const ModelWeights& weights, const DeviceInfo& device);

  [[nodiscard]] const DeviceModel& model() const { return model_; }
  /// Of device memory.
  [[nodiscard]] std::size_t memory_bytes() const;

 private:
  DeviceModel model_;
  std::vector<DeviceMemory> memory_;
};

}  // namespace qwen35::cuda
