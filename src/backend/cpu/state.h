#pragma once

#include <cstddef>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/kv_cache.h"
#include "backend/shared_block.h"
#include "backend/snapshot_bytes.h"
#include "backend/state_shape.h"

namespace qwen35::cpu {

/// Tokens of a pass up to which each is computed exactly as it would be alone, and what a verification pass takes.
inline constexpr std::size_t kFewTokens = 8;

/// One linear-attention layer in a pass: where it reads what it remembers and where it leaves it, which may be the same
/// place. nullptr to read: zeros.
struct LinearState {
  const float* conv_before;  ///< conv_kernel - 1 rows of conv_channels inputs, oldest first
  const float* s_before;     ///< value_heads × key_dim × value_dim
  float* conv;
  float* s;
  const float* late;  ///< late_tokens × shape.input_floats(): tokens that come before those of the pass
  std::size_t late_tokens;
  float*
      verified;  ///< not nullptr: conv and s stay before the pass, whose tokens × input_floats go here (or on `late`)
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
  /// The last `late` of them (at most kFewTokens) are not yet in `recurrent`; their inputs are in `inputs`. A
  /// verification pass leaves all its tokens so: whatever number of them is kept, the next pass, which reads and writes
  /// S anyway, takes them along while S is in the caches.
  std::size_t late = 0;
  /// What the linear layers remember of the tokens before: all S, then all conv inputs. Of no meaning without such
  /// tokens: everything is zero then. A snapshot takes a share in it; the next pass then leaves its results in another
  /// block, so that nothing is ever copied for its own sake.
  SharedBlock recurrent;
  SharedBlock inputs;         ///< linear layers × kFewTokens × input_floats; empty: never needed
  std::vector<KvCache> full;  ///< one a full layer, in layer order
  /// Tokens of the verification pass that has just been; a snapshot ends it too, because the rows are then shared.
  mutable std::size_t verified = 0;

  /// Where a pass over all layers leaves its results: what the state holds, when nobody else does.
  struct Pass {
    SharedBlock recurrent;
    SharedBlock inputs;  ///< of a verification pass
  };
  [[nodiscard]] Pass begin_pass(bool verify);
  /// Linear layer `layer` in that pass.
  [[nodiscard]] LinearState linear(std::size_t layer, const Pass& pass) const;
  void end_pass(Pass pass, std::size_t pass_tokens);
  /// After a verification pass: only the first `count` of its tokens.
  void keep(std::size_t count);

  [[nodiscard]] std::size_t position() const override { return tokens; }
  [[nodiscard]] std::size_t memory_bytes() const override;
};

struct CpuSnapshot final : Snapshot {
  explicit CpuSnapshot(const StateShape& own_shape) : shape(own_shape) {}

  StateShape shape;
  std::size_t tokens = 0;
  std::size_t late = 0;   ///< as CpuState
  SharedBlock recurrent;  ///< empty when all tokens are late
  SharedBlock inputs;     ///< empty when none is
  std::vector<KvCache> full;

  [[nodiscard]] std::size_t position() const override { return tokens; }
  [[nodiscard]] std::size_t memory_bytes() const override;
};

/// What the pool of a backend should keep: what a state leaves when it goes back to a snapshot, and as much of a
/// snapshot that is dropped for a newer one.
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
