#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/config.h"

namespace qwen35 {

/// How a tensor is stored and what a converter does with it.
enum class TensorRole : std::uint8_t {
  matrix,             ///< rows × cols of a projection or the embedding: may be quantised
  zero_centred_norm,  ///< Hugging Face stores w and applies 1 + w; MLX stores what is applied
  gated_norm,         ///< stored as applied everywhere
  conv,               ///< depthwise taps: [channels, 1, taps] in Hugging Face files, [channels, taps, 1] in MLX ones
  vector,             ///< A_log, dt_bias
};

/// One tensor of the text model by its plain name ("layers.0.mlp.gate_proj.weight", "lm_head.weight").
struct TensorSpec {
  std::string name;
  TensorRole role = TensorRole::matrix;
  std::vector<std::size_t> shape;  ///< as Hugging Face stores it
};

/// Every tensor a checkpoint of this configuration must hold, sorted by Hugging Face name; lm_head only when untied.
std::vector<TensorSpec> text_tensors(const ModelConfig& config);

/// The name transformers gives a tensor or module of the text-only model: "model." before all but lm_head.
std::string hugging_face_name(std::string_view plain);

/// Takes the prefix off a tensor or module name: `model.language_model.`, `language_model.model.`, `language_model.`,
/// `model.` or none.
std::string_view plain_name(std::string_view name);

/// True for tensors of the vision tower and the multi-token prediction head, which this engine does not read.
bool belongs_to_other_model(std::string_view name);

}  // namespace qwen35
