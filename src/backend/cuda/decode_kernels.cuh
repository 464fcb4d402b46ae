#pragma once

// The kernels of decode passes. Each format of weights has a file that compiles them (decode_*.cu).

#include "backend/cuda/decode_kernels.h"
#include "backend/cuda/decode_step.cuh"

namespace qwen35::cuda {

template <typename C>
__device__ Block<C> make_block(const DecodeArgs& args, const DecodeLayout& layout, std::uint8_t* memory,
                               std::uint32_t row0, std::uint32_t rows) {
  const std::uint32_t thread = thread_id();
  return {args,
          block_id(),
          gridDim.x,
          row0,
          rows,
          thread,
          thread % kLanes,
          thread / kLanes,
          reinterpret_cast<float*>(memory + layout.totals),
          reinterpret_cast<float*>(memory + layout.rotary),
          reinterpret_cast<float*>(memory + layout.x),
          reinterpret_cast<std::uint32_t*>(memory + layout.scratch),
          reinterpret_cast<float*>(memory + layout.sums)};
}

/// A whole pass in one kernel: every multiprocessor has one block, which keeps its part of every product, and blocks
/// talk through tagged links alone.
template <typename C>
__global__ void __launch_bounds__(kThreads, 1)
    decode_pass(const __grid_constant__ DecodeArgs args, const __grid_constant__ DecodeLayout layout) {
  extern __shared__ __align__(128) std::uint8_t memory[];
  WeightRing ring;
  ring.stages = memory + layout.ring;
  ring.full = reinterpret_cast<std::uint64_t*>(memory + layout.barriers);
  ring.stage_bytes = layout.stage_bytes;
  ring.log2 = layout.ring_log2;

  const DeviceLayer* layers = args.layers;
  if (layout.layers != ~0U) {
    auto* const copy = reinterpret_cast<std::uint32_t*>(memory + layout.layers);
    const auto* const from = reinterpret_cast<const std::uint32_t*>(args.layers);
    for (std::uint32_t i = threadIdx.x; i < args.layer_count * sizeof(DeviceLayer) / 4; i += blockDim.x)
      copy[i] = from[i];
    layers = reinterpret_cast<const DeviceLayer*>(copy);
  }
#if defined(QWEN35_BULK_COPY)
  if constexpr (C::kRing) ring.init(threadIdx.x);
#endif
  __syncthreads();

  // A block anew for each step: see thread_id().
  const auto self = [&] { return make_block<C>(args, layout, memory, 0, args.rows); };
  {
    const Block<C> b = self();
    if constexpr (C::kRing) fetch_ahead(b, layers, layout.sum_floats, ring, 1U << ring.log2);
    embed(args, b.sizes(), 0, b.rows(), b.x, b.thread);
    fill_rotary(b);
    sync_compute();
    b.stamp(0);
  }
#pragma unroll 1
  for (std::uint32_t number = 0; number < args.layer_count; ++number) {
    const DeviceLayer& layer = layers[number];
    run_product<Step::in>(self(), layers, layer, number, layout.sum_floats, ring);
    sync_compute();  // what the product read is written again
    mix(self(), layer, number);
    if (!layer.linear && args.combine != 0) combine(self(), number);
    self().stamp(number * 9 + 3);
    run_product<Step::out>(self(), layers, layer, number, layout.sum_floats, ring);
    run_product<Step::gate_up>(self(), layers, layer, number, layout.sum_floats, ring);
    run_product<Step::down>(self(), layers, layer, number, layout.sum_floats, ring);
  }
  if (args.logits != nullptr)
    run_product<Step::head>(self(), layers, layers[0], args.layer_count, layout.sum_floats, ring);
}

/// One step in a kernel of its own; groups of rows side by side (blockIdx.y).
template <typename C>
__global__ void __launch_bounds__(kThreads, 1)
    decode_step(const DecodeArgs* __restrict__ pass, const __grid_constant__ DecodeLayout layout,
                std::uint32_t group_rows, std::uint32_t number, Step step) {
  extern __shared__ __align__(128) std::uint8_t memory[];
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
  const DecodeArgs& args = *pass;
  const std::uint32_t row0 = blockIdx.y * group_rows;
  if (row0 >= args.rows) return;
  const Block<C> b = make_block<C>(args, layout, memory, row0, min(group_rows, args.rows - row0));
  const DeviceLayer& layer = args.layers[min(number, args.layer_count - 1)];
  WeightRing none;
  switch (step) {
    case Step::in:
      return run_product<Step::in>(b, args.layers, layer, number, layout.sum_floats, none);
    case Step::mix:
      return mix(b, layer, number);
    case Step::combine:
      return combine(b, number);
    case Step::out:
      return run_product<Step::out>(b, args.layers, layer, number, layout.sum_floats, none);
    case Step::gate_up:
      return run_product<Step::gate_up>(b, args.layers, layer, number, layout.sum_floats, none);
    case Step::down:
      return run_product<Step::down>(b, args.layers, layer, number, layout.sum_floats, none);
    default:
      return run_product<Step::head>(b, args.layers, layer, number, layout.sum_floats, none);
  }
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
        s, layer, sequence, blockIdx.x, reinterpret_cast<std::uint32_t*>(memory),
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
  return {decode_pass<Config<true, true, Shape08B, kBits, kGroup, 1>>,
          decode_pass<Config<true, true, Shape08B, kBits, kGroup, 0>>,
          decode_step<Config<false, false, Shape08B, kBits, kGroup, 0>>, replay_slice<Shape08B>, true};
}

}  // namespace qwen35::cuda
