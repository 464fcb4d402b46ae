// Single kernels beside the ceilings of this machine, with Google Benchmark: bytes/s against ceiling/read, op/s (one
// multiply-add is two operations) against ceiling/dot. QWEN35_ISA chooses the instruction set; one thread.
//     cmake -S . -B build -DQWEN35_BUILD_BENCHMARKS=ON && cmake --build build && build/bench/kernels

#include <benchmark/benchmark.h>

#include <cstdint>
#include <random>
#include <vector>

#include "backend/cpu/activations.h"
#include "backend/cpu/arena.h"
#include "backend/cpu/delta_rule.h"
#include "backend/cpu/kernels/dispatch.h"

namespace {

using namespace qwen35;
using namespace qwen35::cpu;
using benchmark::Counter;
using benchmark::State;

constexpr std::size_t kHidden = 1024;        // columns, as the 0.8B shape has them
constexpr std::size_t kMemoryRows = 131072;  // with these rows a matrix is larger than any cache
constexpr std::size_t kCacheRows = 3584;

std::vector<float> random_floats(std::size_t n, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& value : values) value = normal(engine);
  return values;
}

/// Chosen once: asking a virtual machine's processor what it can do takes tens of microseconds.
const Kernels& kernels() {
  static const Kernels& chosen = select_kernels();
  return chosen;
}

void report(State& state, double bytes, double operations) {
  const auto runs = static_cast<double>(state.iterations());
  if (bytes > 0) state.counters["bytes/s"] = Counter(bytes * runs, Counter::kIsRate);
  if (operations > 0) state.counters["op/s"] = Counter(operations * runs, Counter::kIsRate);
}

// --- ceilings --------------------------------------------------------------------------------------------------------

void ceiling_read(State& state) {
  std::vector<std::uint64_t> buffer(std::size_t{64} << 20, 1);
  for (auto _ : state) {
    std::uint64_t sums[8] = {};
    for (std::size_t i = 0; i < buffer.size(); i += 8) {
      for (std::size_t lane = 0; lane < 8; ++lane) sums[lane] += buffer[i + lane];
    }
    benchmark::DoNotOptimize(sums);
  }
  report(state, static_cast<double>(buffer.size()) * 8, 0);
}

#if defined(__x86_64__)
/// 24 independent sums, as many as a tile keeps, of 8-bit dot products with operands in registers.
__attribute__((target("avx512f,avx512vnni"))) void dot_loop(int rounds) {
#define QWEN35_DOT(n) "vpdpbusd %%zmm30, %%zmm31, %%zmm" #n "\n\t"
  for (int i = 0; i < rounds; ++i) {
    asm volatile(QWEN35_DOT(0) QWEN35_DOT(1) QWEN35_DOT(2) QWEN35_DOT(3) QWEN35_DOT(4) QWEN35_DOT(5) QWEN35_DOT(6)
                     QWEN35_DOT(7) QWEN35_DOT(8) QWEN35_DOT(9) QWEN35_DOT(10) QWEN35_DOT(11)::
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                           "xmm11");
  }
#undef QWEN35_DOT
}

void ceiling_dot(State& state) {
  if (!__builtin_cpu_supports("avx512vnni")) {
    state.SkipWithError("needs AVX-512 VNNI");
    return;
  }
  constexpr int kRounds = 10000;
  for (auto _ : state) dot_loop(kRounds);
  // Activations have two bytes: two dot products are one of ours.
  report(state, 0, kRounds * 12.0 * 64 * 2 / 2);
}
#endif

// --- products --------------------------------------------------------------------------------------------------------

/// rows × kHidden random weights of `bits` (16: bf16), packed as the backend does.
class Weights {
 public:
  Weights(std::size_t rows, int bits) : arena_(packed_size(rows, bits)) {
    std::mt19937 engine(1);
    words_.resize(rows * kHidden * static_cast<std::size_t>(bits) / 32);
    // bf16: exponents kept near 1.
    for (std::uint32_t& word : words_)
      word = bits == 16 ? (engine() & 0x807F807FU) | 0x3F003F00U : static_cast<std::uint32_t>(engine());
    scales_.assign(rows * kHidden / kGroup, 0x3C00);
    matrix_ = describe(rows, bits);
    packed_ = PackedMatrix(matrix_, {none_, true, kernels(), pool_, arena_});
  }
  [[nodiscard]] const PackedMatrix& packed() const { return packed_; }
  ThreadPool& pool() { return pool_; }

 private:
  static constexpr int kGroup = 64;
  WeightMatrix describe(std::size_t rows, int bits) {
    if (bits == 16) return {"bench", rows, kHidden, DenseMatrix{FloatType::bf16, words_.data()}};
    return {"bench", rows, kHidden,
            AffineMatrix{bits, kGroup, words_.data(), FloatType::bf16, scales_.data(), scales_.data()}};
  }
  std::size_t packed_size(std::size_t rows, int bits) {
    return Arena::padded(PackedMatrix::packed_bytes(describe(rows, bits)));
  }

  std::vector<std::uint32_t> words_;
  std::vector<std::uint16_t> scales_;
  ModelWeights none_;
  ThreadPool pool_{1};
  Arena arena_;
  WeightMatrix matrix_;
  PackedMatrix packed_;
};

