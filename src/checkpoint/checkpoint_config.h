#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "checkpoint/config.h"

namespace qwen35 {

/// config.json as the reader of the weights needs it: the sizes, and what the file left unsaid.
struct CheckpointConfig {
  ModelConfig model;
  bool states_tying = false;  ///< false: an lm_head among the tensors decides
  /// Quantisation of single modules by plain name ("layers.0.mlp.down_proj"); nullopt: not quantised.
  std::map<std::string, std::optional<Quantization>, std::less<>> overrides;

  /// What applies to a module: its override, else the model's, else what MLX checkpoints that state nothing use (4 bits
  /// in groups of 64). nullopt: stated as not quantised.
  [[nodiscard]] std::optional<Quantization> quantization_of(std::string_view module) const;
};

/// As parse_config and read_config.
CheckpointConfig parse_checkpoint_config(std::string_view json, std::string_view source);
CheckpointConfig read_checkpoint_config(const std::filesystem::path& folder);

/// Affine layouts that exist: 2, 3, 4, 5, 6 or 8 bits in groups of 32, 64 or 128.
bool is_affine_layout(std::uint64_t bits, std::uint64_t group_size);

}  // namespace qwen35
