#pragma once

// What the sampling kernel computes with: keys that order candidates, and Sampler's arithmetic. Every float operation
// is one rounding, as in Sampler: who includes this is compiled without contraction.

#include "backend/cuda/pieces/exact_division.h"
#include "backend/cuda/sampling/sampling_kernel.h"

namespace qwen35::cuda {

inline constexpr std::uint32_t kAll = 0xFFFFFFFF;
inline constexpr float kLargest = 3.402823466e+38F;
inline constexpr double kWeightOne = 0x1p32;
inline constexpr double kLeastExponent = -22.181;

/// Keys order candidates as Sampler does, the best one largest: the logit's bits made to order, then the lower id.
/// 0: never chosen.
__device__ inline Word key_of(float logit, std::uint32_t id) {
  if (!(logit >= -kLargest && logit <= kLargest)) return 0;
  std::uint32_t bits = __float_as_uint(logit);
  if (bits == 0x80000000U) bits = 0;  // -0 equals +0
  bits = (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
  return (static_cast<Word>(bits) << 32U) | (kAll - id);
}

__device__ inline std::uint32_t id_of(Word key) { return kAll - static_cast<std::uint32_t>(key); }

__device__ inline float logit_of(Word key) {
  const auto bits = static_cast<std::uint32_t>(key >> 32U);
  return __uint_as_float((bits & 0x80000000U) != 0 ? bits & 0x7FFFFFFFU : ~bits);
}

__device__ inline bool finite(float x) { return x >= -kLargest && x <= kLargest; }
__device__ inline float clamped(float x) { return fminf(fmaxf(x, -kLargest), kLargest); }

/// `logit` after a token's change; see Sampler::sample.
__device__ inline float changed(float logit, const LogitChange& change, const LogitChange* all, const RowPlan& row) {
  const float banned = -__uint_as_float(0x7F800000U);
  if ((change.marks & LogitChange::kBarred) != 0) return banned;
  if ((change.marks & LogitChange::kBiased) != 0) {
    float bias = change.bias;
    for (std::uint32_t next = change.next;; next = all[next - 1].next) {
      if (!finite(logit)) return logit;
      logit = bias == -100.0F ? banned : clamped(__fadd_rn(logit, bias));
      if (next == 0) break;
      bias = all[next - 1].bias;
    }
  }
  if (!finite(logit)) return logit;
  if ((change.marks & LogitChange::kRepeated) != 0) {
    logit = clamped(logit > 0 ? __fdiv_rn(logit, row.repetition_penalty) : __fmul_rn(logit, row.repetition_penalty));
  }
  const std::uint32_t count = change.marks & LogitChange::kCount;
  if (count != 0) {
    const float off = __fmul_rn(row.frequency_penalty, static_cast<float>(count));
    logit = clamped(__fsub_rn(logit, __fadd_rn(row.presence_penalty, off)));
  }
  return logit;
}

/// Sampler's exponential.
__device__ inline double exponential(double x) {
  const double n = floor(__dadd_rn(__dmul_rn(x, 1.4426950408889634), 0.5));
  const double high = __dsub_rn(x, __dmul_rn(n, 0x1.62e42fee00000p-1));
  const double r = __dsub_rn(high, __dmul_rn(n, 0x1.a39ef35793c76p-33));
  double sum = 1.0;
#pragma unroll
  for (int i = 12; i > 0; --i) sum = __dadd_rn(1.0, divided(__dmul_rn(sum, r), i));
  const auto exponent = static_cast<long long>(1023 + static_cast<long long>(n));
  return __dmul_rn(sum, __longlong_as_double(exponent << 52));
}

__device__ inline Word weight_of(float logit, float best, float temperature) {
  const double x =
      __ddiv_rn(__dsub_rn(static_cast<double>(logit), static_cast<double>(best)), static_cast<double>(temperature));
  return x < kLeastExponent ? 0 : __double2ull_rz(__dmul_rn(exponential(x), kWeightOne));
}

__device__ inline Word rotated(Word x, int by) { return (x << by) | (x >> (64 - by)); }

/// xoshiro256**.
__device__ inline Word next_random(Word (&random)[4]) {
  const Word result = rotated(random[1] * 5, 7) * 9;
  const Word shifted = random[1] << 17;
  random[2] ^= random[0];
  random[3] ^= random[1];
  random[1] ^= random[2];
  random[0] ^= random[3];
  random[2] ^= shifted;
  random[3] = rotated(random[3], 45);
  return result;
}

}  // namespace qwen35::cuda
