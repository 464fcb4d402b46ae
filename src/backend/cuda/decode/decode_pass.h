#pragma once

// What a decode pass is given.

#include "backend/cuda/device/device_model.h"

namespace qwen35::cuda {

/// Threads of a block that compute; where weights come by way of the ring, a warp more fetches them.
inline constexpr std::uint32_t kThreads = 512;
inline constexpr std::uint32_t kWarps = kThreads / kLanes;
inline constexpr std::uint32_t kRingThreads = kThreads + kLanes;
/// Stages of the ring, at most.
inline constexpr std::uint32_t kRingLog2 = 5;

/// Rows that one block computes together, and rows of one pass.
inline constexpr std::uint32_t kGroupRows = 8;
inline constexpr std::uint32_t kPassRows = 64;
/// Keys of one piece of attention. Fixed, so that a token's result depends on its own position alone.
inline constexpr std::uint32_t kSplitKeys = 128;
/// Of the MLP's inner activations, so that large ones stay inside binary16.
inline constexpr float kInnerScale = 1.0F / 16;

/// Where steps leave what the next one reads. In a persistent kernel eight bytes a value, and two of each, by the
/// layer's parity: a block may be at most one layer behind another, because each has a part of every gate_up. In a pass
/// of many kernels (batch.h) four bytes a value, and the first of each alone.
struct DecodeBuffers {
  void* in[2];     ///< rows × in_floats
  void* mixed[2];  ///< rows × mixed_floats: y, or the result of attention before its gate
  void* out[2];    ///< rows × hidden: what out adds to x; of many kernels its strands (batch_product.h)
  void* inner[2];  ///< rows × intermediate
  void* down[2];   ///< the same of down
  void* part[2];   ///< rows × heads × splits × head_dim: sums over the keys of a split
  void* scale[2];  ///< rows × heads × splits × 2: their largest score and their sum of weights
  float* x;        ///< rows × hidden: the residual stream, of many kernels
  // Of passes in many kernels: activations of a product as fragments, made once. The group of rows 8 g … is at word
  // g · 8 · (128 · the product's units), as Fragments<8> (decode_link.cuh).
  std::uint32_t* act_x;      ///< of in, gate_up and the head
  std::uint32_t* act_mixed;  ///< of out
  std::uint32_t* act_inner;  ///< of down
  std::uint32_t in_floats, mixed_floats;
};

/// One pass, as kernels take it.
struct DecodeArgs {
  ModelSizes sizes;
  const DeviceLayer* layers;
  std::uint32_t layer_count;
  Matrix embedding, head;
  const float* final_norm;
  const double* frequencies;
  DecodeBuffers buffers;
  const float* head_x;  ///< not nullptr: only the head, over these rows
  float* logits;        ///< rows of vocabulary floats
  long long* trace;     ///< not nullptr: block 0 notes its clock there
  std::uint32_t tag;    ///< of this pass; layer l uses tag + l
  std::uint32_t rows, sequences;
  std::uint32_t splits;   ///< room of `part` for each row and head
  std::uint32_t combine;  ///< a row may have more than one split
  SequenceView sequence[kPassRows];
  std::int32_t token[kPassRows];
  std::int16_t logit_row[kPassRows];  ///< of a row of the pass, or -1
  std::uint8_t sequence_of[kPassRows];
};

/// Of a product's share that a block knows by heart (decode_product.cuh).
inline constexpr std::uint32_t kWavesBytes = 24;

/// Room for a copy of the layers in a block's memory.
inline constexpr std::uint32_t kLayersBytes = 16384;

/// Memory of a block: byte offsets, decided on the host.
struct DecodeLayout {
  std::uint32_t pass;      ///< a copy of what the kernel was given (DecodeMemory)
  std::uint32_t barriers;  ///< two a stage of the ring: full, empty
  std::uint32_t layers;    ///< a copy of the layers, or ~0: too many (never where sizes are known in advance)
  std::uint32_t waves;     ///< 4 × layers + 1 of Waves, kWavesBytes each
  std::uint32_t totals;    ///< rows × (hidden / 64) floats, or heads' scales
  std::uint32_t rotary;    ///< rows × rotary_dim floats: cosine, sine
  std::uint32_t x;         ///< rows × hidden floats
  std::uint32_t scratch;   ///< activations of a product, or what a mixer needs
  std::uint32_t ahead;     ///< what a linear layer's mixer reads, fetched before it is needed (sizes known in advance)
  std::uint32_t sums;
  std::uint32_t sum_floats;
  std::uint32_t ring;
  std::uint32_t stage_bytes, ring_log2;
  std::uint32_t arriving;  ///< lanes of a warp that tell that it has read a stage: one does
  std::uint32_t bytes;
};

/// What a persistent block keeps of its parameters, in its memory: read from there they take no registers.
struct DecodeMemory {
  DecodeArgs args;
  DecodeLayout layout;
};

enum class Step : std::uint32_t { in, mix, combine, out, gate_up, down, head };

}  // namespace qwen35::cuda
