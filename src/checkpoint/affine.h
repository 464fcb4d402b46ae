#pragma once

#include <cstddef>
#include <cstdint>

namespace qwen35 {

/// MLX affine quantisation of one group of weights (model page, section 3): value ≈ scale · q + bias with q unsigned of
/// `bits` bits. Value i of the group sits in bits [i·bits, (i+1)·bits) of its words read as one little-endian stream; a
/// group of 32, 64 or 128 values always fills whole words, so the groups of a row simply follow each other.
///
/// The rule is the one of MLX's CPU quantiser: the scale spans the range of the group, the edge of larger magnitude is
/// made exactly representable (it becomes the bias, and the scale is stretched so that zero falls on an integer q), and
/// q rounds half to even. Arithmetic is float32. `packed` is computed from the unrounded scale and bias; both are
/// rounded to bf16 only as they are stored, as MLX does.
struct AffineGroup {
  float scale = 0;
  float bias = 0;
};

/// Quantises `count` finite values (32, 64 or 128) into count · bits / 32 words.
AffineGroup quantize_group(const float* values, std::size_t count, int bits, std::uint32_t* packed);

/// The way back: scale · q + bias, each operation rounded to float32.
void dequantize_group(const std::uint32_t* packed, int bits, std::size_t count, float scale, float bias, float* values);

}  // namespace qwen35
