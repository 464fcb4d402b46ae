#pragma once

// Before a product: what other blocks have left becomes the product's activations in this block's memory.

#include "backend/cuda/decode/decode_pass.cuh"
#include "backend/cuda/pieces/mix_math.cuh"

namespace qwen35::cuda {

/// Pairs that a thread asks for before it looks at the first: of one row, of several.
template <typename C>
inline constexpr int kAhead = C::kRows == 1 ? 4 : 7;

/// Zeros behind the last column, up to a whole unit.
template <std::uint32_t kRows>
__device__ __forceinline__ void pad(const Fragments<kRows>& x, std::uint32_t columns, std::uint32_t units,
                                    std::uint32_t thread) {
  const std::uint32_t pairs = (units * kUnitColumns - columns) / 2;
  for (std::uint32_t i = thread; i < pairs * x.rows(); i += kThreads)
    x.put(i / pairs, columns / 2 + i % pairs, make_float2(0, 0));
}

/// Four values (j = 0 … 3) of a lane's step of a packed unit, in float32 (layout.h).
__device__ inline float4 unpack4(const Matrix& m, std::uint32_t row, std::uint32_t unit, std::uint32_t quad,
                                 std::uint32_t step) {
  const std::uint8_t* at = m.data + (std::size_t{row / kTileRows} * m.units + unit) * m.unit_bytes;
  const std::uint32_t lane = row % kTileRows * 4 + quad;
  if (m.bits == 16) {
    const __half2* values = reinterpret_cast<const __half2*>(at + step / 2 * 512 + lane * 16 + step % 2 * 8);
    const float2 a = __half22float2(values[0]);
    const float2 b = __half22float2(values[1]);
    return make_float4(a.x * m.factor, a.y * m.factor, b.x * m.factor, b.y * m.factor);
  }
  float q[4];
#pragma unroll
  for (std::uint32_t j = 0; j < 4; ++j) {
    std::uint32_t value;
    const std::uint32_t pair = 2 * step + j / 2;
    if (m.bits == 8) {
      value = at[step / 4 * 512 + lane * 16 + step % 4 * 4 + j];
    } else {
      const std::uint32_t word = reinterpret_cast<const std::uint32_t*>(at + lane * 16)[step / 2];
      value = (word >> (4 * (pair % 4) + 16 * (j % 2))) & 15U;
      if (m.bits == 5) {
        const std::uint32_t upper = reinterpret_cast<const std::uint32_t*>(at + 512)[lane];
        value |= ((upper >> (pair + 16 * (j % 2))) & 1U) << 4U;
      } else if (m.bits == 6) {
        const std::uint32_t upper = reinterpret_cast<const std::uint32_t*>(at + 512)[lane * 2 + pair / 8];
        value |= ((upper >> (2 * (pair % 8) + 16 * (j % 2))) & 3U) << 4U;
      }
    }
    q[j] = static_cast<float>(value);
  }
  const __half2 scale_bias = reinterpret_cast<const __half2*>(
      at + value_bytes(m.bits))[row % kTileRows * (kUnitColumns / m.group) + 16 * step / m.group];
  const float scale = __low2float(scale_bias);
  const float bias = __high2float(scale_bias);
  return make_float4(m.factor * (scale * q[0] + bias), m.factor * (scale * q[1] + bias),
                     m.factor * (scale * q[2] + bias), m.factor * (scale * q[3] + bias));
}

/// x of `rows` tokens, hidden floats each, from the embedding.
template <typename Shape>
__device__ inline void embed(const DecodeArgs& args, const Shape& s, std::uint32_t row0, std::uint32_t rows, float* x,
                             std::uint32_t thread) {
  const std::uint32_t tasks = args.embedding.units * 32;  // quads × steps
  for (std::uint32_t i = thread; i < tasks * rows; i += blockDim.x < kThreads ? blockDim.x : kThreads) {
    const std::uint32_t row = i / tasks;
    const std::uint32_t quad = i % 4;
    const std::uint32_t step = i / 4 % 8;
    const std::uint32_t unit = i % tasks / 32;
    const std::uint32_t column = unit * kUnitColumns + 16 * step + 2 * quad;
    if (column >= s.hidden) continue;
    const float4 values = unpack4(args.embedding, static_cast<std::uint32_t>(args.token[row0 + row]), unit, quad, step);
    float* to = x + row * s.hidden + column;
    *reinterpret_cast<float2*>(to) = make_float2(values.x, values.y);
    if (column + 8 < s.hidden) *reinterpret_cast<float2*>(to + 8) = make_float2(values.z, values.w);
  }
}

/// x += what the product before has left (unless `first`), then the RMSNorm of x. A warp has 64 columns of a row at a
/// time; the sums of squares are added in the order of the columns.
template <typename C>
__device__ __forceinline__ void gather_norm(const Block<C>& b, bool first, const Link& delta, const float* norm,
                                            std::uint32_t units) {
  const auto& s = b.sizes();
  const std::uint32_t batches = s.hidden / 64;
  const auto fragments = b.fragments();
  float2* const x = reinterpret_cast<float2*>(b.x);
  const std::uint32_t all = batches * b.rows();
  // The norm's weights come from far away: they are asked for before the values are waited for. Where a warp has the
  // same columns of every row, it keeps them.
  constexpr bool kKeep = C::kFixed;
  constexpr int kKept = kKeep ? static_cast<int>(1024 / 64 / kWarps) : 1;
  float2 weights[kKept];
#pragma unroll
  for (int j = 0; j < kKept; ++j) {
    if (kKeep)
      weights[j] = __ldg(reinterpret_cast<const float2*>(norm) +
                         (b.warp + kWarps * static_cast<std::uint32_t>(j)) * 32 + b.lane);
  }
  // A warp has as many batches as there are rows, at the 0.8B width; all are to be on their way at once.
  const auto take = [&](auto each) {
    constexpr int kEach = each();
    for (std::uint32_t begin = b.warp; begin < all; begin += kWarps * kEach) {
      std::uint32_t pair[kEach];
      float2 added[kEach];
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        // What is not there is asked for in the place of the first, and not used.
        const std::uint32_t batch = begin + kWarps * static_cast<std::uint32_t>(j);
        pair[j] = (batch < all ? batch : begin) * 32 + b.lane;  // rows lie one behind the other
        added[j] = make_float2(0, 0);
      }
      if (!first) delta.load(pair, added);
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        const std::uint32_t batch = begin + kWarps * static_cast<std::uint32_t>(j);
        if (batch >= all) continue;
        const std::uint32_t at = batch * 32 + b.lane;
        float2 value = x[at];
        value.x += added[j].x;
        value.y += added[j].y;
        x[at] = value;
        const float sum = warp_sum(add_squares(0, value));
        if (b.lane == 0) b.totals[batch] = sum;
      }
    }
  };
  if constexpr (C::kFixed && C::kRows == 1) {
    take(std::integral_constant<int, 1024 / 64 / kWarps>());
  } else if constexpr (C::kFixed) {
    if (b.rows() <= 2) {
      take(std::integral_constant<int, 2>());
    } else if (b.rows() <= 4) {
      take(std::integral_constant<int, 4>());
    } else {
      take(std::integral_constant<int, 8>());
    }
  } else {
    take(std::integral_constant<int, 4>());
  }
  sync_compute();
  for (std::uint32_t batch = b.warp; batch < batches * b.rows(); batch += kWarps) {
    const std::uint32_t row = batch / batches;
    const std::uint32_t pair = batch % batches * 32 + b.lane;
    const float2 weight = kKeep && kKept == 1 ? weights[0] : __ldg(reinterpret_cast<const float2*>(norm) + pair);
    float total = 0;
    if constexpr (C::kFixed) {
#pragma unroll
      for (std::uint32_t i = 0; i < batches; i += 4) {
        const float4 four = *reinterpret_cast<const float4*>(b.totals + row * batches + i);
        total = (((total + four.x) + four.y) + four.z) + four.w;
      }
    } else {
#pragma unroll 8
      for (std::uint32_t i = 0; i < batches; ++i) total += b.totals[row * batches + i];
    }
    const float scale = rsqrtf(total / static_cast<float>(s.hidden) + b.args.sizes.eps);
    const float2 value = x[batch * 32 + b.lane];
    fragments.put(row, pair, make_float2(value.x * scale * weight.x, value.y * scale * weight.y));
  }
  pad(fragments, s.hidden, units, b.thread);
  sync_compute();
}

