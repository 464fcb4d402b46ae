#pragma once

// The arithmetic of the CPU backend: one table of functions an instruction set. scalar.cpp is the readable twin that
// the tests compare the others with. This header is included by files compiled for newer instruction sets, so it holds
// declarations and plain data only: an inline function here could be emitted with instructions that the machine lacks.

#include <cstddef>
#include <cstdint>

namespace qwen35::cpu {

/// Rows of one block of a packed matrix: one 512-bit register of 32-bit lanes, a lane a row.
inline constexpr std::size_t kBlockRows = 16;

/// An affine-quantised matrix packed for the dot-product kernels.
///
/// Blocks of 16 rows (the last one padded with zero scales), each block its groups in order, each group:
///     16 scales, 16 biases      uint16 each (bf16 or f16)
///     quants                    lane r of a 64-byte vector holds 4 neighbouring columns of row r
///       8 bits: group/4 vectors; vector j holds columns 4j..4j+3
///       4..6 bits: group/8 vectors of nibbles; in vector j the low nibbles hold columns 8j..8j+3, the high ones
///       8j+4..8j+7
///     high bits (5 bits: one plane, 6 bits: two)   per plane group/4 words of 64 bits; bit i of word j belongs to byte
///     i of
///                               the unpacked vector of columns 4j..4j+3
struct PackedAffine {
  const std::uint8_t* data = nullptr;  ///< 64-byte aligned
  std::size_t rows = 0;
  std::size_t cols = 0;
  std::size_t group_size = 0;  ///< 32, 64 or 128
  int bits = 0;                ///< 4, 5, 6 or 8 as packed; 2 and 3 are stored as 4
  bool f16_scales = false;     ///< else bf16
};

/// Rows of activations quantised to 16 bits by groups, x ≈ scale · (256 · high + low), both int8: two 8-bit dot
/// products give their product with a weight. (8 bits alone are not enough: on random weights the error that one
/// rounding makes, 0.6 % of a group, grows to a logit cosine of 0.94 over eight layers.)
///
/// The tokens stand in tiles of `width`, what one pass of a kernel's registers takes; the last tile may be narrower,
/// and is then stored that narrow. Within a tile of n tokens:
///     values         cols / 4 × n × (4 high bytes, 4 low bytes)
///     scales, sums   cols / group_size × n
/// so that a kernel reads a tile from front to back. One token alone is simply its row.
struct QuantizedRows {
  const std::int8_t* values = nullptr;
  const float* scales = nullptr;
  const float* sums = nullptr;  ///< scale · Σ (256 · high + low): what a group's bias multiplies
  std::size_t tokens = 0;
  std::size_t width = 1;
};

/// Columns of one step of split rows.
inline constexpr std::size_t kSplitColumns = 32;

/// Rows of activations as sums of two bfloat16, x ≈ high + low to 2^-17: one alone would cost three digits of the
/// logits. In tiles of tokens as QuantizedRows; within a tile of n tokens:
///     values   ⌈cols / 32⌉ × n × (32 high parts, 32 low parts), zeros past the last column
struct SplitRows {
  const std::uint16_t* values = nullptr;
  std::size_t tokens = 0;
  std::size_t width = 1;
};

/// The largest quantised magnitude: 127 · 256, so that `high` fits a byte whatever `low` carries. A group's dot product
/// then stays below 128 · 255 · 32,512 < 2^31.
inline constexpr int kQuantLimit = 32512;

enum class Element : std::uint8_t { f32, bf16, f16 };

/// Where a product goes: row r of token t is y[r / panel · panel_stride + t · stride + r % panel]. Panels keep the
/// channels that one head needs of all tokens side by side; a plain row-major result is a single panel.
struct Output {
  float* y = nullptr;
  std::size_t stride = 0;        ///< floats between tokens
  std::size_t panel = 0;         ///< rows of a panel: a multiple of kBlockRows, or all rows of the matrix
  std::size_t panel_stride = 0;  ///< floats between panels
};

struct Kernels {
  const char* name;
  std::size_t tile;  ///< tokens of a tile of quantised or split rows, >= 1
  std::size_t few;   ///< up to so many quantised rows stand in one tile all the same

  /// Quantises n floats (a multiple of group_size) by groups: scale = max|x| / kQuantLimit, rounding half to even.
  /// Non-finite values count as 0. Writes one token of a tile of `width`: words of 8 bytes go to values + i · 8 ·
  /// width, scales and sums `width` apart.
  void (*quantize_row)(const float* x, std::size_t n, std::size_t group_size, std::size_t width, std::int8_t* values,
                       float* scales, float* sums);

  /// y(t, row) = Σ_groups scale · (s · Σ q·x) + bias · sum, for the rows of blocks [block_begin,
  /// block_end), all t; x.width is the number of tokens up to `few` of them, else `tile`. The result of a token does
  /// not depend on how many tokens there are.
  void (*affine_matmul)(const PackedAffine& w, std::size_t block_begin, std::size_t block_end, const QuantizedRows& x,
                        const Output& y);