void product(State& state) {
  const auto bits = static_cast<int>(state.range(0));
  const auto tokens = static_cast<std::size_t>(state.range(1));
  const std::size_t rows = tokens == 1 ? kMemoryRows : kCacheRows;
  Weights weights(rows, bits);
  const PackedMatrix* matrices[] = {&weights.packed()};
  const auto x = random_floats(tokens * kHidden, 2);
  std::vector<float> y(tokens * rows);
  Activations activations;
  activations.prepare(tokens, kHidden, matrices, kernels());
  activations.write_all(x.data(), weights.pool());
  const Product products[] = {{&weights.packed(), row_major(y.data(), weights.packed())}};
  for (auto _ : state) multiply(products, activations, kernels(), weights.pool());
  report(state, static_cast<double>(weights.packed().memory_bytes()),
         2.0 * static_cast<double>(rows * kHidden * tokens));
}

void write_activations(State& state) {
  const auto bits = static_cast<int>(state.range(0));
  Weights weights(32, bits);
  constexpr std::size_t kTokens = 256;
  const PackedMatrix* matrices[] = {&weights.packed()};
  const auto x = random_floats(kTokens * kHidden, 2);
  Activations activations;
  activations.prepare(kTokens, kHidden, matrices, kernels());
  for (auto _ : state) activations.write_all(x.data(), weights.pool());
  report(state, static_cast<double>(x.size()) * 4, 0);
}

// --- delta rule, attention, small pieces -----------------------------------------------------------------------------

void delta_rule(State& state) {
  constexpr std::size_t kDim = 128;
  const auto tokens = static_cast<std::size_t>(state.range(0));
  const auto q = random_floats(tokens * kDim, 1);
  const auto k = random_floats(tokens * kDim, 2);
  const auto v = random_floats(tokens * kDim, 3);
  std::vector<float> s(kDim * kDim);
  std::vector<float> y(tokens * kDim);
  auto u = v;
  const std::vector<float> decay(tokens, -0.1F);
  const std::vector<float> beta(tokens, 0.01F);
  DeltaRule rule(kDim, kDim);
  for (auto _ : state) {
    u = v;
    rule.run(kernels(), s.data(), tokens, q.data(), k.data(), u.data(), decay.data(), beta.data(), y.data(), kDim);
  }
  state.counters["token/s"] =
      Counter(static_cast<double>(tokens) * static_cast<double>(state.iterations()), Counter::kIsRate);
}

/// Scores of 32 queries (8 tokens, 4 heads) against 64 keys of 256 values.
void scores(State& state) {
  const auto q = random_floats(32 * 256, 1);
  const auto k = random_floats(64 * 256, 2);
  std::vector<float> c(32 * 64);
  for (auto _ : state) kernels().gemm_nt(32, 64, 256, q.data(), 256, Element::f32, k.data(), 256, c.data(), 64);
  report(state, 0, 2.0 * 32 * 64 * 256);
}

void weighted_values(State& state) {
  const auto p = random_floats(32 * 64, 1);
  const auto v = random_floats(64 * 256, 2);
  std::vector<float> c(32 * 256);
  for (auto _ : state) kernels().gemm_nn(32, 256, 64, p.data(), 64, Element::f32, v.data(), 256, c.data(), 256, false);
  report(state, 0, 2.0 * 32 * 64 * 256);
}

template <typename Run>
void elementwise(State& state, Run run) {
  auto x = random_floats(kCacheRows, 1);
  const auto y = random_floats(kCacheRows, 2);
  for (auto _ : state) {
    run(kernels(), x.data(), y.data());
    benchmark::DoNotOptimize(x.data());
    benchmark::ClobberMemory();
  }
  report(state, static_cast<double>(x.size()) * 4, 0);
}

}  // namespace

BENCHMARK(ceiling_read)->Name("ceiling/read")->Unit(benchmark::kMillisecond);
#if defined(__x86_64__)
BENCHMARK(ceiling_dot)->Name("ceiling/dot")->Unit(benchmark::kMicrosecond);
#endif
BENCHMARK(product)
    ->Name("product")
    ->ArgNames({"bits", "tokens"})
    ->ArgsProduct({{4, 5, 6, 8, 16}, {1, 8, 256}})
    ->Unit(benchmark::kMillisecond);
BENCHMARK(write_activations)->Name("activations")->ArgName("bits")->Arg(4)->Arg(16)->Unit(benchmark::kMicrosecond);
BENCHMARK(delta_rule)->Name("delta_rule")->ArgName("tokens")->Arg(1)->Arg(64)->Unit(benchmark::kMicrosecond);
BENCHMARK(scores)->Name("attention/scores")->Unit(benchmark::kMicrosecond);
BENCHMARK(weighted_values)->Name("attention/values")->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(elementwise, silu_mul,
                  [](const Kernels& k, float* x, const float* y) { k.silu_mul(x, y, kCacheRows); });
BENCHMARK_CAPTURE(elementwise, rms_norm,
                  [](const Kernels& k, float* x, const float* y) { k.rms_norm(x, y, kCacheRows, 1e-6F, x); });

BENCHMARK_MAIN();
