#include "backend/cuda/device/device.h"
#include "backend/cuda/sampling/sampling.h"
#include "backend/cuda/sampling/sampling_kernel.h"
#include "backend/cuda/sampling/sampling_numbers.cuh"

// Every float operation below is one rounding, as in Sampler: this file is compiled without contraction.

namespace qwen35::cuda {
namespace {

constexpr std::uint32_t kThreads = 512;
constexpr std::uint32_t kWarps = kThreads / 32;
constexpr std::uint32_t kKeys = kSliceLogits / kThreads;  // a thread's
constexpr std::uint32_t kMostDraws = 0xFFFF;              // each is enough in more than half of all cases
constexpr std::uint32_t kNoToken = 0xFFFFFFFF;
static_assert(kKeys == 8 && kMostCandidates <= kThreads);

/// What a row has to draw from: those of its best that are left, and their weights, 0 where they were cut.
struct Candidates {
  Word total;  ///< of all weights; 0: there is nothing to draw
  Word count;
  Word weights[kMostCandidates];
  Word sorted[kMostCandidates];  ///< keys, the best first
};
static_assert(sizeof(Candidates) <= SamplingLaunch::kLeastCapacity * sizeof(Word));

/// What was drawn for a row: where it falls in the total, and the draws that it took.
struct Drawn {
  Word rest;
  std::uint32_t draws;
};

struct alignas(16) Shared {
  union {
    float logits[kSliceLogits];
    Candidates draw;
    Drawn chain[DeviceSampler::kMostRows];
  };
  Word best[kMostCandidates];
  Word words[kWarps];
  std::uint32_t parts[2][kWarps];
  std::uint32_t kept;
  std::uint32_t base;
  bool last;
};

/// How many of the block's keys are at least `least`; all threads get it. `phase` alternates between calls.
__device__ std::uint32_t count_from(const Word (&keys)[kKeys], Word least, Shared& shared, std::uint32_t& phase) {
  std::uint32_t count = 0;
#pragma unroll
  for (std::uint32_t i = 0; i < kKeys; ++i) count += keys[i] >= least ? 1 : 0;
  count = __reduce_add_sync(kAll, count);
  if (threadIdx.x % 32 == 0) shared.parts[phase][threadIdx.x / 32] = count;
  __syncthreads();  // the other half of `parts` may still be read: the next call writes there only behind this
  const std::uint32_t part = threadIdx.x % 32 < kWarps ? shared.parts[phase][threadIdx.x % 32] : 0;
  phase ^= 1U;
  return __reduce_add_sync(kAll, part);
}

/// The block's largest key.
__device__ Word largest(const Word (&keys)[kKeys], Shared& shared) {
  Word best = 0;
#pragma unroll
  for (std::uint32_t i = 0; i < kKeys; ++i) best = max(best, keys[i]);
  const auto warp_max = [](Word key) {
    const auto high = static_cast<std::uint32_t>(key >> 32U);
    const std::uint32_t top = __reduce_max_sync(kAll, high);
    const std::uint32_t low = __reduce_max_sync(kAll, high == top ? static_cast<std::uint32_t>(key) : 0U);
    return (static_cast<Word>(top) << 32U) | low;
  };
  best = warp_max(best);
  if (threadIdx.x % 32 == 0) shared.words[threadIdx.x / 32] = best;
  __syncthreads();
  return warp_max(threadIdx.x % 32 < kWarps ? shared.words[threadIdx.x % 32] : 0);
}

/// A key (never 0) that between `least` and `most` of the block's keys reach, or all where they are fewer. Keys but 0
/// are all different, so when `most` >= `least` there is one. From the largest key down in doubling steps, then by
/// halving what is left.
__device__ Word threshold(const Word (&keys)[kKeys], std::uint32_t least, std::uint32_t most, Shared& shared,
                          std::uint32_t& phase) {
  const Word top = largest(keys, shared);
  if (least == 1) return max(top, Word{1});
  if (count_from(keys, 1, shared, phase) <= most) return 1;
  Word low = 1;                // more than `most` reach it
  Word high = top + 1;         // fewer than `least` do
  Word step = Word{1} << 52U;  // an eighth of the logit, or less
  bool nearing = true;
  for (;;) {
    nearing = nearing && high - low > step;
    const Word middle = nearing ? high - step : low + (high - low) / 2;
    const std::uint32_t count = count_from(keys, middle, shared, phase);
    if (count > most) {
      low = middle;
      nearing = false;
    } else if (count < least) {
      high = middle;
      step *= 2;
    } else {
      return middle;
    }
  }
}

/// Puts the keys from `least` on into shared.best, in any order; shared.kept says how many they are.
__device__ void keep(const Word (&keys)[kKeys], Word least, Shared& shared) {
  if (threadIdx.x == 0) shared.kept = 0;
  __syncthreads();
#pragma unroll
  for (std::uint32_t i = 0; i < kKeys; ++i) {
    if (keys[i] >= least) shared.best[atomicAdd(&shared.kept, 1U)] = keys[i];
  }
  __syncthreads();
}

/// The slice's logits into shared memory: four at once where the row is aligned. `shift` floats of the first slice lie
/// before the row.
__device__ void load_slice(const float* logits, std::uint32_t shift, std::uint32_t begin, std::uint32_t end,
                           float* out) {
  const float* base = logits - shift;  // 16-byte aligned
  for (std::uint32_t i = threadIdx.x; i < kSliceLogits / 4; i += kThreads) {
    const std::uint32_t at = begin + 4 * i;
    float4 four;
    if (at >= shift && at + 4 <= end) {
      four = __ldcg(reinterpret_cast<const float4*>(base + at));
    } else {
      float single[4];
#pragma unroll
      for (std::uint32_t j = 0; j < 4; ++j) {
        single[j] = at + j >= shift && at + j < end ? __ldcg(base + at + j) : __uint_as_float(0x7FC00000U);
      }
      four = {single[0], single[1], single[2], single[3]};
    }
    reinterpret_cast<float4*>(out)[i] = four;
  }
}

/// The row's best candidates of all slices into shared.best: at least top_k of them, or all there are.
__device__ void merge(const Word* candidates, std::uint32_t total, std::uint32_t top_k, Shared& shared,
                      std::uint32_t& phase) {
  std::uint32_t kept = 0;
  std::uint32_t done = 0;
  while (done < total) {
    const std::uint32_t fresh = min(kSliceLogits - kept, total - done);
    Word keys[kKeys];
#pragma unroll
    for (std::uint32_t i = 0; i < kKeys; ++i) {
      const std::uint32_t at = i * kThreads + threadIdx.x;
      keys[i] = at < kept ? shared.best[at] : at - kept < fresh ? __ldcg(candidates + done + (at - kept)) : 0;
    }
    done += fresh;
    keep(keys, threshold(keys, top_k, kMostCandidates, shared, phase), shared);
    kept = shared.kept;
    __syncthreads();  // before anybody changes it
  }
  if (total == 0 && threadIdx.x == 0) shared.kept = 0;
  __syncthreads();
}

/// The lane's part of `count` candidates.
struct Part {
  std::uint32_t begin, end;
  __device__ explicit Part(std::uint32_t count) {
    const std::uint32_t each = (count + 31) / 32;
    begin = min(threadIdx.x % 32 * each, count);
    end = min(begin + each, count);
  }
};

/// Of all lanes together, and of those before this one.
struct Sums {
  Word before, total;
  __device__ explicit Sums(Word own) {
    Word sum = own;
    for (std::uint32_t by = 1; by < 32; by *= 2) {
      const Word other = __shfl_up_sync(kAll, sum, by);
      if (threadIdx.x % 32 >= by) sum += other;
    }
    before = sum - own;
    total = __shfl_sync(kAll, sum, 31);
  }
};

/// Cuts the `count` weights by top-p and min-p, and returns the sum of what is left; a whole warp. What is cut gets
/// weight 0, with which nothing is ever drawn.
__device__ Word cut(const RowPlan& row, std::uint32_t count, Word* weights) {
  const Part part(count);
  const auto add_up = [&] {
    Word own = 0;
    for (std::uint32_t i = part.begin; i < part.end; ++i) own += weights[i];
    return Sums(own);
  };
  Sums sums = add_up();
  if (row.top_p < 1) {
    const auto share = static_cast<double>(row.top_p);
    const Word total = sums.total;
    const double least =
        __ddiv_rn(__dmul_rn(__dsub_rn(1.0, share), __ull2double_rn(total)), static_cast<double>(count));
    for (std::uint32_t i = part.begin; i < part.end; ++i) {
      if (__ull2double_rn(weights[i]) < least) weights[i] = 0;
    }
    const double enough = __dmul_rn(share, __ull2double_rn(total));
    sums = add_up();
    Word sum = sums.before;
    for (std::uint32_t i = part.begin; i < part.end; ++i) {
      const bool reached = __ull2double_rn(sum) >= enough;  // by those before it; nothing is before the first
      sum += weights[i];
      if (reached && i > 0) weights[i] = 0;
    }
    sums = add_up();
  }
  if (row.min_p > 0) {
    const double least = __dmul_rn(static_cast<double>(row.min_p), kWeightOne);
    for (std::uint32_t i = part.begin; i < part.end; ++i) {
      if (__ull2double_rn(weights[i]) < least) weights[i] = 0;
    }
    sums = add_up();
  }
  return sums.total;
}

/// A number below `total`, which is not 0.
__device__ Drawn draw_below(Word total, Word (&random)[4]) {
  const int unused_bits = __clzll(static_cast<long long>((total - 1) | 1U));
  Drawn drawn{0, 0};
  do {
    drawn.rest = next_random(random) >> unused_bits;
    ++drawn.draws;
  } while (drawn.rest >= total && drawn.draws < kMostDraws);
  return drawn;
}

/// The candidate in whose part of the total `rest` falls; a whole warp. `load`: how to read them.
template <typename Load>
__device__ std::uint32_t token_at(const Candidates& from, std::uint32_t count, Word rest, const Load& load) {
  const Part part(count);
  Word own = 0;
  for (std::uint32_t i = part.begin; i < part.end; ++i) own += load(from.weights + i);
  Word sum = Sums(own).before;
  std::uint32_t found = kNoToken;
  for (std::uint32_t i = part.begin; i < part.end; ++i) {
    const Word weight = load(from.weights + i);
    if (rest >= sum && rest - sum < weight) found = i;
    sum += weight;
  }
  const std::uint32_t token = found == kNoToken ? kNoToken : id_of(load(from.sorted + found));
  return __reduce_min_sync(kAll, token);
}

/// One store of eight bytes: whoever sees any of it sees it all.
__device__ void tell(const SamplingLaunch& plan, std::uint32_t row, std::uint32_t token, std::uint32_t draws) {
  *static_cast<volatile Word*>(plan.results + row) =
      (static_cast<Word>(token) << 32U) | (draws << 1U) | SamplingLaunch::kDone;
}

__device__ Word* candidates_of(const SamplingLaunch& plan, std::uint32_t row) {
  return plan.candidates + static_cast<std::size_t>(row) * plan.capacity;
}

/// Draws for the rows of a chain, all of which have left their Candidates; the whole block.
__device__ void draw_chain(const SamplingLaunch& plan, const RowPlan& first, Shared& shared) {
  const std::uint32_t warp = threadIdx.x / 32;
  const std::uint32_t lane = threadIdx.x % 32;
  const auto load = [](const Word* at) { return __ldcg(at); };
  const auto left_by = [&](std::uint32_t i) -> const Candidates& {
    return *reinterpret_cast<const Candidates*>(candidates_of(plan, first.chain_first + i));
  };
  if (warp == 0) {
    Word random[4] = {first.random[0], first.random[1], first.random[2], first.random[3]};
    for (std::uint32_t begin = 0; begin < first.chain; begin += 32) {
      const Word own = begin + lane < first.chain ? __ldcg(&left_by(begin + lane).total) : 0;
      for (std::uint32_t i = begin; i < min(begin + 32, first.chain); ++i) {
        const Word total = __shfl_sync(kAll, own, static_cast<int>(i - begin));
        if (total == 0) continue;
        const Drawn drawn = draw_below(total, random);
        if (lane == 0) shared.chain[i] = drawn;
      }
    }
  }
  __syncthreads();
  for (std::uint32_t i = warp; i < first.chain; i += kWarps) {
    const Candidates& from = left_by(i);
    if (__ldcg(&from.total) == 0) continue;
    const auto count = static_cast<std::uint32_t>(__ldcg(&from.count));
    const Drawn drawn = shared.chain[i];
    const std::uint32_t token = token_at(from, count, drawn.rest, load);
    if (lane == 0) tell(plan, first.chain_first + i, token, drawn.draws);
  }
}

/// What the last block of a row does.
__device__ void finish(const SamplingLaunch& plan, const RowPlan* rows, std::uint32_t index, Shared& shared,
                       std::uint32_t& phase) {
  const RowPlan& row = rows[index];
  Candidates& draw = shared.draw;
  const std::uint32_t total = __ldcg(plan.counters + SamplingLaunch::kCounters * index);
  merge(candidates_of(plan, index), total, row.top_k, shared, phase);
  const std::uint32_t found = shared.kept;
  const std::uint32_t count = min(found, row.top_k);
  if (threadIdx.x < found) {
    const Word key = shared.best[threadIdx.x];
    std::uint32_t rank = 0;
    for (std::uint32_t i = 0; i < found; ++i) rank += shared.best[i] > key ? 1 : 0;
    draw.sorted[rank] = key;
  }
  __syncthreads();
  const bool draws = count > 0 && row.temperature != 0;
  if (threadIdx.x < count && draws) {
    draw.weights[threadIdx.x] =
        weight_of(logit_of(draw.sorted[threadIdx.x]), logit_of(draw.sorted[0]), row.temperature);
  }
  __syncthreads();
  Word left = 0;  // of all weights, where the first warp is
  if (threadIdx.x < 32) {
    if (threadIdx.x == 0) {
      plan.counters[SamplingLaunch::kCounters * index] = 0;
      plan.counters[SamplingLaunch::kCounters * index + 1] = 0;
    }
    if (!draws) {
      if (threadIdx.x == 0) tell(plan, index, count > 0 ? id_of(draw.sorted[0]) : kNoToken, 0);
    } else {
      left = cut(row, count, draw.weights);
      if (row.chain == 1) {
        Word random[4] = {row.random[0], row.random[1], row.random[2], row.random[3]};
        const Drawn drawn = draw_below(left, random);
        const std::uint32_t token = token_at(draw, count, drawn.rest, [](const Word* at) { return *at; });
        if (threadIdx.x == 0) tell(plan, index, token, drawn.draws);
      }
    }
  }
  if (row.chain == 1) return;

  // What the row is drawn from, for whoever comes last: where its own candidates were, which nobody needs any more.
  __syncthreads();
  auto& out = *reinterpret_cast<Candidates*>(candidates_of(plan, index));
  if (threadIdx.x == 0) {
    out.total = left;
    out.count = count;
  }
  if (threadIdx.x < count && draws) {
    out.weights[threadIdx.x] = draw.weights[threadIdx.x];
    out.sorted[threadIdx.x] = draw.sorted[threadIdx.x];
  }
  __threadfence();
  __syncthreads();
  std::uint32_t* const there = plan.counters + SamplingLaunch::kCounters * row.chain_first + 2;
  if (threadIdx.x == 0) shared.last = atomicAdd(there, 1U) == row.chain - 1;
  __syncthreads();
  if (!shared.last) return;
  __threadfence();
  if (threadIdx.x == 0) *there = 0;
  draw_chain(plan, rows[row.chain_first], shared);
}

/// Grid: slices of the longest row × rows.
__global__ void __launch_bounds__(kThreads, 3) sample(const __grid_constant__ SamplingLaunch plan) {
  __shared__ Shared shared;
  const unsigned char* bytes = plan.device != nullptr ? plan.device : plan.bytes;
  const std::uint32_t index = blockIdx.y;
  const auto* rows = reinterpret_cast<const RowPlan*>(bytes);
  const RowPlan row = rows[index];
  const auto* changes = reinterpret_cast<const LogitChange*>(bytes + plan.rows * sizeof(RowPlan)) + row.first_change;

  // Slices are cut where 16 bytes begin, which may be some floats before the row.
  const auto shift = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(row.logits) / sizeof(float) % 4);
  const std::uint32_t end = row.vocabulary + shift;
  const std::uint32_t slices = (end + kSliceLogits - 1) / kSliceLogits;
  if (blockIdx.x >= slices) return;
  const std::uint32_t begin = blockIdx.x * kSliceLogits;
  load_slice(row.logits, shift, begin, end, shared.logits);
  __syncthreads();
  for (std::uint32_t i = threadIdx.x; i < row.changes; i += kThreads) {
    const LogitChange change = changes[i];
    const std::uint32_t at = change.id + shift - begin;  // wraps around before the slice
    if (change.id >= row.vocabulary || at >= kSliceLogits) continue;
    shared.logits[at] = changed(shared.logits[at], change, changes, row);
  }
  __syncthreads();

