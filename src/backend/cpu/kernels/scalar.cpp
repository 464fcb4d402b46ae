// The scalar twin: plain loops, the definition that the vector kernels are tested against.

#include <algorithm>
#include <cmath>

#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/packed_matrix.h"
#include "base/half.h"

namespace qwen35::cpu {
namespace {

float sigmoid(float x) { return 1.0F / (1.0F + std::exp(-x)); }

float element(Element type, const void* data, std::size_t index) {
  if (type == Element::f32) return static_cast<const float*>(data)[index];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(data)[index];
  return type == Element::bf16 ? bf16_to_float(bits) : f16_to_float(bits);
}

void quantize_row(const float* x, std::size_t n, std::size_t group_size, std::size_t width, std::int8_t* values,
                  float* scales, float* sums) {
  for (std::size_t group = 0; group < n / group_size; ++group) {
    const float* in = x + group * group_size;
    float highest = 0;
    for (std::size_t i = 0; i < group_size; ++i) {
      if (std::isfinite(in[i])) highest = std::max(highest, std::fabs(in[i]));
    }
    const float inverse = highest > 0 ? static_cast<float>(kQuantLimit) / highest : 0.0F;
    // A subnormal maximum would overflow its inverse: such a group is zero for every practical purpose.
    const float factor = std::isfinite(inverse) ? inverse : 0.0F;
    int sum = 0;
    for (std::size_t i = 0; i < group_size; ++i) {
      const float scaled = std::isfinite(in[i]) ? in[i] * factor : 0.0F;
      const int q = std::clamp(static_cast<int>(std::nearbyint(scaled)), -kQuantLimit, kQuantLimit);
      const int high = (q + 128) >> 8;
      std::int8_t* at = values + (group * group_size + i) / 4 * 8 * width + i % 4;
      at[0] = static_cast<std::int8_t>(high);
      at[4] = static_cast<std::int8_t>(q - 256 * high);
      sum += q;
    }
    const float scale = highest / static_cast<float>(kQuantLimit);
    scales[group * width] = scale;
    sums[group * width] = scale * static_cast<float>(sum);
  }
}

void affine_matmul(const PackedAffine& w, std::size_t block_begin, std::size_t block_end, const QuantizedRows& x,
                   const Output& y) {
  const std::size_t groups = w.cols / w.group_size;
  for (std::size_t row = block_begin * kBlockRows; row < std::min(block_end * kBlockRows, w.rows); ++row) {
    for (std::size_t t = 0; t < x.tokens; ++t) {
      // The token's tile, how many tokens that one has, and the token's place in it.
      const std::size_t first = t / x.width * x.width;
      const std::size_t width = std::min(x.width, x.tokens - first);
      const std::int8_t* values = x.values + first * w.cols * 2 + (t - first) * 8;
      const std::size_t scale_at = first * groups + (t - first);
      float total = 0;
      for (std::size_t group = 0; group < groups; ++group) {
        int dot = 0;
        for (std::size_t i = 0; i < w.group_size; ++i) {
          const std::size_t col = group * w.group_size + i;
          const std::int8_t* at = values + col / 4 * 8 * width + col % 4;
          dot += packed_quant(w, row, col) * (256 * at[0] + at[4]);
        }
        const AffineGroup g = packed_group(w, row, group);
        const std::size_t at = scale_at + group * width;
        total += g.scale * static_cast<float>(dot) * x.scales[at] + g.bias * x.sums[at];
      }
      y.y[row / y.panel * y.panel_stride + t * y.stride + row % y.panel] = total;
    }
  }
}

void bf16_matmul(const std::uint16_t* w, std::size_t cols, std::size_t row_begin, std::size_t row_end,
                 const SplitRows& x, const Output& y) {
  const std::size_t steps = (cols + kSplitColumns - 1) / kSplitColumns;
  for (std::size_t row = row_begin; row < row_end; ++row) {
    for (std::size_t t = 0; t < x.tokens; ++t) {
      const std::size_t first = t / x.width * x.width;
      const std::size_t width = std::min(x.width, x.tokens - first);
      const std::uint16_t* values = x.values + (first * steps + t - first) * 2 * kSplitColumns;
      float sum = 0;
      for (std::size_t c = 0; c < cols; ++c) {
        const std::uint16_t* at = values + c / kSplitColumns * 2 * kSplitColumns * width + c % kSplitColumns;
        sum += bf16_to_float(w[row * cols + c]) * (bf16_to_float(at[0]) + bf16_to_float(at[kSplitColumns]));
      }
      y.y[row / y.panel * y.panel_stride + t * y.stride + row % y.panel] = sum;
    }
  }
}

void gemm_nt(std::size_t m, std::size_t n, std::size_t k, const float* a, std::size_t lda, Element type, const void* b,
             std::size_t ldb, float* c, std::size_t ldc) {
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      float sum = 0;
      for (std::size_t p = 0; p < k; ++p) sum += a[i * lda + p] * element(type, b, j * ldb + p);
      c[i * ldc + j] = sum;
    }
  }
}

