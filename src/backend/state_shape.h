#pragma once

#include <cstddef>
#include <string>

#include "checkpoint/config.h"

namespace qwen35 {

/// What a state of one model holds, in numbers. States and snapshots of one kind of backend and of equal shapes fit
/// each other, whichever object made them.
struct StateShape {
  StateShape(const ModelConfig& config, bool binary16);
  bool operator==(const StateShape&) const = default;

  std::string layers;  ///< a letter a layer, in order: l linear, f full
  std::size_t linear_layers = 0;
  std::size_t conv_rows = 0;  ///< conv_kernel - 1
  std::size_t conv_channels = 0;
  std::size_t value_heads = 0, key_dim = 0, value_dim = 0;
  std::size_t full_layers = 0;
  std::size_t kv_heads = 0, head_dim = 0;
  bool f16 = false;  ///< keys and values are binary16, not float32

  [[nodiscard]] std::size_t conv_floats() const { return conv_rows * conv_channels; }
  [[nodiscard]] std::size_t s_floats() const { return value_heads * key_dim * value_dim; }
  /// What goes into one linear layer's recurrence for one token: the convolution's inputs, then b and a of each value
  /// head.
  [[nodiscard]] std::size_t input_floats() const { return conv_channels + 2 * value_heads; }
  /// Of all linear layers.
  [[nodiscard]] std::size_t recurrent_floats() const { return linear_layers * (conv_floats() + s_floats()); }
  /// Bytes of one position's keys and values in all full layers.
  [[nodiscard]] std::size_t position_bytes() const { return full_layers * 2 * kv_heads * head_dim * (f16 ? 2 : 4); }
};

}  // namespace qwen35
