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

void write_position(const StoredPosition& position, const ByteSink& sink) {
  const std::array<std::uint64_t, 2> values{position.tokens, position.late};
  sink(std::as_bytes(std::span(values)));
}

StoredPosition read_position(std::span<const std::byte>& bytes, const StateShape& shape, std::size_t max_positions,
                             std::size_t max_late) {
  const auto refuse = [](const std::string& what) {
    throw Error(ErrorCode::bad_file, "a stored snapshot " + what + "; it is damaged or of another model");
  };
  std::array<std::uint64_t, 2> values{};
  if (bytes.size() < sizeof(values)) refuse("of " + std::to_string(bytes.size()) + " bytes holds no position");
  std::memcpy(values.data(), bytes.data(), sizeof(values));
  bytes = bytes.subspan(sizeof(values));
  if (values[0] > max_positions) {
    refuse("stands at position " + std::to_string(values[0]) + ", past the model's limit of " +
           std::to_string(max_positions));
  }
  if (values[1] > max_late || values[1] > values[0]) {
    refuse("has " + std::to_string(values[1]) + " late tokens; expected at most " + std::to_string(max_late) +
           " of its " + std::to_string(values[0]));
  }
  const StoredPosition position{static_cast<std::size_t>(values[0]), static_cast<std::size_t>(values[1])};
  const std::size_t fixed = sizeof(float) * ((position.tokens > position.late ? shape.recurrent_floats() : 0) +
                                             position.late * shape.linear_layers * shape.input_floats());
  const std::size_t growing = bytes.size() < fixed ? 0 : bytes.size() - fixed;
  // By division: position · position_bytes may not fit.
  const std::size_t each = shape.position_bytes();
  const bool none = each == 0 || position.tokens == 0;
  const bool fits = none ? growing == 0 : growing % each == 0 && growing / each == position.tokens;
  if (bytes.size() < fixed || !fits) {
    refuse("at position " + std::to_string(position.tokens) + " has " + std::to_string(bytes.size()) +
           " bytes after it; expected " + std::to_string(fixed) + " and " + std::to_string(each) +
           " for each position");
  }
  return position;
}

void read_floats(std::span<const std::byte>& bytes, std::span<float> floats) {
  std::memcpy(floats.data(), bytes.data(), floats.size_bytes());
  bytes = bytes.subspan(floats.size_bytes());
}

}  // namespace qwen35