  /// y(t, row) = Σ_c w[row · cols + c] · x(t, c) for rows [row_begin, row_end), row_begin a multiple of kBlockRows,
  /// with float32 sums. nullptr: not on this instruction set (float activations it is). The result of a token does not
  /// depend on how many tokens there are.
  void (*bf16_matmul)(const std::uint16_t* w, std::size_t cols, std::size_t row_begin, std::size_t row_end,
                      const SplitRows& x, const Output& y);

  /// c[m · ldc + n] = Σ_k a[m · lda + k] · b[n · ldb + k]: rows against rows. b is float, bf16 or f16 (by `element`),
  /// ldb in elements.
  void (*gemm_nt)(std::size_t m, std::size_t n, std::size_t k, const float* a, std::size_t lda, Element element,
                  const void* b, std::size_t ldb, float* c, std::size_t ldc);

  /// c[m · ldc + n] (+)= Σ_k a[m · lda + k] · b[k · ldb + n]; c is read only when `accumulate`. b is float or f16, ldb
  /// in elements.
  void (*gemm_nn)(std::size_t m, std::size_t n, std::size_t k, const float* a, std::size_t lda, Element element,
                  const void* b, std::size_t ldb, float* c, std::size_t ldc, bool accumulate);

  /// One step of the gated delta rule on s (dk × dv, row-major, updated in place):
  /// u = beta (v − g kᵀs); s ← g s + k ⊗ u; y = qᵀs.
  void (*delta_step)(float* s, std::size_t dk, std::size_t dv, const float* q, const float* k, const float* v, float g,
                     float beta, float* y);

  /// u ← (I + a)⁻¹ u for strictly lower triangular a (n × n, leading dimension lda), u of n × cols (ldu): forward
  /// substitution.
  void (*solve_lower)(std::size_t n, std::size_t cols, const float* a, std::size_t lda, float* u, std::size_t ldu);

  /// out = x · rsqrt(mean(x²) + eps) · w, n values; out may be x.
  void (*rms_norm)(const float* x, const float* w, std::size_t n, float eps, float* out);
  /// x ← x · rsqrt(sum(x²) + 1e-6) · scale, n values.
  void (*l2_norm)(float* x, std::size_t n, float scale);
  /// x += y, n values.
  void (*add)(float* x, const float* y, std::size_t n);
  /// x ← x · factor, n values.
  void (*scale)(float* x, float factor, std::size_t n);
  /// x ← a · x + b · y, n values.
  void (*axpby)(float* x, float a, const float* y, float b, std::size_t n);
  /// x[j] ← x[j] · factor · exp(to − from[j]), n values: a row of the chunked delta rule's decay matrix.
  void (*decay_scale)(float* x, float factor, float to, const float* from, std::size_t n);
  /// gate ← silu(gate) · up, n values.
  void (*silu_mul)(float* gate, const float* up, std::size_t n);
  /// out ← out · silu(z) (the gate of linear attention), n values.
  void (*mul_silu)(float* out, const float* z, std::size_t n);
  /// out ← out · sigmoid(gate) (the gate of full attention), n values.
  void (*mul_sigmoid)(float* out, const float* gate, std::size_t n);
  /// out[c] = silu(Σ_tap rows[tap][c] · w[tap · w_stride + c]): one position of the causal convolution for n channels.
  /// `rows`: the last `taps` inputs, oldest first.
  void (*conv_silu)(const float* const* rows, const float* w, std::size_t w_stride, std::size_t taps, std::size_t n,
                    float* out);
  /// One block of online softmax: raises *highest to the block's maximum (of x · scale), turns x into
  /// exp(x · scale − *highest) and returns their sum. n >= 1; -inf entries become 0.
  float (*softmax_block)(float* x, std::size_t n, float scale, float* highest);
  /// Float to binary16, rounding to nearest even, and back; n values.
  void (*to_f16)(const float* x, std::uint16_t* out, std::size_t n);
  void (*from_f16)(const std::uint16_t* x, float* out, std::size_t n);
  /// Splits n floats into two bfloat16 each, rounded to nearest even; subnormal parts may become zero. Writes one token
  /// of a tile of `width`: steps of 2 · kSplitColumns values go to values + i · 2 · kSplitColumns · width.
  void (*split_row)(const float* x, std::size_t n, std::size_t width, std::uint16_t* values);
};

/// The tables. One that was not compiled for this processor family is nullptr.
const Kernels* scalar_kernels();
const Kernels* avx2_kernels();
const Kernels* avx512_kernels();
const Kernels* avx512bf16_kernels();
const Kernels* neon_kernels();

}  // namespace qwen35::cpu
