#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "sampling/sample_request.h"

namespace qwen35::cuda {

/// Chooses tokens from rows of logits in device memory; a word a row comes back to the host. To the bit what
/// Sampler::answer() makes of the same logits: the same floats in the same order, the same exponential, integer
/// weights, the same draws.
///
/// One kernel for all rows: each block takes 4096 logits of a row, applies the changes that fall there (what is barred,
/// bias, penalties) and keeps its best; the last block of a row to finish weighs the best of all and draws. Of rows
/// that follow one another the last one that is weighed draws for all, in their order. The tokens go straight into host
/// memory, where wait() looks for them: nobody synchronises.
///
/// One thread at a time. Throws as check() does.
class DeviceSampler {
 public:
  static constexpr std::uint32_t kMostRows = 64;  ///< of one enqueue()
  static constexpr std::uint32_t kMostTopK = 256;
  static constexpr std::size_t kMostMarks = 65536;  ///< tokens that one request's lists name, all together

  struct Row {
    const float* logits = nullptr;  ///< device memory, request->vocabulary floats or more; only read; any alignment
    SampleRequest* request = nullptr;
    /// The next token of the same reply as the row before: the generator goes on where that one's draw leaves it,
    /// whatever the request's own `random` says. Not for the first row.
    bool follows = false;
  };

  DeviceSampler();
  ~DeviceSampler();
  DeviceSampler(const DeviceSampler&) = delete;
  DeviceSampler& operator=(const DeviceSampler&) = delete;

  /// Whether it can answer: greedy or with top-k from 1 to kMostTopK, and lists that are not too long. The options
  /// must be those of a Sampler, which has checked them.
  [[nodiscard]] static bool supports(const SampleRequest& request);

  /// Asks for all the device memory that enqueue() of these rows needs, so that it does not fail for that later.
  void reserve(std::span<const Row> rows);
  /// Puts the choice of a token for each row on `stream`, behind whatever computes the logits, and does not wait.
  /// wait() must follow before the next enqueue(); the requests must live until then. Throws invalid_argument for no
  /// rows or too many, or a request that supports() denies.
  void enqueue(std::span<const Row> rows, cudaStream_t stream);
  /// Returns when all tokens are in their requests. Throws device when the GPU has failed; no request is touched then.
  void wait();
  /// Gives up what was put on a stream and not waited for; that stream must have nothing left to do.
  void forget() noexcept;

  /// Device memory held. 64 rows of 248,320 logits take 8 MB.
  [[nodiscard]] std::size_t memory_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qwen35::cuda
