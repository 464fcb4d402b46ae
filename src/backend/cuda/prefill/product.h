#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <array>
#include <cstdint>

#include "backend/cuda/device/device.h"
#include "backend/cuda/device/layout.h"

namespace qwen35::cuda {

/// Activations as kernels of many tokens take them: value = hi + lo, each tokens × stride binary16 in device memory.
/// Columns past a matrix's own, up to the next multiple of 128, are zero. tokens × stride is below 2^32. lo may be
/// nullptr: hi alone.
struct HalfPair {
  __half* hi = nullptr;
  __half* lo = nullptr;
  std::uint32_t stride = 0;  ///< halves between tokens, a multiple of 8
};

/// Columns that the activations of a matrix of `columns` columns have.
constexpr std::uint32_t padded(std::uint32_t columns) {
  return (columns + kUnitColumns - 1) / kUnitColumns * kUnitColumns;
}

/// What is kept of silu(gate) · up: this power of two times it, so that large ones stay within binary16.
inline constexpr float kSwigluFactor = 1.0F / 16.0F;

/// How a product is cut into blocks of threads: rows of the matrix × tokens. automatic: what choose() says. split: like
/// r64_t32, and the sums are cut into split_of(w).parts, so that matrices of few rows keep the whole GPU busy with few
/// tokens too; automatic for a matrix that has one part only, for swiglu() and for hi alone.
enum class ProductShape : std::uint8_t { r256_t128, r128_t128, r128_t64, r64_t64, r64_t32, automatic, split };
inline constexpr int kProductShapes = 5;  ///< those that has() may have

/// How ProductShape::split cuts the sums of a matrix: parts of `units` units, the last may be shorter. Of the matrix
/// alone, so that results depend on nothing else.
struct ProductSplit {
  std::uint32_t parts = 1, units = 0;
};
inline constexpr std::uint32_t kMostParts = 8;
constexpr ProductSplit split_of(const Matrix& w) {
  constexpr std::uint32_t kBlocks = 128;  // wanted at up to 32 tokens: a GPU's multiprocessors, more or less
  const std::uint32_t blocks = (w.rows + 63) / 64;
  const std::uint32_t wanted = blocks * kMostParts <= kBlocks ? kMostParts : blocks < kBlocks ? kBlocks / blocks : 1;
  const std::uint32_t units = (w.units + wanted - 1) / wanted;
  return {(w.units + units - 1) / units, units};
}

struct ProductArguments;

/// Products of packed weights and many tokens on tensor cores: out[token][row] = factor · Σ W[row][k] · x[token][k].
///
/// Weights are unpacked in registers and never written back. Sums are float32 and run over rising k in steps of 16
/// (hi, then lo), so that a token's results depend neither on the other tokens nor on the shape. Only
/// ProductShape::split sums differently, within parts and then over them, again whatever the other tokens are. On
/// Hopper wgmma is used, elsewhere mma.sync; QWEN35_CUDA_PATH=mma in the environment, read once, asks for mma.sync
/// everywhere.
///
/// Work is put on `stream` and not waited for. Throws as check() does. One thread at a time.
class Products {
 public:
  enum class Path : std::uint8_t { wgmma, mma };

  explicit Products(const DeviceInfo& device);
  /// For tests: `path` must be one that the device has.
  Products(const DeviceInfo& device, Path path);

  /// out[token · stride + row] = the product.
  void store(const Matrix& w, const HalfPair& x, std::uint32_t tokens, float* out, std::uint32_t stride,
             cudaStream_t stream, ProductShape shape = ProductShape::automatic);
  /// out += times · the product.
  void add(const Matrix& w, const HalfPair& x, std::uint32_t tokens, float times, float* out, std::uint32_t stride,
           cudaStream_t stream, ProductShape shape = ProductShape::automatic);
  /// For gate_up (device_model.h): h = kSwigluFactor · silu(gate) · up, rows / 2 of them a token, to out.hi and out.lo.
  /// Columns of `out` beyond may be written with zeros, up to its stride.
  void swiglu(const Matrix& w, const HalfPair& x, std::uint32_t tokens, const HalfPair& out, cudaStream_t stream,
              ProductShape shape = ProductShape::automatic);

  /// Asks for the memory that ProductShape::split needs for `tokens` tokens of w, so that no product of them has to.
  void reserve_split(const Matrix& w, std::uint32_t tokens);
  /// Device memory held.
  [[nodiscard]] std::size_t memory_bytes() const { return partials_.bytes(); }

  [[nodiscard]] Path path() const { return path_; }
  /// Whether the path has the shape.
  [[nodiscard]] bool has(ProductShape shape) const;
  /// The one taken for a matrix and a number of tokens.
  [[nodiscard]] ProductShape choose(const Matrix& w, std::uint32_t tokens) const;

 private:
  void launch(const ProductArguments& arguments, ProductShape shape, cudaStream_t stream);
  void launch_split(const ProductArguments& arguments, cudaStream_t stream);
  void start(const ProductArguments& arguments, ProductShape shape, std::uint32_t parts, cudaStream_t stream);

  static constexpr std::array<std::uint32_t, 5> kBits{4, 5, 6, 8, 16};

  int multiprocessors_ = 0;
  Path path_ = Path::mma;
  bool early_ = false;     ///< launch.cuh
  DeviceMemory partials_;  ///< parts × tokens × rows floats of a split product
  /// Kernels that have their shared memory.
  std::array<bool, kBits.size() * (static_cast<std::size_t>(ProductShape::split) + 1) * 2> ready_{};
};

/// The path taken on a device: what the environment asks for, else the best.
Products::Path product_path(const DeviceInfo& device);

}  // namespace qwen35::cuda
