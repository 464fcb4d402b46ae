#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "checkpoint/weights.h"

namespace qwen35 {

/// How many of a checkpoint's matrices are stored in one way.
struct StorageShare {
  std::string name;  ///< "bf16", "4 bits, groups of 64"
  std::size_t matrices = 0;
  std::size_t weights = 0;
  std::size_t bytes = 0;  ///< scales and biases included
};

/// What a person wants to know of a checkpoint before running it. All sizes in bytes.
struct CheckpointInfo {
  std::size_t parameters = 0;        ///< a tied head counted once
  std::vector<StorageShare> shares;  ///< most bytes first
  std::size_t matrix_bytes = 0;
  double bits_per_weight = 0;  ///< of the matrices, scales and biases included
  /// Read for one decoded token: every projection and the head once, and one row of an untied embedding.
  std::size_t bytes_per_token = 0;
  /// Whatever the length: float32 S and the last taps - 1 conv inputs of every linear layer.
  std::size_t state_bytes = 0;
  /// For each token of context: f16 keys and values of every full layer.
  std::size_t kv_bytes_per_token = 0;
};

CheckpointInfo describe(const ModelWeights& weights);

}  // namespace qwen35
