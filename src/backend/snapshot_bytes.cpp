#include "backend/snapshot_bytes.h"

#include <qwen35/error.h>

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace qwen35 {

// Floats are written as they stand in memory.
static_assert(std::endian::native == std::endian::little, "stored snapshots are little endian");

std::string snapshot_format(std::string_view kind, const StateShape& shape) {
  const auto number = [](std::size_t n) { return std::to_string(n); };
  const std::string linear = shape.layers + ", linear: conv f32 " + number(shape.conv_rows) + " x " +
                             number(shape.conv_channels) + ", S f32 " + number(shape.value_heads) + " x " +
                             number(shape.key_dim) + " x " + number(shape.value_dim);
  const std::string full = std::string(", full: keys and values ") + (shape.f16 ? "f16 " : "f32 ") +
                           number(shape.kv_heads) + " x position x " + number(shape.head_dim);
  return std::string(kind) + " 1, layers " + linear + full;
}

std::size_t stored_recurrent_bytes(const StateShape& shape, std::size_t position) {
  return position == 0 ? 0 : shape.recurrent_floats() * sizeof(float);
}

void write_position(std::size_t position, const ByteSink& sink) {
  const std::uint64_t value = position;
  sink(std::as_bytes(std::span(&value, 1)));
}

std::size_t read_position(std::span<const std::byte> bytes, const StateShape& shape, std::size_t max_positions) {
  const auto refuse = [](const std::string& what) {
    throw Error(ErrorCode::bad_file, "a stored snapshot " + what + "; it is damaged or of another model");
  };
  std::uint64_t position = 0;
  if (bytes.size() < sizeof(position)) refuse("of " + std::to_string(bytes.size()) + " bytes holds no position");
  std::memcpy(&position, bytes.data(), sizeof(position));
  if (position > max_positions) {
    refuse("stands at position " + std::to_string(position) + ", past the model's limit of " +
           std::to_string(max_positions));
  }
  const auto tokens = static_cast<std::size_t>(position);
  const std::size_t fixed = sizeof(position) + stored_recurrent_bytes(shape, tokens);
  const std::size_t growing = bytes.size() < fixed ? 0 : bytes.size() - fixed;
  // By division: position · position_bytes may not fit.
  const std::size_t each = shape.position_bytes();
  const bool fits = each == 0 || tokens == 0 ? growing == 0 : growing % each == 0 && growing / each == tokens;
  if (bytes.size() < fixed || !fits) {
    refuse("at position " + std::to_string(tokens) + " is " + std::to_string(bytes.size()) + " bytes long; expected " +
           std::to_string(fixed) + " and " + std::to_string(each) + " for each position");
  }
  return tokens;
}

void read_floats(std::span<const std::byte>& bytes, std::span<float> floats) {
  std::memcpy(floats.data(), bytes.data(), floats.size_bytes());
  bytes = bytes.subspan(floats.size_bytes());
}

}  // namespace qwen35
