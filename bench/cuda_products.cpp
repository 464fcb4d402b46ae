// Times the products of a prefill pass on a GPU: every matrix of the 0.8B shape, every shape of block, 16 and 4 bits,
// with both halves of the activations and with the high one alone. No Google Benchmark in it: a product is put on the
// stream many times over and timed as a whole, with weights that take turns so that they come from where a pass finds
// them.
//
//   cuda-products [tokens …]      default: 20 512 4096

#include <cuda_fp16.h>
#include <cuda_runtime_api.h>
#include <qwen35/error.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "backend/cuda/device/device.h"
#include "backend/cuda/prefill/product.h"
#include "backend/cuda/prefill/rows.h"

namespace {

using namespace qwen35::cuda;

constexpr double kPeak = 989e12;  // dense binary16 on an H100 SXM, floating-point operations a second
constexpr std::uint32_t kLayers = 24;

struct Product {
  const char* name;
  std::uint32_t rows, columns;
  std::uint32_t layers;  // that have one
  enum class Kind { store, add, swiglu } kind;
};
constexpr Product kProducts[] = {
    {"linear in", 8224, 1024, 18, Product::Kind::store}, {"full in", 5120, 1024, 6, Product::Kind::store},
    {"out", 1024, 2048, 24, Product::Kind::add},         {"gate_up", 7168, 1024, 24, Product::Kind::swiglu},
    {"down", 1024, 3584, 24, Product::Kind::add},
};
constexpr const char* kShapeNames[] = {"256x128", "128x128", "128x64", "64x64", "64x32", "chosen", "split"};

/// Microseconds of one call, the median of five rounds of `repeats`.
double time_of(const std::function<void(std::uint32_t)>& call, std::uint32_t repeats) {
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  check(cudaEventCreate(&begin), "making an event");
  check(cudaEventCreate(&end), "making an event");
  for (std::uint32_t i = 0; i < repeats; ++i) call(i);
  std::vector<float> rounds(5);
  for (float& round : rounds) {
    check(cudaEventRecord(begin, nullptr), "recording an event");
    for (std::uint32_t i = 0; i < repeats; ++i) call(i);
    check(cudaEventRecord(end, nullptr), "recording an event");
    check(cudaEventSynchronize(end), "timing");
    check(cudaEventElapsedTime(&round, begin, end), "timing");
  }
  check(cudaEventDestroy(begin), "ending an event");
  check(cudaEventDestroy(end), "ending an event");
  std::sort(rounds.begin(), rounds.end());
  return double{rounds[2]} * 1000 / repeats;
}

/// Random bytes that are finite binary16 everywhere: weights' values do not matter for time, but power does for clocks.
DeviceMemory random_halves(std::size_t bytes) {
  std::vector<std::uint16_t> values(bytes / 2);
  std::mt19937 engine(1);
  for (std::uint16_t& value : values) value = static_cast<std::uint16_t>(engine() & 0x83ffU) | 0x2c00U;  // 0.06 to 0.13
  DeviceMemory memory(bytes);
  check(cudaMemcpy(memory.data(), values.data(), bytes, cudaMemcpyHostToDevice), "uploading");
  return memory;
}

Matrix matrix_of(const Product& product, std::uint32_t bits) {
  Matrix m;
  m.rows = product.rows;
  m.columns = product.columns;
  m.tiles = (m.rows + kTileRows - 1) / kTileRows;
  m.units = (m.columns + kUnitColumns - 1) / kUnitColumns;
  m.bits = bits;
  m.group = bits == 16 ? 0 : 64;
  m.unit_bytes = value_bytes(bits) + scale_bytes(bits, 64);
  m.factor = 0x1p-10F;
  return m;
}

void run(const std::vector<std::uint32_t>& counts) {
  const DeviceInfo info = device_info();
  std::printf("%s, %d multiprocessors\n", info.name.c_str(), info.multiprocessors);
  Products products(info);
  std::printf("path: %s\n", products.path() == Products::Path::wgmma ? "wgmma" : "mma");
  const std::uint32_t most = *std::max_element(counts.begin(), counts.end());
  const DeviceMemory activations = random_halves(std::size_t{most} * 3584 * 2 * sizeof(__half));
  const DeviceMemory out(std::size_t{most} * 8224 * sizeof(float));
  const DeviceMemory hidden(std::size_t{most} * 3584 * 2 * sizeof(__half));
  for (const std::uint32_t bits : {16U, 4U}) {
    // As many copies of the largest matrix as layers: a pass finds none of its weights in the cache but by size.
    const std::size_t largest = std::size_t{8224 / kTileRows} * 8 * (value_bytes(bits) + scale_bytes(bits, 64));
    const DeviceMemory weights = random_halves(largest * kLayers);
    for (const std::uint32_t tokens : counts) {
      const std::uint32_t repeats = tokens <= 64 ? 96 : tokens <= 1024 ? 48 : 24;
      for (const bool single : {false, true}) {
        std::printf("\n%u bits, %u tokens, %s\n%-10s %-8s %10s %10s %7s\n", bits, tokens,
                    single ? "hi alone" : "hi + lo", "product", "blocks", "us", "TFLOP/s", "share");
        double total = 0;
        for (const Product& product : kProducts) {
          Matrix matrix = matrix_of(product, bits);
          const double operations = 2.0 * product.rows * product.columns * tokens * (single ? 1 : 2);
          for (int s = 0; s <= kProductShapes + 1; ++s) {
            auto shape = static_cast<ProductShape>(s);
            const bool chosen = shape == ProductShape::automatic;
            // What a pass of less than a chunk takes, where it is another than the chosen one.
            const bool has_split = tokens < 64 && product.kind == Product::Kind::add && split_of(matrix).parts > 1;
            if (shape == ProductShape::split && !has_split) continue;
            if (single && (chosen || shape == ProductShape::split)) continue;
            if (single && shape != ProductShape::r256_t128 && shape != ProductShape::r64_t32) continue;
            if (!chosen && shape != ProductShape::split && !products.has(shape)) continue;
            const std::uint32_t stride = product.columns;
            const HalfPair x{activations.as<__half>(),
                             single ? nullptr : activations.as<__half>() + std::size_t{tokens} * stride, stride};
            const double us = time_of(
                [&](std::uint32_t i) {
                  matrix.data = weights.as<std::uint8_t>() + largest * (i % kLayers);
                  if (product.kind == Product::Kind::store) {
                    products.store(matrix, x, tokens, out.as<float>(), product.rows, nullptr, shape);
                  } else if (product.kind == Product::Kind::add) {
                    products.add(matrix, x, tokens, 0x1p-10F, out.as<float>(), product.rows, nullptr, shape);
                  } else {
                    products.swiglu(matrix, x, tokens,
                                    {hidden.as<__half>(), hidden.as<__half>() + std::size_t{most} * 3584, 3584},
                                    nullptr, shape);
                  }
                },
                repeats);
            if (chosen ? !has_split : shape == ProductShape::split) total += us * product.layers;
            std::printf("%-10s %-8s %10.2f %10.1f %6.1f%%", product.name, kShapeNames[s], us, operations / us / 1e6,
                        100 * operations / us * 1e6 / kPeak);
            if (chosen) std::printf("  = %s", kShapeNames[static_cast<int>(products.choose(matrix, tokens))]);
            std::printf("\n");
          }
        }
        if (!single) {
          const DeviceMemory norm(1024 * sizeof(float));
          check(cudaMemset(norm.data(), 0, norm.bytes()), "clearing");
          const double us = time_of(
              [&](std::uint32_t) {
                norm_rows(out.as<float>(), norm.as<float>(), 1e-6F, 1024, tokens,
                          {hidden.as<__half>(), hidden.as<__half>() + std::size_t{most} * 1024, 1024}, nullptr);
              },
              repeats);
          std::printf("%-10s %-8s %10.2f\n", "norm", "", us);
          total += us * 2 * kLayers;
          std::printf("24 layers without mixers: %.3f ms, %.0f tokens/s\n", total / 1000, tokens / total * 1e6);
        }
      }
    }
  }
  check(cudaDeviceSynchronize(), "finishing");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (const std::string why = why_unusable(); !why.empty()) {
      std::fprintf(stderr, "%s\n", why.c_str());
      return 1;
    }
    std::vector<std::uint32_t> counts;
    for (int i = 1; i < argc; ++i) {
      const unsigned long count = std::strtoul(argv[i], nullptr, 10);
      if (count < 1 || count > 65536) {
        std::fprintf(stderr, "a number of tokens is %s; 1 to 65536 was expected\n", argv[i]);
        return 2;
      }
      counts.push_back(static_cast<std::uint32_t>(count));
    }
    if (counts.empty()) counts = {20, 512, 4096};
    run(counts);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
