#pragma once

#include <cstdint>
#include <vector>

#include "backend/cuda/device/layout.h"

namespace qwen35::cuda {

/// Sizes of the model (model page, section 1), as kernels take them.
struct ModelSizes {
  std::uint32_t hidden = 0, intermediate = 0, vocabulary = 0;
  std::uint32_t linear_layers = 0, full_layers = 0;
  std::uint32_t heads = 0, kv_heads = 0, head_dim = 0, rotary_dim = 0;
  std::uint32_t key_heads = 0, value_heads = 0, key_dim = 0, value_dim = 0, conv_kernel = 0;
  float eps = 0;

  /// Channels of the convolution: q, k, v.
  [[nodiscard]] QWEN35_HD std::uint32_t conv_channels() const {
    return 2 * key_heads * key_dim + value_heads * value_dim;
  }
  /// Floats of a row of the ring (layout.h).
  [[nodiscard]] QWEN35_HD std::uint32_t ring_floats() const { return conv_channels() + 2 * value_heads; }
  [[nodiscard]] QWEN35_HD std::uint32_t z_floats() const { return value_heads * value_dim; }
  /// Rows of a linear layer's input product: qkv, b, a (a row of the ring), then z.
  [[nodiscard]] QWEN35_HD std::uint32_t linear_in_rows() const { return ring_floats() + z_floats(); }
  /// Rows of a full layer's: q_proj (per head: query, gate), k_proj, v_proj.
  [[nodiscard]] QWEN35_HD std::uint32_t full_in_rows() const { return head_dim * (2 * heads + 2 * kv_heads); }
  [[nodiscard]] QWEN35_HD std::uint32_t s_floats() const { return value_heads * value_dim * key_dim; }
};

/// One layer; all pointers into device memory.
struct DeviceLayer {
  bool linear = false;
  std::uint32_t index = 0;            ///< among the layers of its kind
  const float* input_norm = nullptr;  ///< hidden
  const float* post_norm = nullptr;   ///< hidden
  Matrix in;                          ///< linear_in_rows() or full_in_rows() × hidden
  Matrix out;                         ///< hidden × value_heads · value_dim, or × heads · head_dim
  Matrix gate_up;                ///< 2 · intermediate × hidden: of each 8 rows, 4 of gate_proj, the same 4 of up_proj
  Matrix down;                   ///< hidden × intermediate
  const float* conv = nullptr;   ///< linear: conv_kernel × conv_channels, oldest tap first
  const float* decay = nullptr;  ///< linear: value_heads: exp(A_log)
  const float* dt_bias = nullptr;     ///< linear: value_heads
  const float* gated_norm = nullptr;  ///< linear: value_dim
  const float* q_norm = nullptr;      ///< full: head_dim
  const float* k_norm = nullptr;      ///< full: head_dim
};

/// A model whose weights lie in device memory.
struct DeviceModel {
  ModelSizes sizes;
  std::vector<DeviceLayer> layers;
  Matrix embedding;                     ///< vocabulary × hidden
  Matrix head;                          ///< the same memory as `embedding` where they are tied
  const float* final_norm = nullptr;    ///< hidden
  const double* frequencies = nullptr;  ///< rotary_dim / 2: theta^(-2 i / rotary_dim)
};

}  // namespace qwen35::cuda
