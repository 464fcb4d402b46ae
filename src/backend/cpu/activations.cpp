#include "backend/cpu/activations.h"

#include <algorithm>

namespace qwen35::cpu {
namespace {

/// Rows that a thread takes at least: what the kernels for many tokens take at once.
constexpr std::size_t kUnitRows = 2 * kBlockRows;

}  // namespace

std::size_t row_grain(std::size_t tokens, const ThreadPool& pool) {
  return std::clamp<std::size_t>((tokens + pool.threads() - 1) / pool.threads(), 2, 12);
}

void Activations::prepare(std::size_t tokens, std::size_t cols, std::span<const PackedMatrix* const> matrices,
                          const Kernels& kernels) {
  kernels_ = &kernels;
  tokens_ = tokens;
  cols_ = cols;
  split_width_ = std::clamp<std::size_t>(tokens, 1, kernels.tile);
  quantized_width_ = tokens <= kernels.few ? std::max<std::size_t>(tokens, 1) : kernels.tile;
  wants_floats_ = wants_split_ = false;
  for (Quantized& form : quantized_) form.group_size = 0;
  for (const PackedMatrix* matrix : matrices) {
    if (matrix->form() == Form::floats) {
      wants_floats_ = true;
      floats_.reserve(tokens * cols);
    } else if (matrix->form() == Form::split) {
      wants_split_ = true;
      split_.reserve(tokens * split_values());
    } else if (const std::size_t group_size = matrix->group_size(); quantized(group_size).values == nullptr) {
      Quantized& form = *std::find_if(std::begin(quantized_), std::end(quantized_),
                                      [](const Quantized& f) { return f.group_size == 0; });
      form.group_size = group_size;
      form.values.reserve(tokens * cols * 2);
      form.scales.reserve(tokens * (cols / group_size));
      form.sums.reserve(tokens * (cols / group_size));
    }
  }
}

void Activations::write(std::size_t token, const float* x) {
  if (wants_floats_) std::copy(x, x + cols_, floats_.data() + token * cols_);
  if (wants_split_) {
    const std::size_t first = token / split_width_ * split_width_;  // of its tile
    kernels_->split_row(x, cols_, std::min(split_width_, tokens_ - first),
                        split_.data() + first * split_values() + (token - first) * 2 * kSplitColumns);
  }
  const std::size_t first = token / quantized_width_ * quantized_width_;
  const std::size_t width = std::min(quantized_width_, tokens_ - first);
  for (Quantized& form : quantized_) {
    if (form.group_size == 0) break;
    const std::size_t at = first * (cols_ / form.group_size) + (token - first);
    kernels_->quantize_row(x, cols_, form.group_size, width,
                           form.values.data() + first * cols_ * 2 + (token - first) * 8, form.scales.data() + at,
                           form.sums.data() + at);
  }
}

void Activations::write_all(const float* x, ThreadPool& pool) {
  pool.run(tokens_, row_grain(tokens_, pool), [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t token = begin; token < end; ++token) write(token, x + token * cols_);
  });
}

QuantizedRows Activations::quantized(std::size_t group_size) const {
  for (const Quantized& form : quantized_) {
    if (form.group_size == group_size)
      return {form.values.data(), form.scales.data(), form.sums.data(), tokens_, quantized_width_};
  }
  return {};
}

namespace {

/// Rows [first, last) of one product with float activations: the matrix in place, or dequantised row by row.
void multiply_floats(const Product& product, const Activations& x, std::size_t first, std::size_t last,
                     const Kernels& kernels) {
  const PackedMatrix& matrix = *product.matrix;
  const std::size_t cols = matrix.cols();
  const auto* dense = std::get_if<DenseMatrix>(&matrix.stored().storage);
  thread_local std::vector<float> dequantized;
  // A block at a time: a panel of the output holds whole blocks.
  for (std::size_t row = first; row < last; row += kBlockRows) {
    const std::size_t count = std::min(kBlockRows, last - row);
    const Output& out = product.y;
    float* y = out.y + row / out.panel * out.panel_stride + row % out.panel;
    if (dense != nullptr) {
      const Element element = dense->type == FloatType::f32    ? Element::f32
                              : dense->type == FloatType::bf16 ? Element::bf16
                                                               : Element::f16;
      const std::size_t width = element == Element::f32 ? 4 : 2;
      const auto* data = static_cast<const std::byte*>(dense->data) + row * cols * width;
      kernels.gemm_nt(x.tokens(), count, cols, x.floats(), cols, element, data, cols, y, out.stride);
    } else {
      dequantized.resize(kBlockRows * cols);
      for (std::size_t i = 0; i < count; ++i) matrix.stored().row(row + i, dequantized.data() + i * cols);
      kernels.gemm_nt(x.tokens(), count, cols, x.floats(), cols, Element::f32, dequantized.data(), cols, y, out.stride);
    }
  }
}

/// Rows [first, last) of one product; first is a multiple of kUnitRows.
void multiply_rows(const Product& product, const Activations& x, std::size_t first, std::size_t last,
                   const Kernels& kernels) {
  const PackedMatrix& matrix = *product.matrix;
  switch (matrix.form()) {
    case Form::floats:
      multiply_floats(product, x, first, last, kernels);
      break;
    case Form::split:
      kernels.bf16_matmul(static_cast<const std::uint16_t*>(std::get<DenseMatrix>(matrix.stored().storage).data),
                          matrix.cols(), first, last, x.split(), product.y);
      break;
    case Form::quantized:
      kernels.affine_matmul(matrix.packed(), first / kBlockRows, (last + kBlockRows - 1) / kBlockRows,
                            x.quantized(matrix.group_size()), product.y);
      break;
  }
}

/// Small enough chunks that threads of unequal speed finish together, large enough to stream through memory.
std::size_t grain_of(std::size_t units, const ThreadPool& pool) {
  return std::clamp<std::size_t>(units / (pool.threads() * 8), 1, 32);
}

std::size_t units_of(const PackedMatrix& matrix) { return (matrix.rows() + kUnitRows - 1) / kUnitRows; }

}  // namespace

void multiply(std::span<const Product> products, const Activations& x, const Kernels& kernels, ThreadPool& pool) {
  std::size_t total = 0;
  for (const Product& product : products) total += units_of(*product.matrix);
  pool.run(total, grain_of(total, pool), [&](std::size_t begin, std::size_t end, std::size_t) {
    std::size_t offset = 0;
    for (const Product& product : products) {
      const std::size_t units = units_of(*product.matrix);
      const std::size_t first = std::max(begin, offset);
      const std::size_t last = std::min(end, offset + units);
      if (first < last) {
        multiply_rows(product, x, (first - offset) * kUnitRows,
                      std::min((last - offset) * kUnitRows, product.matrix->rows()), kernels);
      }
      offset += units;
    }
  });
}

}  // namespace qwen35::cpu
