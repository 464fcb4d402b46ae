#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "checkpoint/config.h"

namespace qwen35 {

enum class FloatType : std::uint8_t { bf16, f16, f32 };

/// A matrix of row-major floating-point values inside the map: rows × cols, no padding, aligned to its element size.
struct DenseMatrix {
  FloatType type = FloatType::bf16;
  const void* data = nullptr;
};

/// An MLX affine-quantised matrix inside the map (model page, section 3): value = scale · q + bias per group.
struct AffineMatrix {
  int bits = 0;                            ///< 2, 3, 4, 5, 6 or 8
  int group_size = 0;                      ///< 32, 64 or 128; divides cols
  const std::uint32_t* packed = nullptr;   ///< rows × (cols · bits / 32) words, a row one little-endian bit stream
  FloatType scale_type = FloatType::bf16;  ///< of scales and biases
  const void* scales = nullptr;            ///< rows × (cols / group_size)
  const void* biases = nullptr;            ///< likewise
};

/// y = W x, W of rows × cols, as the checkpoint stores it. Points into the map that ModelWeights keeps alive.
struct WeightMatrix {
  std::string name;  ///< the module as transformers names it: "model.layers.0.mlp.up_proj", "lm_head"
  std::size_t rows = 0;
  std::size_t cols = 0;
  std::variant<DenseMatrix, AffineMatrix> storage;

  [[nodiscard]] bool quantized() const { return std::holds_alternative<AffineMatrix>(storage); }
  /// Bytes the matrix takes in the checkpoint, scales and biases included.
  [[nodiscard]] std::size_t bytes() const;
  /// Writes row `row` (< rows) as cols floats, dequantised in float32: scale · q + bias, rounded once a product, once a
  /// sum.
  void row(std::size_t row, float* out) const;
};

struct LinearAttentionWeights {
  WeightMatrix in_proj_qkv;    ///< conv_channels × hidden
  WeightMatrix in_proj_z;      ///< value_heads · value_dim × hidden
  WeightMatrix in_proj_b;      ///< value_heads × hidden
  WeightMatrix in_proj_a;      ///< value_heads × hidden
  WeightMatrix out_proj;       ///< hidden × value_heads · value_dim
  std::vector<float> conv;     ///< conv_channels × conv_kernel, oldest tap first
  std::vector<float> a_log;    ///< value_heads
  std::vector<float> dt_bias;  ///< value_heads
  std::vector<float> norm;     ///< value_dim, as applied
};

struct FullAttentionWeights {
  WeightMatrix q_proj;        ///< num_heads · 2 · head_dim × hidden: per head, query values then gate values
  WeightMatrix k_proj;        ///< num_kv_heads · head_dim × hidden
  WeightMatrix v_proj;        ///< likewise
  WeightMatrix o_proj;        ///< hidden × num_heads · head_dim
  std::vector<float> q_norm;  ///< head_dim, as applied
  std::vector<float> k_norm;  ///< head_dim, as applied
};

struct LayerWeights {
  std::vector<float> input_norm;           ///< hidden, as applied (the 1 of 1 + w is in)
  std::vector<float> post_attention_norm;  ///< hidden, as applied
  std::variant<LinearAttentionWeights, FullAttentionWeights> mixer;
  WeightMatrix gate_proj;  ///< intermediate × hidden
  WeightMatrix up_proj;    ///< intermediate × hidden
  WeightMatrix down_proj;  ///< hidden × intermediate
};

/// All weights of one model. Matrices stay in the mapped files; small vectors are float copies.
struct ModelWeights {
  ModelConfig config;
  WeightMatrix embedding;  ///< vocab × hidden
  std::vector<LayerWeights> layers;
  std::vector<float> final_norm;        ///< hidden, as applied
  std::optional<WeightMatrix> lm_head;  ///< vocab × hidden; nullopt: tied to the embedding
  std::shared_ptr<const void> mapping;  ///< keeps the mapped files alive
  std::size_t parameters = 0;           ///< weights of the text model, tied ones counted once

  [[nodiscard]] const WeightMatrix& head() const { return lm_head ? *lm_head : embedding; }
  /// Every matrix once, in the order a token meets them, the embedding first and a separate head last.
  [[nodiscard]] std::vector<const WeightMatrix*> matrices() const;
};

/// Opens a Hugging Face or MLX checkpoint folder (model page, section 3) by mmap and checks every tensor against
/// config.json: names, dtypes, shapes, finite scales. Where config.json ties the head to the embedding, an lm_head in
/// the files is passed over; where it does not say, the presence of one decides. Throws bad_file naming file and
/// tensor, or not_found.
ModelWeights load_weights(const std::filesystem::path& folder);

/// Tells the system that the checkpoint's pages may leave memory (after a backend has packed its own copy).
void release_pages(const ModelWeights& weights) noexcept;
/// The same for one of its matrices. Neighbours that share a page are read again on their next use.
void release_pages(const ModelWeights& weights, const WeightMatrix& matrix) noexcept;

}  // namespace qwen35
