#pragma once

// The kernels of decode passes. Each format of weights has a file that compiles them (decode_*.cu).

#include "backend/cuda/decode/decode_kernels.h"
#include "backend/cuda/decode/decode_step.cuh"

// Kernels for a fixed shape are chosen from compute capability 9.0 on only: before it they are compiled to nothing.
#if !defined(QWEN35_FAST_KERNELS) || !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
#define QWEN35_DECODE_HERE 1
#endif

namespace qwen35::cuda {

/// The layers: in the block's memory where they fit, and the compiler is to know that where it can.
template <typename C>
__device__ __forceinline__ const DeviceLayer* layers_of(const DecodeArgs& args, const DecodeLayout& layout,
                                                        const std::uint8_t* memory) {
  if (C::kFixed) return reinterpret_cast<const DeviceLayer*>(memory + layout.layers);
  return layout.layers != ~0U ? reinterpret_cast<const DeviceLayer*>(memory + layout.layers) : args.layers;
}

template <typename C>
__device__ Block<C> make_block(const DecodeArgs& args, const DecodeLayout& layout, std::uint8_t* memory,
                               std::uint32_t rows) {
  const std::uint32_t thread = threadIdx.x;
  return {args,
          blockIdx.x,
          gridDim.x,
          rows,
          thread,
          thread % kLanes,
          thread / kLanes,
          layers_of<C>(args, layout, memory),
          reinterpret_cast<Waves*>(memory + layout.waves),
          layout.sum_floats,
          layout.stage_bytes,
          layout.ring_log2,
          layout.arriving,
          memory + layout.ring,
          reinterpret_cast<std::uint64_t*>(memory + layout.barriers),
          reinterpret_cast<float*>(memory + layout.totals),
          reinterpret_cast<float*>(memory + layout.rotary),
          reinterpret_cast<float*>(memory + layout.x),
          reinterpret_cast<std::uint32_t*>(memory + layout.scratch),
          reinterpret_cast<float*>(memory + layout.ahead),
          reinterpret_cast<float*>(memory + layout.sums)};
}

/// A persistent block, from the copy of the pass in its memory.
template <typename C>
__device__ __forceinline__ Block<C> this_block() {
  extern __shared__ __align__(128) std::uint8_t memory[];
  const auto& keep = *reinterpret_cast<const DecodeMemory*>(memory);  // layout.pass is 0
  return make_block<C>(keep.args, keep.layout, memory, keep.args.rows);
}

/// A step as a function of its own: all of them in one body ask for more registers than there are, and what is put by
/// goes through the second-level cache. `next`: the stage of the ring that the next product begins with; returned as
/// the step leaves it.
template <Step kStep, typename C>
__device__ __noinline__ std::uint32_t call_step(std::uint32_t number, std::uint32_t next) {
  const Block<C> b = this_block<C>();
  if constexpr (kStep == Step::mix) {
    if constexpr (C::kFixed) {
      if (mixes_one(b)) {
        mix_linear_one(b, b.layer(number), number);
        return next;
      }
    }
    mix_linear(b, b.layer(number), number);
  } else if constexpr (kStep == Step::combine) {  // a full layer's mixer
    if constexpr (C::kFixed) {
      mix_full_rows(b, b.layer(number), number);
    } else {
      mix_full(b, b.layer(number), number);
    }
    if (b.args.combine != 0) combine(b, number);
  } else {
    if constexpr (C::kFixed && kStep == Step::in) {
      if (mixes_one(b) && b.layer(number).linear) fetch_mixer(b, b.layer(number));
    }
    run_product<kStep>(b, number, next);
  }
  return next;
}

/// A whole pass in one kernel: every multiprocessor has one block, which keeps its part of every product, and blocks
/// talk through tagged links alone.
template <typename C>
__global__ void __launch_bounds__(C::kRing ? kRingThreads : kThreads, 1)
    decode_pass(const __grid_constant__ DecodeArgs args, const __grid_constant__ DecodeLayout layout) {
#if defined(QWEN35_DECODE_HERE)
  extern __shared__ __align__(128) std::uint8_t memory[];
  {
    auto* const to = reinterpret_cast<std::uint32_t*>(memory);
    const auto* const from = reinterpret_cast<const std::uint32_t*>(&args);
    for (std::uint32_t i = threadIdx.x; i < sizeof(DecodeArgs) / 4; i += blockDim.x) to[i] = from[i];
    if (threadIdx.x == 0) reinterpret_cast<DecodeMemory*>(memory)->layout = layout;
    if (layout.layers != ~0U) {
      auto* const copy = reinterpret_cast<std::uint32_t*>(memory + layout.layers);
      const auto* const layers = reinterpret_cast<const std::uint32_t*>(args.layers);
      for (std::uint32_t i = threadIdx.x; i < args.layer_count * sizeof(DeviceLayer) / 4; i += blockDim.x)
        copy[i] = layers[i];
    }
  }
  __syncthreads();
  {
    const Block<C> b = this_block<C>();
#if defined(QWEN35_BULK_COPY)
    if constexpr (C::kRing) {
      b.ring().init(b.thread);
    }
#endif
    // Worked out once, all at the same time: they are full of divisions.
    for (std::uint32_t i = b.thread; i < args.layer_count * 4 + 1; i += blockDim.x)
      b.waves[i] = product_waves(b, product_matrix(b, i));
    __syncthreads();
    if constexpr (C::kRing) {
      if (b.warp == kWarps) return fetch_weights(b);
    }
    embed(b.args, b.sizes(), 0, b.rows(), b.x, b.thread);
    fill_rotary(b);
    sync_compute();
    b.stamp(0);
  }
  const DeviceLayer* const layers = layers_of<C>(args, layout, memory);
  std::uint32_t next = 0;
#pragma unroll 1
  for (std::uint32_t number = 0; number < args.layer_count; ++number) {
    next = call_step<Step::in, C>(number, next);
    if (layers[number].linear) {
      next = call_step<Step::mix, C>(number, next);
    } else {
      next = call_step<Step::combine, C>(number, next);
    }
    this_block<C>().stamp(number * 9 + 3);
    next = call_step<Step::out, C>(number, next);
    next = call_step<Step::gate_up, C>(number, next);
    next = call_step<Step::down, C>(number, next);
  }
  if (args.logits != nullptr) next = call_step<Step::head, C>(args.layer_count, next);
#endif
}

/// One slice of a layer's S over tokens whose inputs stand in the ring.
template <typename Shape>
__global__ void __launch_bounds__(kThreads, 1)
    replay_slice(const __grid_constant__ ModelSizes sizes, const DeviceLayer* layers,
                 const __grid_constant__ SequenceView sequence) {
  extern __shared__ __align__(128) std::uint8_t memory[];
  const DeviceLayer& layer = layers[blockIdx.y];
  if (!layer.linear) return;
  const auto run = [&](const auto& s) {
    delta_item(
        s, layer, sequence, blockIdx.x, threadIdx.x, reinterpret_cast<std::uint32_t*>(memory),
        [&](std::uint32_t t, std::uint32_t value) {
          return __ldcg(ring_row(s, sequence, layer.index, sequence.position + t) + value);
        },
        [](std::uint32_t, std::uint32_t, float) {});
  };
  if constexpr (std::is_same_v<Shape, ModelSizes>) {
    run(sizes);
  } else {
    run(Shape{});
  }
}

/// The set for models of the 0.8B shape whose matrices all have one format.
template <int kBits, int kGroup>
DecodeKernels fast_kernels() {
  return {decode_pass<Config<true, Shape08B, kBits, kGroup, 1>>, decode_pass<Config<true, Shape08B, kBits, kGroup, 0>>,
          replay_slice<Shape08B>, true};
}

}  // namespace qwen35::cuda
