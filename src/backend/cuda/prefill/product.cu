#include <qwen35/error.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "backend/cuda/pieces/launch.cuh"
#include "backend/cuda/prefill/product.h"
#include "backend/cuda/prefill/product_kernel.cuh"

namespace qwen35::cuda {
namespace {

ProductEntry find(std::uint32_t bits, ProductShape shape, Products::Path path, bool single) {
  switch (bits) {
    case 4:
      return product_entry<4>(shape, path, single);
    case 5:
      return product_entry<5>(shape, path, single);
    case 6:
      return product_entry<6>(shape, path, single);
    case 8:
      return product_entry<8>(shape, path, single);
    case 16:
      return product_entry<16>(shape, path, single);
    default:
      throw Error(ErrorCode::device, "a packed matrix has " + std::to_string(bits) +
                                         " bits; 4, 5, 6, 8 or 16 were expected; this is a defect of the program");
  }
}

/// Microseconds of a shape's blocks, fitted to what bench/cuda_products.cpp measures on an H100 with hi and lo.
struct BlockCost {
  float alone;   ///< a unit (128 columns), however few blocks a multiprocessor has
  float shared;  ///< a unit of one of several blocks that keep a multiprocessor busy
  float begin;   ///< the launch, the first and the last steps
};
struct ShapeCost {
  ProductShape shape;
  std::uint32_t rows, tokens;
  std::uint32_t resident;    ///< blocks that a multiprocessor has at a time
  BlockCost halves, quanta;  ///< 16 bits; fewer
};
constexpr std::array<ShapeCost, kProductShapes> kCosts{{
    {ProductShape::r256_t128, 256, 128, 1, {4.6F, 1.6F, 0.6F}, {2.6F, 4.5F, 0.2F}},
    {ProductShape::r128_t128, 128, 128, 2, {2.6F, 1.75F, 5.8F}, {2.65F, 1.85F, 4.8F}},
    {ProductShape::r128_t64, 128, 64, 2, {1.75F, 1.17F, 5.7F}, {1.9F, 1.22F, 1.3F}},
    {ProductShape::r64_t64, 64, 64, 3, {1.27F, 0.7F, 12.7F}, {1.47F, 0.635F, 7.1F}},
    {ProductShape::r64_t32, 64, 32, 2, {1.2F, 0.65F, 3.3F}, {0.1F, 0.52F, 8.8F}},
}};

constexpr std::uint32_t kSumThreads = 128;

/// Adds the parts of a split product up, first to last. Thread: a row of the matrix; blockIdx.y: a token.
__global__ void __launch_bounds__(kSumThreads)
    sum_parts_kernel(const float* partials, std::uint32_t parts, std::uint32_t rows, std::uint32_t tokens, float factor,
                     bool add, float* out, std::uint32_t out_stride) {
  let_next_begin();
  const std::uint32_t row = blockIdx.x * kSumThreads + threadIdx.x;
  const std::uint32_t token = blockIdx.y;
  const float* from = partials + std::size_t{token} * rows + row;
  float* at = out + std::size_t{token} * out_stride + row;
  wait_for_previous();
  if (row >= rows) return;
  const float before = add ? *at : 0.0F;
  float values[kMostParts];  // all on their way before the first is used
#pragma unroll
  for (std::uint32_t p = 0; p < kMostParts; ++p) {
    values[p] = p < parts ? from[std::size_t{p} * tokens * rows] : 0.0F;
  }
  float sum = values[0];
#pragma unroll
  for (std::uint32_t p = 1; p < kMostParts; ++p) sum += values[p];
  const float value = sum * factor;
  *at = add ? before + value : value;
}

}  // namespace

Products::Path product_path(const DeviceInfo& device) {
  static const bool kAskedForMma = [] {
    const char* value = std::getenv("QWEN35_CUDA_PATH");
    return value != nullptr && std::string(value) == "mma";
  }();
  return device.major == 9 && !kAskedForMma ? Products::Path::wgmma : Products::Path::mma;
}

Products::Products(const DeviceInfo& device) : Products(device, product_path(device)) {}

Products::Products(const DeviceInfo& device, Path path)
    : multiprocessors_(device.multiprocessors), path_(path), early_(device.major >= 9) {}

bool Products::has(ProductShape shape) const {
  return shape < ProductShape::automatic && product_entry<16>(shape, path_, false).kernel != nullptr;
}

ProductShape Products::choose(const Matrix& w, std::uint32_t tokens) const {
  ProductShape best = ProductShape::r64_t32;
  float least = 0;
  for (const ShapeCost& cost : kCosts) {
    if (!has(cost.shape)) continue;
    const std::uint32_t blocks = (w.rows + cost.rows - 1) / cost.rows * ((tokens + cost.tokens - 1) / cost.tokens);
    // Rounds of as many blocks as fit, then what is left, spread evenly.
    const auto processors = static_cast<std::uint32_t>(multiprocessors_);
    const std::uint32_t rounds = blocks / (processors * cost.resident);
    const std::uint32_t left = (blocks % (processors * cost.resident) + processors - 1) / processors;
    const BlockCost& of = w.bits == 16 ? cost.halves : cost.quanta;
    float unit = static_cast<float>(rounds) * std::max(of.alone, static_cast<float>(cost.resident) * of.shared);
    if (left > 0) unit += std::max(of.alone, static_cast<float>(left) * of.shared);
    const float time = of.begin + static_cast<float>(w.units) * unit;
    if (least == 0 || time < least) {
      least = time;
      best = cost.shape;
    }
  }
  return best;
}

void Products::launch(const ProductArguments& arguments, ProductShape shape, cudaStream_t stream) {
  if (arguments.tokens == 0) return;
  const bool can_split =
      arguments.lo != nullptr && arguments.epilogue != ProductEpilogue::swiglu && split_of(arguments.w).parts > 1;
  if (shape == ProductShape::split && can_split) {
    launch_split(arguments, stream);
    return;
  }
  if (shape == ProductShape::automatic || shape == ProductShape::split) {
    shape = choose(arguments.w, arguments.tokens);
  }
  start(arguments, shape, 1, stream);
}

void Products::reserve_split(const Matrix& w, std::uint32_t tokens) {
  const std::uint32_t parts = split_of(w).parts;
  if (parts > 1) partials_.reserve(std::size_t{parts} * tokens * w.rows * sizeof(float));
}

void Products::launch_split(const ProductArguments& arguments, cudaStream_t stream) {
  const Matrix& w = arguments.w;
  const ProductSplit split = split_of(w);
  reserve_split(w, arguments.tokens);
  ProductArguments part = arguments;
  part.epilogue = ProductEpilogue::store;
  part.factor = 1;
  part.out = partials_.as<float>();
  part.out_stride = w.rows;
  part.part_units = split.units;
  start(part, ProductShape::split, split.parts, stream);
  const dim3 grid((w.rows + kSumThreads - 1) / kSumThreads, arguments.tokens);
  cuda::launch(sum_parts_kernel, grid, kSumThreads, 0, stream, early_, "adding the parts of a product up",
               partials_.as<float>(), split.parts, w.rows, arguments.tokens, arguments.factor,
               arguments.epilogue == ProductEpilogue::add, arguments.out, arguments.out_stride);
}

void Products::start(const ProductArguments& arguments, ProductShape shape, std::uint32_t parts, cudaStream_t stream) {
  const bool single = arguments.lo == nullptr;
  const ProductEntry entry = find(arguments.w.bits, shape, path_, single);
  if (entry.kernel == nullptr) {
    throw Error(ErrorCode::device,
                "this GPU's path of products does not have the shape asked for; shapes that has() "
                "names were expected; this is a defect of the program");
  }
  std::uint32_t bits = 0;
  while (kBits[bits] != arguments.w.bits) ++bits;
  constexpr auto kShapes = static_cast<std::uint32_t>(ProductShape::split) + 1;
  bool& ready = ready_[(bits * kShapes + static_cast<std::uint32_t>(shape)) * 2 + (single ? 1 : 0)];
  if (!ready) {
    allow_shared(entry.kernel, entry.shared_bytes, "giving a product its shared memory");
    ready = true;
  }
  const dim3 grid((arguments.w.rows + entry.rows - 1) / entry.rows,
                  (arguments.tokens + entry.tokens - 1) / entry.tokens, parts);
  cuda::launch(entry.kernel, grid, entry.threads, entry.shared_bytes, stream, early_, "starting a product", arguments);
}

namespace {

ProductArguments arguments_of(const Matrix& w, const HalfPair& x, std::uint32_t tokens) {
  ProductArguments arguments;
  arguments.w = w;
  arguments.hi = x.hi;
  arguments.lo = x.lo;
  arguments.stride = x.stride;
  arguments.tokens = tokens;
  arguments.factor = w.factor;
  return arguments;
}

}  // namespace

void Products::store(const Matrix& w, const HalfPair& x, std::uint32_t tokens, float* out, std::uint32_t stride,
                     cudaStream_t stream, ProductShape shape) {
  ProductArguments arguments = arguments_of(w, x, tokens);
  arguments.out = out;
  arguments.out_stride = stride;
  launch(arguments, shape, stream);
}

void Products::add(const Matrix& w, const HalfPair& x, std::uint32_t tokens, float times, float* out,
                   std::uint32_t stride, cudaStream_t stream, ProductShape shape) {
  ProductArguments arguments = arguments_of(w, x, tokens);
  arguments.epilogue = ProductEpilogue::add;
  arguments.factor *= times;
  arguments.out = out;
  arguments.out_stride = stride;
  launch(arguments, shape, stream);
}

void Products::swiglu(const Matrix& w, const HalfPair& x, std::uint32_t tokens, const HalfPair& out,
                      cudaStream_t stream, ProductShape shape) {
  ProductArguments arguments = arguments_of(w, x, tokens);
  arguments.epilogue = ProductEpilogue::swiglu;
  arguments.out_hi = out.hi;
  arguments.out_lo = out.lo;
  arguments.out_stride = out.stride;
  launch(arguments, shape, stream);
}

}  // namespace qwen35::cuda
