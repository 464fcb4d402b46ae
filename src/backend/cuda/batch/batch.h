#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "backend/cuda/batch/batch_product.h"
#include "backend/cuda/decode/decode_pass.h"
#include "backend/cuda/device/device.h"

namespace qwen35::cuda {

/// Decode passes as many kernels, one behind the other: for up to 64 rows, all of which meet each weight at once, and
/// where no persistent kernel runs. The same bits as the persistent kernel's. One thread at a time.
class BatchPasses {
 public:
  /// `model` must outlive it. `graphs`: kernels are recorded once and played again; else each is launched anew.
  BatchPasses(const DeviceModel& model, const DeviceInfo& device, bool graphs);
  ~BatchPasses();
  BatchPasses(const BatchPasses&) = delete;
  BatchPasses& operator=(const BatchPasses&) = delete;

  /// A pass; `args` but for its buffers and splits. `splits`: of the row that has most. Throws as check() does.
  void run(DecodeArgs& args, std::uint32_t splits, cudaStream_t stream);
  /// The final norm and the head over `count` rows of `x` (device, count × hidden); of `args` only what belongs to the
  /// model.
  void head(DecodeArgs& args, const float* x, std::uint32_t count, float* logits, cudaStream_t stream);

  /// Device memory held.
  [[nodiscard]] std::size_t memory_bytes() const;

 private:
  /// The products of a pass of so many groups of rows: four a layer, and the head.
  const std::vector<BatchProduct>& products(std::uint32_t groups);
  void reserve(std::uint32_t splits, cudaStream_t stream);
  void put_args(DecodeArgs& args, std::uint32_t splits, cudaStream_t stream);
  void launch_pass(const std::vector<BatchProduct>& plan, bool combine, bool head, cudaStream_t stream);
  void launch_head(const BatchProduct& plan, bool given, cudaStream_t stream);

  const DeviceModel& model_;
  BatchDevice device_;
  bool graphs_;
  std::uint64_t life_ = device_life();  ///< in which the recordings were made
  DeviceMemory args_;
  DeviceMemory memory_;
  DeviceMemory parts_;
  DecodeBuffers buffers_{};
  std::uint32_t splits_ = 0;  ///< room for them
  std::map<std::uint32_t, std::vector<BatchProduct>> products_;
  std::map<std::tuple<std::uint32_t, bool, bool>, cudaGraphExec_t> recorded_;
};

}  // namespace qwen35::cuda
