#include <qwen35/error.h>

#include <cstdlib>
#include <string>

#include "backend/cuda/launch.h"
#include "backend/cuda/product.h"
#include "backend/cuda/product_kernel.cuh"

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

/// What a block of a shape costs beside others of its kind, in cycles.
struct ShapeCost {
  ProductShape shape;
  std::uint32_t rows, tokens;
  float rate;      ///< share of the tensor cores' speed when several blocks share a multiprocessor's time
  float alone;     ///< the same for a multiprocessor's only block
  float overhead;  ///< before the first and after the last product
};
constexpr std::array<ShapeCost, kProductShapes> kCosts{{
    {ProductShape::r256_t128, 256, 128, 0.85F, 0.85F, 5000},
    {ProductShape::r128_t128, 128, 128, 0.8F, 0.7F, 2500},
    {ProductShape::r128_t64, 128, 64, 0.7F, 0.6F, 1800},
    {ProductShape::r64_t64, 64, 64, 0.6F, 0.4F, 1500},
    {ProductShape::r64_t32, 64, 32, 0.45F, 0.3F, 1200},
}};

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
  return shape != ProductShape::automatic && product_entry<16>(shape, path_, false).kernel != nullptr;
}

ProductShape Products::choose(const Matrix& w, std::uint32_t tokens) const {
  ProductShape best = ProductShape::r64_t32;
  float least = 0;
  for (const ShapeCost& cost : kCosts) {
    if (!has(cost.shape)) continue;
    const std::uint32_t blocks = (w.rows + cost.rows - 1) / cost.rows * ((tokens + cost.tokens - 1) / cost.tokens);
    const auto processors = static_cast<std::uint32_t>(multiprocessors_);
    const auto rounds = static_cast<float>((blocks + processors - 1) / processors);
    // A multiprocessor adds 2048 products a cycle; hi and lo.
    const float cycles = static_cast<float>(cost.rows * cost.tokens) * static_cast<float>(w.units) * 128 * 2 / 2048;
    const float time = rounds * cycles / (rounds > 1 ? cost.rate : cost.alone) + rounds * cost.overhead;
    if (least == 0 || time < least) {
      least = time;
      best = cost.shape;
    }
  }
  return best;
}

void Products::launch(const ProductArguments& arguments, ProductShape shape, cudaStream_t stream) {
  if (arguments.tokens == 0) return;
  if (shape == ProductShape::automatic) shape = choose(arguments.w, arguments.tokens);
  const bool single = arguments.lo == nullptr;
  const ProductEntry entry = find(arguments.w.bits, shape, path_, single);
  if (entry.kernel == nullptr) {
    throw Error(ErrorCode::device,
                "this GPU's path of products does not have the shape asked for; shapes that has() "
                "names were expected; this is a defect of the program");
  }
  std::uint32_t bits = 0;
  while (kBits[bits] != arguments.w.bits) ++bits;
  bool& ready = ready_[(bits * kProductShapes + static_cast<std::uint32_t>(shape)) * 2 + (single ? 1 : 0)];
  if (!ready) {
    check(cudaFuncSetAttribute(entry.kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(entry.shared_bytes)),
          "giving a product its shared memory");
    ready = true;
  }
  const dim3 grid((arguments.w.rows + entry.rows - 1) / entry.rows,
                  (arguments.tokens + entry.tokens - 1) / entry.tokens);
  check(cuda::launch(entry.kernel, grid, entry.threads, entry.shared_bytes, stream, early_, arguments),
        "starting a product");
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
