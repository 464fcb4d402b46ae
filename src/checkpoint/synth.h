#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "checkpoint/checkpoint_writer.h"

namespace qwen35 {

/// Draws values [first, first + out.size()) of a tensor: bf16 values, uniform on an interval that its role sets.
///
/// Value i (from 0) comes from splitmix64 started at FNV-1a-64("SEED:NAME"), i + 1 steps on: its top 24 bits u become
/// lo + (hi - lo) · u · 2^-24 in float32, rounded to bf16. NAME is the Hugging Face name. The intervals are A_log
/// [0, log 16], dt_bias [-6, -1], gated norm [0.75, 1.25], other norms [-0.25, 0.25] (zero-centred), conv [-0.5, 0.5],
/// matrices ±sqrt(3 / columns). Any range of any tensor can be drawn alone.
void draw(const TensorSpec& tensor, std::uint64_t seed, std::size_t first, std::span<float> out);

struct SynthOptions {
  std::filesystem::path config;  ///< the config.json to draw for; copied
  std::filesystem::path destination;
  std::filesystem::path tokenizer;  ///< a tokenizer.json to copy, or empty
  std::uint64_t seed = 1;
  Quantization quantization;  ///< bits == 0: Hugging Face bf16; else MLX, quantised as convert does
  int threads = 0;
  WriteProgress progress;
};

/// Draws a whole checkpoint. Returns false when `progress` stopped it; nothing is left behind then, nor on an error.
/// Throws as PendingFolder, write_tensors and parse_config do.
bool synthesize(const SynthOptions& options);

}  // namespace qwen35
