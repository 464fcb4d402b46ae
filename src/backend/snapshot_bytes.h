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
//     late       uint64: how many tokens the recurrent part lacks, of which it has the inputs instead
//     linear layers in order   conv inputs (conv_rows × conv_channels, oldest first) and S (heads × key × value) before
//                              the late tokens, absent when there are no tokens before; late × input_floats
//     full layers in order     keys (kv_heads × position × head_dim), then values
// float32 but for binary16 keys and values.

using ByteSink = std::function<void(std::span<const std::byte>)>;

/// What Backend::snapshot_format says for a backend of `kind`.
std::string snapshot_format(std::string_view kind, const StateShape& shape);

struct StoredPosition {
  std::size_t tokens = 0;
  std::size_t late = 0;
};

void write_position(const StoredPosition& position, const ByteSink& sink);

/// The position of a stored snapshot, checked: at most max_positions and max_late, and the bytes after it, to which
/// `bytes` moves on, are exactly those of `shape` there. Throws bad_file.
StoredPosition read_position(std::span<const std::byte>& bytes, const StateShape& shape, std::size_t max_positions,
                             std::size_t max_late);

/// The next floats.size() floats of `bytes`, which moves on. There must be as many.
void read_floats(std::span<const std::byte>& bytes, std::span<float> floats);

}  // namespace qwen35
