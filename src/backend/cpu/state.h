#pragma once

#include <cstddef>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/kv_cache.h"
#include "backend/cpu/shared_block.h"
#include "backend/snapshot_bytes.h"
#include "backend/state_shape.h"

namespace qwen35::cpu {

/// What one linear-attention layer remembers: where a pass reads it and where it leaves it, which may be the same
/// place. nullptr to read: zeros.
struct LinearState {
  const float* conv_before;  ///< conv_kernel - 1 rows of conv_channels inputs, oldest first
  const float* s_before;     ///< value_heads × key_dim × value_dim
  float* conv;
  float* s;
};

/// Where in the block of all linear layers a layer's floats stand: all S first (they begin at whole cache lines and,
/// with the usual shapes, at whole pages), then all conv inputs.
inline std::size_t s_offset(const StateShape& shape, std::size_t layer) { return layer * shape.s_floats(); }
inline std::size_t conv_offset(const StateShape& shape, std::size_t layer) {
  return shape.linear_layers * shape.s_floats() + layer * shape.conv_floats();
}

struct CpuState final : State {
  CpuState(const StateShape& own_shape, std::shared_ptr<BlockPool> pool);

  StateShape shape;
  std::shared_ptr<BlockPool> memory;
  std::size_t tokens = 0;
  /// What the linear layers remember: all S (they begin at whole cache lines and, with the usual shapes, at whole
  /// pages), then all conv inputs. Of no meaning at position 0, where everything is zero. A snapshot takes a share in
  /// it; the next pass then leaves its results in another block, so that nothing is ever copied for its own sake.
  SharedBlock recurrent;
  std::vector<KvCache> full;  ///< one a full layer, in layer order

  /// Where a pass over all layers leaves what the linear ones remember: `recurrent` itself when nobody else holds it.
  [[nodiscard]] SharedBlock next_recurrent();
  /// Linear layer `layer` in a pass that leaves its results in `next`.
  [[nodiscard]] LinearState linear(std::size_t layer, const SharedBlock& next) const;
  [[nodiscard]] std::size_t position() const override { return tokens; }
  [[nodiscard]] std::size_t memory_bytes() const override;
};

struct CpuSnapshot final : Snapshot {
  explicit CpuSnapshot(const StateShape& own_shape) : shape(own_shape) {}

  StateShape shape;
  std::size_t tokens = 0;
  SharedBlock recurrent;  ///< empty at position 0
  std::vector<KvCache> full;

  [[nodiscard]] std::size_t position() const override { return tokens; }
  [[nodiscard]] std::size_t memory_bytes() const override;
};

/// What the pool of a backend should keep: what a state leaves when it goes back to a snapshot, and the recurrent part
/// of a snapshot that is dropped for a newer one.
std::size_t pool_bytes(const StateShape& shape);

/// A share in everything the state holds; costs no copying.
std::unique_ptr<CpuSnapshot> take_snapshot(const CpuState& state);
/// As Backend says.
void write_snapshot(const CpuSnapshot& snapshot, const ByteSink& sink);
std::unique_ptr<CpuSnapshot> read_snapshot(std::span<const std::byte> bytes, const StateShape& shape,
                                           std::size_t max_positions, BlockPool& memory);
/// Throws invalid_argument when the shapes differ.
void restore_snapshot(CpuState& state, const CpuSnapshot& snapshot);
/// Position 0; memory that only this state holds is kept.
void reset_state(CpuState& state);

}  // namespace qwen35::cpu
