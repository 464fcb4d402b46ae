#pragma once

// The steps of a layer, each a gather and a product, and what becomes of the product's sums.

#include "backend/cuda/decode/decode_attention_row.cuh"
#include "backend/cuda/decode/decode_delta.cuh"

namespace qwen35::cuda {

/// The product of a step; `layer` is not looked at for the head.
__device__ inline const Matrix& matrix_of(const DecodeArgs& args, const DeviceLayer& layer, Step step) {
  switch (step) {
    case Step::in:
      return layer.in;
    case Step::out:
      return layer.out;
    case Step::gate_up:
      return layer.gate_up;
    case Step::down:
      return layer.down;
    default:
      return args.head;
  }
}

/// Columns of a step's product.
template <typename Shape>
__device__ __forceinline__ constexpr std::uint32_t columns_of(const Shape& s, Step step) {
  switch (step) {
    case Step::out:
      return s.z_floats();  // as many as heads · head_dim where sizes are known in advance
    case Step::down:
      return s.intermediate;
    default:
      return s.hidden;
  }
}

/// Activations of step kStep of layer `number` (args.layer_count: the head).
template <Step kStep, typename C>
__device__ __forceinline__ void gather(const Block<C>& b, const DeviceLayer& layer, std::uint32_t number) {
  const auto& s = b.sizes();
  const DecodeBuffers& buffers = b.args.buffers;
  const std::uint32_t units = C::kFixed ? columns_of(s, kStep) / kUnitColumns : matrix_of(b.args, layer, kStep).units;
  if constexpr (kStep == Step::in) {
    gather_norm(b, number == 0, b.link(buffers.down, number - 1), layer.input_norm, units);
  } else if constexpr (kStep == Step::out) {
    if (layer.linear) {
      gather_gated(b, layer, number);
    } else if constexpr (C::kFixed) {
      gather_attention_rows(b, number);
    } else {
      gather_attention(b, layer, number);
    }
  } else if constexpr (kStep == Step::gate_up) {
    gather_norm(b, false, b.link(buffers.out, number), layer.post_norm, units);
  } else if constexpr (kStep == Step::down) {
    gather_values(
        b, b.link(buffers.inner, number), s.intermediate, units,
        [&](std::uint32_t row, std::uint32_t pair) { return row * (s.intermediate / 2) + pair; },
        [](std::uint32_t, std::uint32_t, float2 v) { return make_float2(v.x * kInnerScale, v.y * kInnerScale); });
  } else {
    gather_norm(b, false, b.link(buffers.down, number - 1), b.args.final_norm, units);
  }
}

/// A product's sum for row `row` of the pass and row `tile_row` of tile `tile` goes where the next step looks for it.
template <Step kStep, typename C>
__device__ __forceinline__ void leave(const Block<C>& b, const DeviceLayer& layer, std::uint32_t number,
                                      const Matrix& m, std::uint32_t tile, std::uint32_t tile_row, std::uint32_t row,
                                      float sum, float sum4) {
  const auto& s = b.sizes();
  const DecodeBuffers& buffers = b.args.buffers;
  if constexpr (kStep == Step::gate_up) {
    const std::uint32_t i = tile * (kTileRows / 2) + tile_row;
    if (i < s.intermediate)
      b.link(buffers.inner, number).store(row * s.intermediate + i, silu(sum * m.factor) * (sum4 * m.factor));
    return;
  }
  const std::uint32_t to = tile * kTileRows + tile_row;
  if (to >= m.rows) return;
  const float value = sum * m.factor;
  if constexpr (kStep == Step::in) {
    b.link(buffers.in, number).store(row * buffers.in_floats + to, value);
    if (layer.linear && to < s.ring_floats())
      ring_row(s, b.sequence_of(row), layer.index, b.position_of(row))[to] = value;
  } else if constexpr (kStep == Step::out) {
    b.link(buffers.out, number).store(row * s.hidden + to, value);
  } else if constexpr (kStep == Step::down) {
    b.link(buffers.down, number).store(row * s.hidden + to, value * (1 / kInnerScale));
  } else {
    if (b.args.logit_row[row] >= 0)
      b.args.logits[static_cast<std::size_t>(b.args.logit_row[row]) * s.vocabulary + to] = value;
  }
}

/// The products of a layer, in order.
__device__ inline Step product_step(std::uint32_t i) {
  return i == 0 ? Step::in : i == 1 ? Step::out : i == 2 ? Step::gate_up : Step::down;
}

/// Product `i` of a pass, four a layer and the head.
template <typename C>
__device__ __forceinline__ const Matrix& product_matrix(const Block<C>& b, std::uint32_t i) {
  const std::uint32_t number = i / 4;
  const bool head = number == b.args.layer_count;
  return matrix_of(b.args, b.layer(head ? 0 : number), head ? Step::head : product_step(i % 4));
}

/// How this block takes product `i`.
template <typename C>
__device__ __forceinline__ Waves product_waves(const Block<C>& b, const Matrix& m) {
  return Waves(m, m.units, b.block, b.blocks, b.rows(), b.sum_floats);
}

/// The warp that fetches: all stages of this block's share of the pass, one behind the other, as far ahead as the ring
/// has room.
template <typename C>
__device__ __forceinline__ void fetch_weights(const Block<C>& b) {
#if defined(QWEN35_BULK_COPY)
  if (b.lane != 0) return;
  const std::uint32_t products = b.args.layer_count * 4 + (b.args.logits != nullptr ? 1 : 0);
  const RingMemory ring = b.ring();
  std::uint32_t next = 0;
#pragma unroll 1
  for (std::uint32_t i = 0; i < products; ++i) {
    const Waves waves = b.waves[i];
    const Matrix& m = product_matrix(b, i);
    const std::uint32_t unit_bytes = m.unit_bytes;
    const std::uint8_t* const from = m.data + std::size_t{waves.tiles.begin} * m.units * unit_bytes;
#pragma unroll 1
    for (std::uint32_t stage = 0; stage < waves.stages; ++stage) {
      const Waves::Units units = waves.units_of(stage);
      ring.fetch(next++, from + std::size_t{units.begin} * unit_bytes, (units.end - units.begin) * unit_bytes);
    }
  }
#endif
}

/// A step that is a product, for this block's rows and tiles.
template <Step kStep, typename C>
__device__ __forceinline__ void run_product(const Block<C>& b, std::uint32_t number, std::uint32_t& next) {
  const DeviceLayer& layer = b.layer(number);
  constexpr std::uint32_t kUnits = [] {
    if constexpr (C::kFixed) {
      return columns_of(typename C::Shape{}, kStep) / kUnitColumns;
    } else {
      return 0U;
    }
  }();
  const Matrix& m = matrix_of(b.args, layer, kStep);
  constexpr std::uint32_t kStamp = kStep == Step::in || kStep == Step::head ? 1
                                   : kStep == Step::out                     ? 4
                                   : kStep == Step::gate_up                 ? 6
                                                                            : 8;
  gather<kStep>(b, layer, number);
  if constexpr (C::kFixed && kStep == Step::in)
    asm volatile("cp.async.wait_all;" ::: "memory");  // the mixer's; long there
  b.stamp(number * 9 + kStamp);
  constexpr std::uint32_t kIndex = kStep == Step::out ? 1 : kStep == Step::gate_up ? 2 : kStep == Step::down ? 3 : 0;
  product<C, kUnits, kStep == Step::gate_up>(
      m, b.fragments(), b.waves[number * 4 + kIndex], b.thread, b.sums, b.ring(), next,
      [&](std::uint32_t tile, std::uint32_t tile_row, std::uint32_t row, float sum, float sum4) {
        leave<kStep>(b, layer, number, m, tile, tile_row, row, sum, sum4);
      });
  b.stamp(number * 9 + kStamp + 1);
}

}  // namespace qwen35::cuda
