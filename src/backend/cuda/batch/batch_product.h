#pragma once

// y = W x of a decode pass for up to 64 rows at once, in a kernel of its own.

#include <cuda_runtime_api.h>

#include <cstdint>
#include <vector>

#include "backend/cuda/decode/decode_pass.h"

namespace qwen35::cuda {

/// The sums of every fourth unit of a tile make a strand; strands are added up as (0 + 1) + (2 + 3).
inline constexpr std::uint32_t kStrands = 4;
/// Tiles of a warp; tiles of a block at most.
inline constexpr std::uint32_t kQuad = 4;
inline constexpr std::uint32_t kBlockTiles = 16;
/// Threads of a block at most.
inline constexpr std::uint32_t kBatchThreads = 16 * kLanes;

/// A product as its kernel takes it: a block takes `tiles` tiles by `groups` groups of eight rows. Blocks along x share
/// the tiles out, along y the groups of rows, along z (where `split`) the strands.
struct BatchProduct {
  Matrix m;
  Step step = Step::in;
  std::uint32_t ring_layer = 0;  ///< in: index among the linear layers, or ~0
  std::uint32_t groups_all = 0;  ///< of rows, of the pass
  std::uint32_t tiles = 0;       ///< 4, 8, 12 or 16
  std::uint32_t groups = 0;
  std::uint32_t warp_groups = 0;  ///< of a warp: 1, 2 or 4
  bool split = false;             ///< a block has one strand, and leaves it as it is (out and down)
  bool resident = false;          ///< activations stay in the block's memory; else each stage brings its own
  std::uint32_t stages = 0;       ///< of the ring
  std::uint32_t stage_bytes = 0;
  std::uint32_t sums = 0, activations = 0, ring = 0;  ///< byte offsets in the block's memory
  std::uint32_t exchange = 0;                         ///< too; where a block has one turn, on top of activations
  // How it is started.
  std::uint32_t blocks = 0;  ///< along x
  std::uint32_t bytes = 0;   ///< of the block's memory
  double cycles = 0;         ///< that it is thought to take

  [[nodiscard]] QWEN35_HD std::uint32_t strands() const { return split ? 1 : kStrands; }  ///< of a block
  [[nodiscard]] QWEN35_HD std::uint32_t strand_warps() const { return tiles / kQuad * (groups / warp_groups); }
  [[nodiscard]] QWEN35_HD std::uint32_t warps() const { return strands() * strand_warps(); }
};

/// What a GPU offers.
struct BatchDevice {
  std::uint32_t multiprocessors = 1;
  std::uint32_t shared_bytes = 0;  ///< of a block at most
  bool early = false;              ///< kernels may start before the one before them has ended
};

/// All shapes of `m`'s product for `groups` groups of rows that have room, for tests and measuring.
std::vector<BatchProduct> product_plans(const Matrix& m, Step step, std::uint32_t ring_layer, std::uint32_t groups,
                                        const BatchDevice& device);
/// The shape of `m`'s product for `groups` groups of rows that takes the least time, by the bytes that all blocks read
/// and the products they compute. Throws Error (unsupported) when no block has room for it.
BatchProduct plan_product(const Matrix& m, Step step, std::uint32_t ring_layer, std::uint32_t groups,
                          const BatchDevice& device);

/// Once for each plan, before it is launched; `device`: the thread's. Throws as check().
void prepare_product(const BatchProduct& product, const BatchDevice& device);

/// Puts it on `stream`. Activations are act_x (in, gate_up, head), act_mixed (out) or act_inner (down) of the pass's
/// buffers; sums go to in[0] and the rings (in), act_inner (gate_up), the logits (head), or, as strands
/// (strand · kPassRows + row) · hidden and not yet times the matrix's factor, to out[0] and down[0]. Throws as check().
void launch_product(const DecodeArgs* pass, const BatchProduct& product, bool early, cudaStream_t stream);

/// The kernel for a format, by the groups of rows of a warp; nullptr when there is none.
using BatchKernel = void (*)(const DecodeArgs*, BatchProduct);
BatchKernel batch_product_16(std::uint32_t group, std::uint32_t warp_groups);
BatchKernel batch_product_4(std::uint32_t group, std::uint32_t warp_groups);
BatchKernel batch_product_5(std::uint32_t group, std::uint32_t warp_groups);
BatchKernel batch_product_6(std::uint32_t group, std::uint32_t warp_groups);
BatchKernel batch_product_8(std::uint32_t group, std::uint32_t warp_groups);

}  // namespace qwen35::cuda