/// The linear layers' y, normed and gated: w · y · rsqrt(mean y² + eps) · silu(z), head by head.
template <typename C>
__device__ __forceinline__ void gather_gated(const Block<C>& b, const DeviceLayer& layer, std::uint32_t number) {
  const auto& s = b.sizes();
  constexpr int kEach = C::kFixed ? 2 : 4;                                  // pairs of a head, a lane
  constexpr int kTasks = !C::kFixed ? 1 : C::kRows == 1 ? 16 / kWarps : 3;  // heads that a warp asks for at once
  const auto mixed = b.link(b.args.buffers.mixed, number);
  const auto in = b.link(b.args.buffers.in, number);
  const auto fragments = b.fragments();
  const std::uint32_t pairs = s.value_dim / 2;  // at most 128
  const std::uint32_t heads = b.rows() * s.value_heads;
  float2 weights[kEach];  // on the way while the values are waited for
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    const std::uint32_t pair = b.lane + 32 * static_cast<std::uint32_t>(j);
    weights[j] = pair < pairs ? __ldg(reinterpret_cast<const float2*>(layer.gated_norm) + pair) : make_float2(0, 0);
  }
  for (std::uint32_t begin = b.warp; begin < heads; begin += kWarps * kTasks) {
    float2 y[kTasks * kEach];
    float2 z[kTasks * kEach];
    std::uint32_t at[kTasks * kEach];
    std::uint32_t gate_at[kTasks * kEach];
#pragma unroll
    for (int j = 0; j < kTasks * kEach; ++j) {
      // What is not there is asked for in the place of the first, and not used.
      const std::uint32_t task = begin + kWarps * static_cast<std::uint32_t>(j / kEach);
      const std::uint32_t pair = b.lane + 32 * static_cast<std::uint32_t>(j % kEach);
      const bool there = task < heads && pair < pairs;
      const std::uint32_t row = (there ? task : begin) / s.value_heads;
      const std::uint32_t value = (there ? task : begin) % s.value_heads * pairs + (there ? pair : 0);
      at[j] = row * b.args.buffers.mixed_floats / 2 + value;
      gate_at[j] = (row * b.args.buffers.in_floats + s.ring_floats()) / 2 + value;
    }
    in.load(gate_at, z);
    mixed.load(at, y);
#pragma unroll
    for (int k = 0; k < kTasks; ++k) {
      const std::uint32_t task = begin + kWarps * static_cast<std::uint32_t>(k);
      if (task >= heads) continue;
      float square = 0;
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        const float2 v = y[k * kEach + j];
        if (b.lane + 32 * static_cast<std::uint32_t>(j) < pairs) square = add_squares(square, v);
      }
      const float scale = rsqrtf(warp_sum(square) / static_cast<float>(s.value_dim) + b.args.sizes.eps);
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        const std::uint32_t pair = b.lane + 32 * static_cast<std::uint32_t>(j);
        if (pair >= pairs) continue;
        const float2 v = y[k * kEach + j];
        const float2 gate = z[k * kEach + j];
        const float2 weight = weights[j];
        fragments.put(task / s.value_heads, task % s.value_heads * pairs + pair,
                      make_float2(weight.x * v.x * scale * silu(gate.x), weight.y * v.y * scale * silu(gate.y)));
      }
    }
  }
  pad(fragments, s.z_floats(), layer.out.units, b.thread);
  sync_compute();
}

/// Pairs of values that another step has left at address(row, pair), as `apply(row, pair, values)` changes them.
template <typename C, typename Address, typename Apply>
__device__ __forceinline__ void gather_values(const Block<C>& b, const Link& values, std::uint32_t columns,
                                              std::uint32_t units, const Address& address, const Apply& apply) {
  const auto fragments = b.fragments();
  const std::uint32_t pairs = columns / 2;
  constexpr int kEach = kAhead<C>;
  const std::uint32_t all = pairs * b.rows();
  for (std::uint32_t begin = b.thread; begin < all; begin += kThreads * kEach) {
    std::uint32_t at[kEach];
    float2 value[kEach];
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const std::uint32_t i = begin + kThreads * static_cast<std::uint32_t>(j);
      const std::uint32_t there = i < all ? i : begin;
      at[j] = address(there / pairs, there % pairs);
    }
    values.load(at, value);
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const std::uint32_t i = begin + kThreads * static_cast<std::uint32_t>(j);
      if (i < all) fragments.put(i / pairs, i % pairs, apply(i / pairs, i % pairs, value[j]));
    }
  }
  pad(fragments, columns, units, b.thread);
  sync_compute();
}

}  // namespace qwen35::cuda
