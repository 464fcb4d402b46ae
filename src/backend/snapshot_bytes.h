#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "backend/state_shape.h"

namespace qwen35 {

// A stored snapshot, all numbers little endian:
//     position   uint64
//     and, unless it is 0,
//     linear layers in order   conv inputs (conv_rows × conv_channels, oldest first), then S (heads × key × value)
//     full layers in order     keys (kv_heads × position × head_dim), then values
// float32 but for binary16 keys and values.

using ByteSink = std::function<void(std::span<const std::byte>)>;

/// What Backend::snapshot_format says for a backend of `kind`.
std::string snapshot_format(std::string_view kind, const StateShape& shape);

/// Bytes of the linear layers' part at `position`.
std::size_t stored_recurrent_bytes(const StateShape& shape, std::size_t position);

void write_position(std::size_t position, const ByteSink& sink);

/// The position of a stored snapshot, checked: the bytes after it are exactly those of `shape` at that position.
/// Throws bad_file.
std::size_t read_position(std::span<const std::byte> bytes, const StateShape& shape, std::size_t max_positions);

/// The next floats.size() floats of `bytes`, which moves on. There must be as many.
void read_floats(std::span<const std::byte>& bytes, std::span<float> floats);

}  // namespace qwen35