void gemm_nn(std::size_t m, std::size_t n, std::size_t k, const float* a, std::size_t lda, Element type, const void* b,
             std::size_t ldb, float* c, std::size_t ldc, bool accumulate) {
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      float sum = accumulate ? c[i * ldc + j] : 0.0F;
      for (std::size_t p = 0; p < k; ++p) sum += a[i * lda + p] * element(type, b, p * ldb + j);
      c[i * ldc + j] = sum;
    }
  }
}

void delta_step(float* s, std::size_t dk, std::size_t dv, const float* q, const float* k, const float* v, float g,
                float beta, float* y) {
  for (std::size_t j = 0; j < dv; ++j) {
    float memory = 0;
    for (std::size_t i = 0; i < dk; ++i) memory += k[i] * s[i * dv + j];
    const float u = beta * (v[j] - g * memory);
    float out = 0;
    for (std::size_t i = 0; i < dk; ++i) {
      s[i * dv + j] = g * s[i * dv + j] + k[i] * u;
      out += q[i] * s[i * dv + j];
    }
    y[j] = out;
  }
}

void solve_lower(std::size_t n, std::size_t cols, const float* a, std::size_t lda, float* u, std::size_t ldu) {
  for (std::size_t i = 1; i < n; ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      for (std::size_t c = 0; c < cols; ++c) u[i * ldu + c] -= a[i * lda + j] * u[j * ldu + c];
    }
  }
}

void rms_norm(const float* x, const float* w, std::size_t n, float eps, float* out) {
  float sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += x[i] * x[i];
  const float factor = 1.0F / std::sqrt(sum / static_cast<float>(n) + eps);
  for (std::size_t i = 0; i < n; ++i) out[i] = x[i] * factor * w[i];
}

void l2_norm(float* x, std::size_t n, float scale) {
  float sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += x[i] * x[i];
  const float factor = scale / std::sqrt(sum + 1e-6F);
  for (std::size_t i = 0; i < n; ++i) x[i] *= factor;
}

void add(float* x, const float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) x[i] += y[i];
}

void scale(float* x, float factor, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) x[i] *= factor;
}

void axpby(float* x, float a, const float* y, float b, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) x[i] = a * x[i] + b * y[i];
}

void decay_scale(float* x, float factor, float to, const float* from, std::size_t n) {
  for (std::size_t j = 0; j < n; ++j) x[j] *= factor * std::exp(to - from[j]);
}

void silu_mul(float* gate, const float* up, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) gate[i] = gate[i] * sigmoid(gate[i]) * up[i];
}

void mul_silu(float* out, const float* z, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) out[i] *= z[i] * sigmoid(z[i]);
}

void mul_sigmoid(float* out, const float* gate, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) out[i] *= sigmoid(gate[i]);
}

void conv_silu(const float* const* rows, const float* w, std::size_t w_stride, std::size_t taps, std::size_t n,
               float* out) {
  for (std::size_t c = 0; c < n; ++c) {
    float sum = 0;
    for (std::size_t tap = 0; tap < taps; ++tap) sum += rows[tap][c] * w[tap * w_stride + c];
    out[c] = sum * sigmoid(sum);
  }
}

float softmax_block(float* x, std::size_t n, float factor, float* highest) {
  for (std::size_t i = 0; i < n; ++i) *highest = std::max(*highest, x[i] * factor);
  float sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    x[i] = std::exp(x[i] * factor - *highest);
    sum += x[i];
  }
  return sum;
}

void to_f16(const float* x, std::uint16_t* out, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) out[i] = float_to_f16(x[i]);
}

void from_f16(const std::uint16_t* x, float* out, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) out[i] = f16_to_float(x[i]);
}

void split_row(const float* x, std::size_t n, std::size_t width, std::uint16_t* values) {
  for (std::size_t c = 0; c < (n + kSplitColumns - 1) / kSplitColumns * kSplitColumns; ++c) {
    const float value = c < n ? x[c] : 0.0F;
    const std::uint16_t high = float_to_bf16(value);
    std::uint16_t* at = values + c / kSplitColumns * 2 * kSplitColumns * width + c % kSplitColumns;
    at[0] = high;
    at[kSplitColumns] = std::isfinite(value) ? float_to_bf16(value - bf16_to_float(high)) : 0;
  }
}

constexpr std::size_t kTile = 4;  // any would do; odd tails get tested

constexpr Kernels kScalar{"scalar",    kTile,     kTile,         quantize_row, affine_matmul, bf16_matmul,
                          gemm_nt,     gemm_nn,   delta_step,    solve_lower,  rms_norm,      l2_norm,
                          add,         scale,     axpby,         decay_scale,  silu_mul,      mul_silu,
                          mul_sigmoid, conv_silu, softmax_block, to_f16,       from_f16,      split_row};

}  // namespace

const Kernels* scalar_kernels() { return &kScalar; }

}  // namespace qwen35::cpu
