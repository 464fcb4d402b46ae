#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/cuda/device/device.h"
#include "backend/cuda/device/device_model.h"
#include "base/token.h"

namespace qwen35::cuda {

/// Passes over few tokens: decode, verification, several conversations at once. Every row of logits and every state is
/// to the bit what it would be alone and token by token, whatever else is in the pass.
///
/// Work is put on `stream` and not waited for. One thread at a time. Throws as check() does.
class Decoder {
 public:
  /// `model` must outlive it.
  Decoder(const DeviceModel& model, const DeviceInfo& device);
  ~Decoder();
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  /// Tokens of one sequence that a pass takes at most, all in one reading of the weights (8; fewer where the model is
  /// very wide). Eight cost twice as much as one.
  [[nodiscard]] std::uint32_t few() const;
  /// Tokens that one forward() takes at most.
  [[nodiscard]] static constexpr std::uint32_t most() { return 64; }

  /// Feeds tokens: those of sequence i are tokens[first, first + count). No sequence has more than few(). `wanted`:
  /// rows (of `tokens`) whose logits are written, rising; row i of `logits` (device memory, wanted.size() × vocabulary)
  /// is that of wanted[i]. Pages for all positions must be there, and rings belong to their sequence alone.
  void forward(std::span<const SequenceView> sequences, std::span<const TokenId> tokens,
               std::span<const std::uint32_t> wanted, float* logits, cudaStream_t stream);

  /// The final norm and the head over `count` rows (any number) of the residual stream `x` (device, count × hidden).
  void head(const float* x, std::uint32_t count, float* logits, cudaStream_t stream);

  /// S after the `sequence.count` tokens from `sequence.position` on whose rows stand in the ring, from s_in to s_out.
  void replay(const SequenceView& sequence, cudaStream_t stream);

  /// For measuring, where QWEN35_CUDA_TRACE is built in: from the first call on, persistent passes note one block's
  /// clock: at the beginning, then of each step after its activations are there and after its product, and after a
  /// layer's mixer. Returns those of the last such pass, which must have ended; nothing where it is not built in.
  [[nodiscard]] std::vector<long long> trace();

  /// Device memory held beside the weights.
  [[nodiscard]] std::size_t memory_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qwen35::cuda
