#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace qwen35 {

enum class LayerKind { linear_attention, full_attention };

/// What config.json says of affine quantisation; bits == 0: the checkpoint states none.
struct Quantization {
  int bits = 0;
  int group_size = 0;
};

/// The sizes of one Qwen3.5 text model. Every number is checked to be sane (positive, divisible where it must be,
/// below absurd limits) before a ModelConfig exists, so the rest of the program may trust products of them.
struct ModelConfig {
  std::size_t vocab_size = 0;
  std::size_t hidden_size = 0;
  std::size_t intermediate_size = 0;
  std::vector<LayerKind> layers;  ///< one entry a layer
  std::size_t num_heads = 0;      ///< query heads of full attention
  std::size_t num_kv_heads = 0;
  std::size_t head_dim = 0;
  std::size_t rotary_dim = 0;  ///< even; the first rotary_dim values of a head are rotated
  std::size_t linear_key_heads = 0;
  std::size_t linear_value_heads = 0;  ///< a multiple of linear_key_heads
  std::size_t linear_key_dim = 0;
  std::size_t linear_value_dim = 0;
  std::size_t conv_kernel = 0;  ///< taps of the causal convolution, >= 1
  double rope_theta = 0;
  float rms_norm_eps = 0;
  bool tie_word_embeddings = true;
  std::size_t max_positions = 0;
  Quantization quantization;

  [[nodiscard]] std::size_t num_layers() const { return layers.size(); }
  /// Channels of the convolution: q, k and v of all heads, in that order.
  [[nodiscard]] std::size_t conv_channels() const {
    return 2 * linear_key_heads * linear_key_dim + linear_value_heads * linear_value_dim;
  }
};

/// Reads the three forms of config.json (model page, section 1). `source` names the text in errors.
/// Throws bad_file for malformed JSON or impossible sizes, unsupported for another architecture.
ModelConfig parse_config(std::string_view json, std::string_view source);
ModelConfig read_config(const std::filesystem::path& folder);

}  // namespace qwen35
