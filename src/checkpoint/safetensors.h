#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qwen35 {

/// The element types a safetensors header may name.
enum class DType : std::uint8_t {
  boolean,
  u8,
  i8,
  f8_e5m2,
  f8_e4m3,
  u16,
  i16,
  f16,
  bf16,
  u32,
  i32,
  f32,
  u64,
  i64,
  f64
};

/// Bytes an element takes.
std::size_t dtype_size(DType type);
/// The name in the header, e.g. "BF16".
std::string_view dtype_name(DType type);

/// One entry of the header, checked: the product of `shape` times the element size equals end - begin without overflow.
struct TensorEntry {
  std::string name;
  DType dtype = DType::bf16;
  std::vector<std::size_t> shape;
  std::size_t begin = 0;  ///< first byte, counted from the start of the body; a multiple of the element size
  std::size_t end = 0;    ///< one past the last byte, at most the body's size
};

struct SafetensorsHeader {
  std::vector<TensorEntry> tensors;  ///< in the order of their bytes
  std::size_t body = 0;              ///< where the body starts in the file; need not be aligned
  std::string format;                ///< __metadata__.format, "pt" or "mlx" as a rule, or empty
};

/// Reads and checks the header of a whole safetensors file: 8 bytes little-endian length, a JSON object, the body. As
/// in the format's definition the tensors must cover the body exactly, without a gap, an overlap or a repeated name.
/// Throws bad_file naming `source` and the tensor.
SafetensorsHeader parse_safetensors(std::span<const std::byte> file, std::string_view source);

/// "[512, 64]".
std::string shape_text(std::span<const std::size_t> shape);

}  // namespace qwen35
