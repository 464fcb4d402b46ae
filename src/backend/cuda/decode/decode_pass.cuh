#pragma once

// What every step of a decode pass works with.

#include <type_traits>

#include "backend/cuda/decode/decode_pass.h"
#include "backend/cuda/decode/decode_product.cuh"

namespace qwen35::cuda {

/// Sizes that are known when the code is compiled: those of Qwen3.5-0.8B. Everything else runs by ModelSizes.
struct Shape08B {
  static constexpr std::uint32_t hidden = 1024, intermediate = 3584, vocabulary = 248320;
  static constexpr std::uint32_t heads = 8, kv_heads = 2, head_dim = 256, rotary_dim = 64;
  static constexpr std::uint32_t key_heads = 16, value_heads = 16, key_dim = 128, value_dim = 128, conv_kernel = 4;
  __host__ __device__ static constexpr std::uint32_t conv_channels() { return 6144; }
  __host__ __device__ static constexpr std::uint32_t ring_floats() { return conv_channels() + 2 * value_heads; }
  __host__ __device__ static constexpr std::uint32_t z_floats() { return value_heads * value_dim; }
  static bool is(const ModelSizes& s) {
    return s.hidden == hidden && s.intermediate == intermediate && s.vocabulary == vocabulary && s.heads == heads &&
           s.kv_heads == kv_heads && s.head_dim == head_dim && s.rotary_dim == rotary_dim && s.key_heads == key_heads &&
           s.value_heads == value_heads && s.key_dim == key_dim && s.value_dim == value_dim &&
           s.conv_kernel == conv_kernel;
  }
};

/// What a kernel is compiled for. kRing: weights come by way of the ring. Shape: ModelSizes, or sizes known in advance.
/// kBits, kGroup: of all matrices, or 0: any. kRows: rows of the pass, or 0: any.
template <bool kRing_, typename Shape_, int kBits_, int kGroup_, std::uint32_t kRows_>
struct Config {
  static constexpr bool kRing = kRing_;
  using Shape = Shape_;
  static constexpr bool kFixed = !std::is_same_v<Shape, ModelSizes>;
  /// One token, sizes known: mixers of their own, made for latency.
  static constexpr bool kOne = kFixed && kRows_ == 1;
  static constexpr int kBits = kBits_;
  static constexpr int kGroup = kGroup_;
  static constexpr std::uint32_t kRows = kRows_;
  /// Units of a row of that many columns, where it is known in advance.
  __host__ __device__ static constexpr std::uint32_t units(std::uint32_t columns) {
    return kFixed ? columns / kUnitColumns : 0;
  }
};

template <typename Shape>
__device__ __forceinline__ decltype(auto) shape_of(const DecodeArgs& args) {
  if constexpr (std::is_same_v<Shape, ModelSizes>) {
    return (args.sizes);
  } else {
    return Shape{};
  }
}

/// One block in one pass.
template <typename C>
struct Block {
  const DecodeArgs& args;
  std::uint32_t block, blocks;
  std::uint32_t count;  ///< rows of the pass
  std::uint32_t thread, lane, warp;
  const DeviceLayer* layers;
  Waves* waves;  ///< of every product of the pass
  std::uint32_t sum_floats;
  std::uint32_t stage_bytes, ring_log2, arriving;
  std::uint8_t* stages;
  std::uint64_t* barriers;
  float* totals;
  float* rotary;
  float* x;
  std::uint32_t* scratch;
  float* ahead;
  float* sums;

  /// Layer `number`; the first one for the head, which does not look at it.
  [[nodiscard]] __device__ const DeviceLayer& layer(std::uint32_t number) const {
    return layers[number < args.layer_count ? number : 0];
  }
  [[nodiscard]] __device__ RingMemory ring() const {
    return {stages, barriers, barriers + (1U << kRingLog2), stage_bytes, ring_log2, arriving};
  }
  [[nodiscard]] __device__ __forceinline__ decltype(auto) sizes() const { return shape_of<typename C::Shape>(args); }
  [[nodiscard]] __device__ std::uint32_t rows() const { return C::kRows != 0 ? C::kRows : count; }
  [[nodiscard]] __device__ Fragments<C::kRows> fragments() const { return {scratch, count}; }

  /// For measuring: entry `i` of the trace, by a block that has a part of every step.
  __device__ __forceinline__ void stamp(std::uint32_t i) const {
#if defined(QWEN35_CUDA_TRACE)
    if (args.trace != nullptr && block == (blocks > 1 ? 1 : 0) && thread == 0) args.trace[i] = clock64();
#else
    (void)i;
#endif
  }
  [[nodiscard]] __device__ Link link(void* const (&buffer)[2], std::uint32_t layer) const {
    return Link(buffer[layer & 1U], args.tag + layer);
  }
  [[nodiscard]] __device__ const SequenceView& sequence_of(std::uint32_t row) const {
    return args.sequence[C::kRows == 1 ? 0 : args.sequence_of[row]];
  }
  [[nodiscard]] __device__ std::uint32_t position_of(std::uint32_t row) const {
    const SequenceView& sequence = sequence_of(row);
    return sequence.position + row - sequence.first;
  }
};

/// The ring's row of a position.
template <typename Shape>
__device__ inline float* ring_row(const Shape& sizes, const SequenceView& sequence, std::uint32_t layer,
                                  std::uint32_t position) {
  return sequence.ring + (std::size_t{layer} * kRingRows + position % kRingRows) * sizes.ring_floats();
}

}  // namespace qwen35::cuda
