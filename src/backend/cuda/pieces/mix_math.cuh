#pragma once

// The places of the mixers where the compiler could round in one way or another (a · b + c · d has two): written out,
// so that kernels of different shape give the same bits.

#include <cuda_runtime.h>

namespace qwen35::cuda {

/// What a token adds to a column of S, before its key: beta · (v - k (g S)).
__device__ __forceinline__ float delta_added(float beta, float v, float decay, float k_norm, float k_state) {
  return beta * __fmaf_rn(-(decay * k_norm), k_state, v);
}
/// y = q (g S) + (q k) · added.
__device__ __forceinline__ float delta_result(float decay, float q_norm, float q_state, float k_norm, float qk,
                                              float added) {
  return __fmaf_rn(decay * q_norm, q_state, __fmul_rn(q_norm * k_norm * qk, added));
}
/// A value of S after the token; `each`: k_norm · added.
__device__ __forceinline__ float delta_state(float decay, float state, float key, float each) {
  return __fmaf_rn(decay, state, __fmul_rn(key, each));
}

/// x^-0.5, rounded: rsqrtf() of a constant is worked out by the compiler, and not as the GPU does it.
__device__ __forceinline__ float inverse_root(float x) { return __frcp_rn(__fsqrt_rn(x)); }

/// sum + (x² + y²).
__device__ __forceinline__ float add_squares(float sum, float2 value) {
  return __fadd_rn(sum, __fmaf_rn(value.x, value.x, __fmul_rn(value.y, value.y)));
}

/// (low, high) turned by an angle.
__device__ __forceinline__ float2 turned(float low, float high, float cosine, float sine) {
  return make_float2(__fmaf_rn(low, cosine, -__fmul_rn(high, sine)), __fmaf_rn(low, sine, __fmul_rn(high, cosine)));
}

}  // namespace qwen35::cuda
