#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/device/device_model.h"
#include "backend/cuda/state/device_heap.h"
#include "backend/shared_block.h"
#include "backend/snapshot_bytes.h"
#include "backend/state_shape.h"

namespace qwen35::cuda {

/// The sizes of what a state holds (layout.h), and where its memory comes from. One a backend; states and snapshots
/// hold it.
struct StateMemory {
  /// Throws as check() does.
  StateMemory(const ModelConfig& config, const ModelSizes& model_sizes);

  StateShape shape;
  ModelSizes sizes;
  std::shared_ptr<DeviceHeap> heap;
  std::shared_ptr<BlockPool> pool;

  /// Bytes of S of all linear layers, of the ring, of a page. At least 1, so that there is a block.
  [[nodiscard]] std::size_t s_bytes() const;
  [[nodiscard]] std::size_t ring_bytes() const;
  [[nodiscard]] std::size_t page_bytes() const;
};

/// What a state and a snapshot hold. Of no meaning at position 0.
struct Timeline {
  std::size_t tokens = 0;
  SharedBlock s;
  SharedBlock ring;
  std::vector<SharedBlock> pages;  ///< of kPageTokens positions; those past `tokens` are kept for reuse

  [[nodiscard]] std::size_t memory_bytes() const;
};

struct CudaState final : State {
  explicit CudaState(std::shared_ptr<const StateMemory> from) : memory(std::move(from)) {}

  std::shared_ptr<const StateMemory> memory;
  Timeline now;
  /// Tokens of the verification pass that has just been, and S before it (empty: zeros). A snapshot ends it too,
  /// because the rows are then shared.
  mutable std::size_t verified = 0;
  SharedBlock before;
  bool foreign = false;                    ///< some of the blocks may be another backend's
  SharedBlock table;                       ///< device memory: pointers to pages
  std::vector<const std::byte*> in_table;  ///< what stands in it

  /// A pass over `count` tokens, made ready: everything it needs is there, and copies and clearing are on the stream.
  /// Must be held until the stream is done with the pass.
  struct Pass {
    SequenceView view;
    SharedBlock s, ring;
    std::vector<SharedBlock> held;  ///< what copies on the stream still read
  };
  /// Throws as check() does, before anything that the state means is changed (but keep() is then refused).
  [[nodiscard]] Pass begin_pass(std::size_t count, bool verify, std::uint32_t first, cudaStream_t stream);
  /// The pass is computed.
  void end_pass(Pass pass, std::size_t count, bool verify);
  /// After a verification pass: only the first `count` of its tokens. Returns what Decoder::replay() takes.
  [[nodiscard]] SequenceView cut_back(std::size_t count);

  [[nodiscard]] std::size_t position() const override { return now.tokens; }
  [[nodiscard]] std::size_t memory_bytes() const override;

 private:
  void claim_pages(std::size_t count, Pass& pass, cudaStream_t stream);
  void update_table(std::size_t pages, Pass& pass, cudaStream_t stream);
};

struct CudaSnapshot final : Snapshot {
  explicit CudaSnapshot(std::shared_ptr<const StateMemory> from) : memory(std::move(from)) {}

  std::shared_ptr<const StateMemory> memory;
  Timeline at;
  bool foreign = false;  ///< as CudaState

  [[nodiscard]] std::size_t position() const override { return at.tokens; }
  [[nodiscard]] std::size_t memory_bytes() const override { return at.memory_bytes(); }
};

/// A share in everything the state holds; costs no copying.
std::unique_ptr<CudaSnapshot> take_snapshot(const CudaState& state);
/// Throws invalid_argument when the shapes differ.
void restore_snapshot(CudaState& state, const CudaSnapshot& snapshot);
/// Position 0; memory that only this state holds is kept.
void reset_state(CudaState& state);

/// As Backend says; through the host, beside running passes.
void write_snapshot(const CudaSnapshot& snapshot, const ByteSink& sink);
std::unique_ptr<CudaSnapshot> read_snapshot(std::span<const std::byte> bytes,
                                            const std::shared_ptr<const StateMemory>& memory,
                                            std::size_t max_positions);

}  // namespace qwen35::cuda
