#include <qwen35/error.h>

#include <cmath>
#include <string>

#include "backend/cuda/pieces/launch.cuh"
#include "backend/cuda/pieces/tensor_core.cuh"
#include "backend/cuda/prefill/attention.h"

namespace qwen35::cuda {
namespace {

constexpr std::uint32_t kRows = 64;  ///< queries of a block: some tokens × the query heads of a KV head
constexpr std::uint32_t kKeys = 32;  ///< keys of a step, counted from position 0: half a page
constexpr std::uint32_t kStoreParts = 8;

struct Arguments {
  const float* in = nullptr;
  const float* q_norm = nullptr;
  const float* k_norm = nullptr;
  const double* frequencies = nullptr;
  std::uint16_t* const* pages = nullptr;
  __half* hi = nullptr;
  __half* lo = nullptr;
  std::uint32_t stride = 0;
  std::uint32_t position = 0, count = 0;
  std::uint32_t layer = 0;
  std::uint32_t heads = 0, kv_heads = 0, rotary_dim = 0;
  std::uint32_t in_rows = 0;
  std::uint32_t sharing = 0;  ///< query heads of a KV head
  std::uint32_t tokens = 0;   ///< of a block
  float eps = 0;
  float scale = 0;  ///< of the scores, for powers of two
};

/// One head's row of kHeadDim values (values 2 l + 64 p and the next in lane l) normalised, weighted, and turned by
/// `position`, by one warp. `row`: kHeadDim floats of shared memory for this warp alone.
template <std::uint32_t kHeadDim>
__device__ __forceinline__ void norm_and_rotate(float2 (&x)[(kHeadDim + 63) / 64], const float* weight,
                                                const Arguments& a, std::uint32_t position, float* row) {
  constexpr std::uint32_t kParts = (kHeadDim + 63) / 64;
  const std::uint32_t lane = threadIdx.x % 32;
  float squares = 0;
#pragma unroll
  for (std::uint32_t p = 0; p < kParts; ++p) squares += x[p].x * x[p].x + x[p].y * x[p].y;
  const float factor = rsqrtf(warp_sum(squares) / static_cast<float>(kHeadDim) + a.eps);
  __syncwarp();  // the last row has been read
#pragma unroll
  for (std::uint32_t p = 0; p < kParts; ++p) {
    const std::uint32_t d = 2 * lane + 64 * p;
    if (d >= kHeadDim) continue;
    const float2 w = *reinterpret_cast<const float2*>(weight + d);
    *reinterpret_cast<float2*>(row + d) = float2{x[p].x * factor * w.x, x[p].y * factor * w.y};
  }
  __syncwarp();
  const std::uint32_t half = a.rotary_dim / 2;
  for (std::uint32_t i = lane; i < half; i += 32) {
    // In half turns, so that a whole number of turns can be taken away before precision is.
    double angle = static_cast<double>(position) * a.frequencies[i] * 0.31830988618379067154;
    angle -= 2.0 * rint(0.5 * angle);
    float sine;
    float cosine;
    sincospif(static_cast<float>(angle), &sine, &cosine);
    const float first = row[i];
    const float second = row[i + half];
    row[i] = first * cosine - second * sine;
    row[i + half] = second * cosine + first * sine;
  }
  __syncwarp();
#pragma unroll
  for (std::uint32_t p = 0; p < kParts; ++p) {
    const std::uint32_t d = 2 * lane + 64 * p;
    if (d < kHeadDim) x[p] = *reinterpret_cast<const float2*>(row + d);
  }
}

template <std::uint32_t kHeadDim>
__device__ __forceinline__ void load_row(float2 (&x)[(kHeadDim + 63) / 64], const float* from) {
#pragma unroll
  for (std::uint32_t p = 0; p < (kHeadDim + 63) / 64; ++p) {
    const std::uint32_t d = 2 * (threadIdx.x % 32) + 64 * p;
    x[p] = d < kHeadDim ? *reinterpret_cast<const float2*>(from + d) : float2{0, 0};
  }
}

__device__ __forceinline__ std::uint16_t* strip(const Arguments& a, std::uint32_t page, std::uint32_t kv_head,
                                                bool value, std::uint32_t head_dim) {
  return a.pages[page] + strip_offset(a.layer, kv_head, value, a.kv_heads, head_dim);
}

__device__ __forceinline__ std::uint32_t bits(__half2 x) { return *reinterpret_cast<const std::uint32_t*>(&x); }

/// Keys (z < 4) and values (z >= 4) of one page that the pass touches, one KV head; a quarter a block of 256 threads.
template <std::uint32_t kHeadDim>
__global__ void __launch_bounds__(256) store_keys_and_values(const Arguments a) {
  __shared__ float rows[8][kHeadDim];
  let_next_begin();
  const std::uint32_t lane = threadIdx.x % 32;
  const std::uint32_t warp = threadIdx.x / 32;
  const std::uint32_t page = a.position / kPageTokens + blockIdx.x;
  const std::uint32_t kv_head = blockIdx.y;
  const std::uint32_t quarter = blockIdx.z % 4;
  const float* keys = a.in + (2 * a.heads + kv_head) * kHeadDim;
  const float* values = keys + a.kv_heads * kHeadDim;
  const std::uint32_t end = a.position + a.count;
  if (blockIdx.z < 4) {
    std::uint16_t* to = strip(a, page, kv_head, false, kHeadDim);
#pragma unroll
    for (std::uint32_t i = 0; i < 2; ++i) {
      const std::uint32_t t = 16 * quarter + 2 * warp + i;
      const std::uint32_t position = page * kPageTokens + t;
      if (position < a.position || position >= end) continue;
      float2 x[(kHeadDim + 63) / 64];
      load_row<kHeadDim>(x, keys + static_cast<std::size_t>(position - a.position) * a.in_rows);
      norm_and_rotate<kHeadDim>(x, a.k_norm, a, position, rows[warp]);
#pragma unroll
      for (std::uint32_t p = 0; p < (kHeadDim + 63) / 64; ++p) {
        const std::uint32_t d = 2 * lane + 64 * p;
        if (d < kHeadDim) {
          *reinterpret_cast<std::uint32_t*>(to + key_index(t, d, kHeadDim)) = bits(__floats2half2_rn(x[p].x, x[p].y));
        }
      }
    }
    return;
  }
  std::uint16_t* to = strip(a, page, kv_head, true, kHeadDim);
  constexpr std::uint32_t kPieces = kPageTokens / 32 * (kHeadDim / 8);
  for (std::uint32_t piece = quarter * (kPieces / 4) + warp; piece < (quarter + 1) * (kPieces / 4); piece += 8) {
    const std::uint32_t d = piece % (kHeadDim / 8) * 8 + lane / 4;
    const std::uint32_t first = page * kPageTokens + piece / (kHeadDim / 8) * 32 + 2 * (lane % 4);
    std::uint16_t* lane_to = to + piece * 256 + 8 * lane;
    __half x[8];
    bool all = true;  // else earlier values of the page stay
#pragma unroll
    for (std::uint32_t i = 0; i < 8; ++i) {
      const std::uint32_t position = first + 8 * (i / 2) + i % 2;
      float value = 0;
      if (position >= a.position && position < end) {
        value = values[static_cast<std::size_t>(position - a.position) * a.in_rows + d];
      }
      x[i] = __float2half_rn(clamp_f16(value));
      all = all && position >= a.position;
    }
    if (all) {
      *reinterpret_cast<uint4*>(lane_to) = uint4{bits(__half2{x[0], x[1]}), bits(__half2{x[2], x[3]}),
                                                 bits(__half2{x[4], x[5]}), bits(__half2{x[6], x[7]})};
    } else {
#pragma unroll
      for (std::uint32_t i = 0; i < 8; ++i) {
        if (first + 8 * (i / 2) + i % 2 >= a.position) lane_to[i] = __half_as_ushort(x[i]);
      }
    }
  }
}

template <std::uint32_t kHeadDim>
struct Shared {
  static constexpr std::uint32_t kQuery = kRows * kHeadDim * 4;  ///< hi + lo, row operands: warp × step × part × lane
  static constexpr std::uint32_t kBlock = kKeys * kHeadDim * 2;  ///< of keys, then of values
  static constexpr std::uint32_t kBytes = kQuery + 2 * kBlock;
};

/// A block of four warps: `tokens` tokens × the query heads of a KV head, 16 of these rows a warp. Blocks with the most
/// keys start first.
template <std::uint32_t kHeadDim>
__global__ void __launch_bounds__(128, 2) attend(const Arguments a) {
  using S = Shared<kHeadDim>;
  constexpr std::uint32_t kSteps = kHeadDim / 16;
  constexpr std::uint32_t kOut = kHeadDim / 8;
  extern __shared__ __align__(128) std::uint8_t attend_shared[];
  const std::uint32_t lane = threadIdx.x % 32;
  const std::uint32_t warp = threadIdx.x / 32;
  const std::uint32_t first = (gridDim.y - 1 - blockIdx.y) * a.tokens;  // token of the pass
  const std::uint32_t kv_head = blockIdx.x;
  const std::uint32_t last = min(first + a.tokens, a.count) - 1;
  const std::uint32_t steps = (a.position + last) / kKeys + 1;
  std::uint8_t* keys = attend_shared + S::kQuery;
  std::uint8_t* values = keys + S::kBlock;
  std::uint8_t* queries = attend_shared + warp * (16 * kHeadDim * 4);

  const auto load = [&](std::uint8_t* to, std::uint32_t step, bool value) {
    const std::uint16_t* from = strip(a, step / (kPageTokens / kKeys), kv_head, value, kHeadDim) +
                                step % (kPageTokens / kKeys) * (kKeys * kHeadDim);
    copy_block(to, from, S::kBlock, 128);
    end_of_copies();
  };

  // Queries into the order of operands; rows of no token are zero.
  float* scratch = reinterpret_cast<float*>(values) + warp * kHeadDim;
  auto* operand = reinterpret_cast<std::uint32_t*>(queries);
  constexpr std::uint32_t kParts = (kHeadDim + 63) / 64;
  constexpr std::uint32_t kAtOnce = 4;
#pragma unroll 1
  for (std::uint32_t base = 0; base < 16; base += kAtOnce) {
    float2 x[kAtOnce][kParts];
#pragma unroll
    for (std::uint32_t i = 0; i < kAtOnce; ++i) {
      const std::uint32_t row = 16 * warp + base + i;
      const std::uint32_t token = first + row / a.sharing;
      const std::uint32_t head = kv_head * a.sharing + row % a.sharing;
      if (row / a.sharing < a.tokens && token < a.count) {
        load_row<kHeadDim>(x[i], a.in + static_cast<std::size_t>(token) * a.in_rows + 2 * head * kHeadDim);
      } else {
#pragma unroll
        for (std::uint32_t p = 0; p < kParts; ++p) x[i][p] = float2{0, 0};
      }
    }
#pragma unroll
    for (std::uint32_t i = 0; i < kAtOnce; ++i) {
      const std::uint32_t row = base + i;
      norm_and_rotate<kHeadDim>(x[i], a.q_norm, a, a.position + first + (16 * warp + row) / a.sharing, scratch);
#pragma unroll
      for (std::uint32_t p = 0; p < kParts; ++p) {
        const std::uint32_t d = 2 * lane + 64 * p;
        if (d >= kHeadDim) continue;
        const SplitPair pair = split_f16(x[i][p].x, x[i][p].y);
        const std::uint32_t at = d / 16 * 256 + (row % 8 * 4 + d % 8 / 2) * 4 + row / 8 + d % 16 / 8 * 2;
        operand[at] = pair.hi;
        operand[at + 128] = pair.lo;
      }
    }
  }

  wait_for_previous();  // the pages; `in` was there before
  load(keys, 0, false);

  // This lane's rows are lane / 4 and 8 more: the last position each may see.
  std::uint32_t seen[2];
#pragma unroll
  for (std::uint32_t r = 0; r < 2; ++r) {
    seen[r] = a.position + min(first + (16 * warp + lane / 4 + 8 * r) / a.sharing, last);
  }
  float out[kOut][4] = {};
  float most[2] = {-INFINITY, -INFINITY};
  float sum[2] = {};
  for (std::uint32_t step = 0; step < steps; ++step) {
    wait_for_copies<0>();
    __syncthreads();  // keys are there, and nobody reads the last values any more
    load(values, step, true);

    float score[4][4] = {};
    float rest[4][4] = {};
#pragma unroll
    for (std::uint32_t p = 0; p < kSteps / 2; ++p) {
      const std::uint8_t* from = queries + p * 2048 + 16 * lane;
      const uint4 hi0 = *reinterpret_cast<const uint4*>(from);
      const uint4 lo0 = *reinterpret_cast<const uint4*>(from + 512);
      const uint4 hi1 = *reinterpret_cast<const uint4*>(from + 1024);
      const uint4 lo1 = *reinterpret_cast<const uint4*>(from + 1536);
#pragma unroll
      for (std::uint32_t n = 0; n < 4; ++n) {
        const uint4 k = *reinterpret_cast<const uint4*>(keys + (n * (kHeadDim / 32) + p) * 512 + 16 * lane);
        mma(score[n], hi0, k.x, k.y);
        mma(rest[n], lo0, k.x, k.y);
        mma(score[n], hi1, k.z, k.w);
        mma(rest[n], lo1, k.z, k.w);
      }
    }
    __syncthreads();  // nobody reads these keys any more
    const bool more = step + 1 < steps;
    if (more) load(keys, step + 1, false);

    float top[2] = {most[0], most[1]};
#pragma unroll
    for (std::uint32_t n = 0; n < 4; ++n) {
#pragma unroll
      for (std::uint32_t c = 0; c < 4; ++c) {
        const std::uint32_t key = step * kKeys + 8 * n + 2 * (lane % 4) + c % 2;
        // Past the last key the page may hold anything, also what is no number.
        score[n][c] = key <= seen[c / 2] ? (score[n][c] + rest[n][c]) * a.scale : -INFINITY;
        top[c / 2] = fmaxf(top[c / 2], score[n][c]);
      }
    }
    float keep[2];
#pragma unroll
    for (std::uint32_t r = 0; r < 2; ++r) {
      top[r] = fmaxf(top[r], __shfl_xor_sync(~0U, top[r], 1));
      top[r] = fmaxf(top[r], __shfl_xor_sync(~0U, top[r], 2));
      keep[r] = exp2f(most[r] - top[r]);  // key 0 is seen by all: `top` is a number from the first step on
      most[r] = top[r];
      sum[r] *= keep[r];
    }
    uint4 probability[2];
    auto* registers = reinterpret_cast<std::uint32_t*>(probability);
#pragma unroll
    for (std::uint32_t n = 0; n < 4; ++n) {
#pragma unroll
      for (std::uint32_t r = 0; r < 2; ++r) {
        const __half2 pair = __floats2half2_rn(exp2f(score[n][2 * r] - most[r]), exp2f(score[n][2 * r + 1] - most[r]));
        sum[r] += __low2float(pair) + __high2float(pair);  // what the values are weighted with
        registers[2 * n + r] = bits(pair);
      }
    }
    if (__any_sync(~0U, keep[0] != 1.0F || keep[1] != 1.0F)) {
#pragma unroll
      for (std::uint32_t n = 0; n < kOut; ++n) {
        out[n][0] *= keep[0];
        out[n][1] *= keep[0];
        out[n][2] *= keep[1];
        out[n][3] *= keep[1];
      }
    }
    if (more) {
      wait_for_copies<1>();
    } else {
      wait_for_copies<0>();
    }
    __syncthreads();  // values are there
#pragma unroll
    for (std::uint32_t n = 0; n < kOut; ++n) {
      const uint4 v = *reinterpret_cast<const uint4*>(values + n * 512 + 16 * lane);
      mma(out[n], probability[0], v.x, v.y);
      mma(out[n], probability[1], v.z, v.w);
    }
  }

#pragma unroll
  for (std::uint32_t r = 0; r < 2; ++r) {
    sum[r] += __shfl_xor_sync(~0U, sum[r], 1);
    sum[r] += __shfl_xor_sync(~0U, sum[r], 2);
    const std::uint32_t row = 16 * warp + lane / 4 + 8 * r;
    const std::uint32_t token = first + row / a.sharing;
    const std::uint32_t head = kv_head * a.sharing + row % a.sharing;
    if (row / a.sharing >= a.tokens || token >= a.count) continue;
    const float factor = 1.0F / sum[r];
    const float* gate = a.in + static_cast<std::size_t>(token) * a.in_rows + (2 * head + 1) * kHeadDim;
    const std::size_t to = static_cast<std::size_t>(token) * a.stride + head * kHeadDim;
#pragma unroll
    for (std::uint32_t n = 0; n < kOut; ++n) {
      const std::uint32_t d = 8 * n + 2 * (lane % 4);
      const float2 g = *reinterpret_cast<const float2*>(gate + d);
      const SplitPair pair =
          split_f16(out[n][2 * r] * factor * quick_sigmoid(g.x), out[n][2 * r + 1] * factor * quick_sigmoid(g.y));
      *reinterpret_cast<std::uint32_t*>(a.hi + to + d) = pair.hi;
      *reinterpret_cast<std::uint32_t*>(a.lo + to + d) = pair.lo;
    }
  }
}

template <std::uint32_t kHeadDim>
void run_kernels(const Arguments& a, bool early, cudaStream_t stream) {
  const std::uint32_t pages = (a.position + a.count - 1) / kPageTokens - a.position / kPageTokens + 1;
  launch(store_keys_and_values<kHeadDim>, dim3(pages, a.kv_heads, kStoreParts), 256, 0, stream, false,
         "storing keys and values", a);
  allow_shared(attend<kHeadDim>, Shared<kHeadDim>::kBytes, "giving the attention its shared memory");
  launch(attend<kHeadDim>, dim3(a.kv_heads, (a.count + a.tokens - 1) / a.tokens), 128, Shared<kHeadDim>::kBytes, stream,
         early, "starting the attention", a);
}

}  // namespace

Attention::Attention(const DeviceModel& model, const DeviceInfo& device) : model_(model), early_(device.major >= 9) {
  const ModelSizes& sizes = model.sizes;
  const std::uint32_t d = sizes.head_dim;
  if (d != 32 && d != 64 && d != 128 && d != 256) {
    throw Error(ErrorCode::unsupported,
                "head_dim is " + std::to_string(d) + "; the CUDA backend takes 32, 64, 128 or 256: use --backend cpu");
  }
  if (sizes.heads > kRows * sizes.kv_heads) {
    throw Error(ErrorCode::unsupported, std::to_string(sizes.heads) + " heads share " + std::to_string(sizes.kv_heads) +
                                            " KV heads; the CUDA backend takes up to 64 each: use --backend cpu");
  }
  if (device.shared_bytes < std::size_t{kRows} * d * 4 + std::size_t{kKeys} * d * 4) {
    throw Error(ErrorCode::unsupported, "the GPU has " + std::to_string(device.shared_bytes) +
                                            " bytes of shared memory a block, too few for head_dim " +
                                            std::to_string(d) + ": use --backend cpu");
  }
}

void Attention::run(const DeviceLayer& layer, const float* in, const SequenceView& sequence, __half* hi, __half* lo,
                    std::uint32_t stride, cudaStream_t stream) {
  const ModelSizes& sizes = model_.sizes;
  if (sequence.count == 0) return;
  Arguments a;
  a.in = in;
  a.q_norm = layer.q_norm;
  a.k_norm = layer.k_norm;
  a.frequencies = model_.frequencies;
  a.pages = sequence.pages;
  a.hi = hi;
  a.lo = lo;
  a.stride = stride;
  a.position = sequence.position;
  a.count = sequence.count;
  a.layer = layer.index;
  a.heads = sizes.heads;
  a.kv_heads = sizes.kv_heads;
  a.rotary_dim = sizes.rotary_dim;
  a.in_rows = sizes.full_in_rows();
  a.sharing = sizes.heads / sizes.kv_heads;
  a.tokens = kRows / a.sharing;
  a.eps = sizes.eps;
  a.scale = 1.4426950408889634F / std::sqrt(static_cast<float>(sizes.head_dim));
  if (sizes.head_dim == 256) {
    run_kernels<256>(a, early_, stream);
  } else if (sizes.head_dim == 128) {
    run_kernels<128>(a, early_, stream);
  } else if (sizes.head_dim == 64) {
    run_kernels<64>(a, early_, stream);
  } else {
    run_kernels<32>(a, early_, stream);
  }
}

}  // namespace qwen35::cuda