  Word keys[kKeys];
#pragma unroll
  for (std::uint32_t i = 0; i < kKeys / 4; ++i) {
    const std::uint32_t at = 4 * (i * kThreads + threadIdx.x);
    const float4 four = *reinterpret_cast<const float4*>(shared.logits + at);
    const std::uint32_t id = begin + at - shift;  // wraps around before the row, where no key is made
    keys[4 * i] = key_of(four.x, id);
    keys[4 * i + 1] = key_of(four.y, id + 1);
    keys[4 * i + 2] = key_of(four.z, id + 2);
    keys[4 * i + 3] = key_of(four.w, id + 3);
  }
  std::uint32_t phase = 0;
  const std::uint32_t most = min(row.top_k + row.top_k / 2 + 8, kMostCandidates);
  keep(keys, threshold(keys, row.top_k, most, shared, phase), shared);

  const std::uint32_t kept = shared.kept;
  if (threadIdx.x == 0) shared.base = atomicAdd(plan.counters + SamplingLaunch::kCounters * index, kept);
  __syncthreads();
  if (threadIdx.x < kept) {
    plan.candidates[static_cast<std::size_t>(index) * plan.capacity + shared.base + threadIdx.x] =
        shared.best[threadIdx.x];
  }
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0)
    shared.last = atomicAdd(plan.counters + SamplingLaunch::kCounters * index + 1, 1U) == slices - 1;
  __syncthreads();
  if (!shared.last) return;
  __threadfence();
  finish(plan, rows, index, shared, phase);
}

}  // namespace

void launch_sampling(const SamplingLaunch& launch, std::uint32_t slices, cudaStream_t stream) {
  sample<<<dim3(slices, launch.rows), kThreads, 0, stream>>>(launch);
  check(cudaGetLastError(), "starting to sample");
}

}  // namespace qwen35::cuda
