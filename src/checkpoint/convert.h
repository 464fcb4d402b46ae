#pragma once

#include <filesystem>

#include "checkpoint/checkpoint_writer.h"

namespace qwen35 {

struct ConvertOptions {
  std::filesystem::path source;       ///< a Hugging Face folder, or an MLX one that is not quantised
  std::filesystem::path destination;  ///< must not exist
  Quantization quantization{4, 64};   ///< bits == 0: bf16
  int threads = 0;
  WriteProgress progress;
};

/// Writes an MLX checkpoint: the embedding and every projection quantised (those whose columns the group does not
/// divide stay bf16), conv as [C, taps, 1], norms as applied, config.json with its quantisation, tokenizer and
/// generation files carried over. Returns false when `progress` stopped it; nothing is left behind then, nor on an
/// error. Throws unsupported for a source that is quantised already, and as load_weights and write_tensors do.
bool convert(const ConvertOptions& options);

}  // namespace qwen35
