#include "backend/state_shape.h"

#include <algorithm>

namespace qwen35 {

StateShape::StateShape(const ModelConfig& config, bool binary16)
    : conv_rows(config.conv_kernel - 1),
      conv_channels(config.conv_channels()),
      value_heads(config.linear_value_heads),
      key_dim(config.linear_key_dim),
      value_dim(config.linear_value_dim),
      kv_heads(config.num_kv_heads),
      head_dim(config.head_dim),
      f16(binary16) {
  for (const LayerKind kind : config.layers) layers += kind == LayerKind::linear_attention ? 'l' : 'f';
  linear_layers = static_cast<std::size_t>(std::count(layers.begin(), layers.end(), 'l'));
  full_layers = layers.size() - linear_layers;
}

}  // namespace qwen35
