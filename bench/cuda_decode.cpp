// Decode passes of the 0.8B shape over random weights made in place: what the kernels alone take, in each design.
//     cuda_decode [BITS [DESIGN ...]]     designs: persistent any ringless graph launches
#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "backend/cuda/decoder.h"

namespace {

using namespace qwen35;        // NOLINT
using namespace qwen35::cuda;  // NOLINT

std::uint16_t half_bits(float value) {  // of ordinary numbers
  std::uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const auto exponent = static_cast<std::int32_t>((bits >> 23U) & 255U) - 112;
  if (exponent <= 0) return static_cast<std::uint16_t>((bits >> 16U) & 0x8000U);
  return static_cast<std::uint16_t>(((bits >> 16U) & 0x8000U) | (static_cast<std::uint32_t>(exponent) << 10U) |
                                    ((bits >> 13U) & 0x3FFU));
}

class RandomModel {
 public:
  explicit RandomModel(std::uint32_t bits) : bits_(bits) {
    ModelSizes& s = model.sizes;
    s.hidden = 1024, s.intermediate = 3584, s.vocabulary = 248320;
    s.heads = 8, s.kv_heads = 2, s.head_dim = 256, s.rotary_dim = 64;
    s.key_heads = 16, s.value_heads = 16, s.key_dim = 128, s.value_dim = 128, s.conv_kernel = 4;
    s.linear_layers = 18, s.full_layers = 6, s.eps = 1e-6F;
    for (std::uint32_t i = 0; i < 24; ++i) {
      DeviceLayer layer;
      layer.linear = i % 4 != 3;
      layer.index = layer.linear ? i - i / 4 : i / 4;
      layer.input_norm = floats(1024, 0.75F, 1.25F);
      layer.post_norm = floats(1024, 0.75F, 1.25F);
      layer.in = matrix(layer.linear ? s.linear_in_rows() : s.full_in_rows(), 1024);
      layer.out = matrix(1024, 2048);
      layer.gate_up = matrix(7168, 1024);
      layer.down = matrix(1024, 3584);
      if (layer.linear) {
        layer.conv = floats(4 * s.conv_channels(), -0.5F, 0.5F);
        layer.decay = floats(16, 1, 16);
        layer.dt_bias = floats(16, -6, -1);
        layer.gated_norm = floats(128, 0.75F, 1.25F);
      } else {
        layer.q_norm = floats(256, 0.75F, 1.25F);
        layer.k_norm = floats(256, 0.75F, 1.25F);
      }
      model.layers.push_back(layer);
    }
    model.embedding = model.head = matrix(s.vocabulary, 1024);
    model.final_norm = floats(1024, 0.75F, 1.25F);
    std::vector<double> frequencies(32);
    for (int i = 0; i < 32; ++i) frequencies[static_cast<std::size_t>(i)] = std::pow(1e7, -2.0 * i / 64);
    model.frequencies = static_cast<const double*>(upload(frequencies.data(), frequencies.size() * sizeof(double)));
  }
  DeviceModel model;
  std::size_t bytes = 0;  ///< of matrices

 private:
  const void* upload(const void* data, std::size_t n) {
    memory_.emplace_back(n);
    check(cudaMemcpy(memory_.back().data(), data, n, cudaMemcpyHostToDevice), "copying");
    return memory_.back().data();
  }
  const float* floats(std::uint32_t n, float low, float high) {
    std::vector<float> values(n);
    for (float& v : values) v = low + (high - low) * static_cast<float>(engine_() % 65536) / 65536.0F;
    return static_cast<const float*>(upload(values.data(), n * sizeof(float)));
  }
  Matrix matrix(std::uint32_t rows, std::uint32_t columns) {
    Matrix m;
    m.rows = rows, m.columns = columns;
    m.tiles = rows / 8, m.units = columns / 128;
    m.bits = bits_, m.group = bits_ == 16 ? 0 : 64;
    m.unit_bytes = value_bytes(bits_) + scale_bytes(bits_, 64);
    const float range = std::sqrt(3.0F / static_cast<float>(columns));
    const std::size_t units = std::min<std::size_t>(std::size_t{m.tiles} * m.units, 4096);
    std::vector<std::uint8_t> some(units * m.unit_bytes);
    for (std::size_t u = 0; u < units; ++u) {
      std::uint8_t* const unit = some.data() + u * m.unit_bytes;
      auto* const halves = reinterpret_cast<std::uint16_t*>(unit);
      if (bits_ == 16) {
        for (int i = 0; i < 1024; ++i)
          halves[i] = half_bits(range * (static_cast<float>(engine_() % 65536) / 32768.0F - 1));
        continue;
      }
      for (std::uint32_t i = 0; i < value_bytes(bits_); i += 4) {
        const auto word = static_cast<std::uint32_t>(engine_());
        std::memcpy(unit + i, &word, 4);
      }
      const float scale = 2 * range / static_cast<float>((1 << bits_) - 1);
      for (std::uint32_t i = value_bytes(bits_) / 2; i < m.unit_bytes / 2; i += 2)
        halves[i] = half_bits(scale), halves[i + 1] = half_bits(-range);
    }
    const std::size_t total = std::size_t{m.tiles} * m.units * m.unit_bytes;
    memory_.emplace_back(total);
    for (std::size_t at = 0; at < total; at += some.size())
      check(cudaMemcpy(memory_.back().as<std::uint8_t>() + at, some.data(), std::min(some.size(), total - at),
                       cudaMemcpyHostToDevice),
            "copying");
    bytes += total;
    m.data = memory_.back().as<const std::uint8_t>();
    return m;
  }
  std::uint32_t bits_;
  std::mt19937 engine_{1};
  std::vector<DeviceMemory> memory_;
};

/// A state of `tokens` positions, all zeros.
struct RandomState {
  RandomState(const ModelSizes& s, std::uint32_t tokens)
      : recurrent(std::size_t{s.linear_layers} * s.s_floats() * 4),
        ring(std::size_t{s.linear_layers} * kRingRows * s.ring_floats() * 4),
        pages(((tokens + kPageTokens - 1) / kPageTokens) * page_bytes(s)),
        table((tokens + kPageTokens - 1) / kPageTokens * sizeof(void*)) {
    check(cudaMemset(recurrent.data(), 0, recurrent.bytes()), "clearing");
    check(cudaMemset(ring.data(), 0, ring.bytes()), "clearing");
    check(cudaMemset(pages.data(), 0, pages.bytes()), "clearing");
    std::vector<std::uint16_t*> list;
    for (std::size_t at = 0; at < pages.bytes(); at += page_bytes(s))
      list.push_back(reinterpret_cast<std::uint16_t*>(pages.as<std::uint8_t>() + at));
    check(cudaMemcpy(table.data(), list.data(), list.size() * sizeof(void*), cudaMemcpyHostToDevice), "copying");
  }
  static std::size_t page_bytes(const ModelSizes& s) {
    return std::size_t{2} * s.full_layers * 2 * s.kv_heads * strip_halves(s.head_dim);
  }
  [[nodiscard]] SequenceView view(std::uint32_t position, std::uint32_t first, std::uint32_t count) const {
    return {recurrent.as<float>(),
            recurrent.as<float>(),
            ring.as<float>(),
            table.as<std::uint16_t*>(),
            position,
            first,
            count};
  }
  DeviceMemory recurrent, ring, pages, table;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Microseconds of a pass at `depth`: `sequences` states of `count` tokens each. Launched one behind the other, or,
/// with `wait`, each waited for by the host.
double time_passes(const RandomModel& random, Decoder& decoder, std::uint32_t sequences, std::uint32_t count,
                   std::uint32_t depth, bool wait, std::vector<float>* first_logits) {
  const ModelSizes& s = random.model.sizes;
  constexpr std::uint32_t kSteps = 64;
  std::vector<RandomState> states;
  for (std::uint32_t i = 0; i < sequences; ++i) states.emplace_back(s, depth + (kSteps + 8) * 6 * count);
  DeviceMemory logits(std::size_t{sequences} * s.vocabulary * 4);
  std::vector<std::uint32_t> wanted;
  for (std::uint32_t i = 0; i < sequences; ++i) wanted.push_back(i * count + count - 1);
  cudaStream_t stream;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");
  std::vector<double> times;
  std::uint32_t position = depth;
  for (int run = 0; run < 6; ++run) {
    const std::uint32_t steps = run == 0 ? 8 : kSteps;
    const auto start = std::chrono::steady_clock::now();
    for (std::uint32_t step = 0; step < steps; ++step) {
      std::vector<SequenceView> views;
      std::vector<TokenId> tokens;
      for (std::uint32_t i = 0; i < sequences; ++i) {
        views.push_back(states[i].view(position, i * count, count));
        for (std::uint32_t t = 0; t < count; ++t)
          tokens.push_back(static_cast<TokenId>((i * 7919 + (position + t) * 104729) % s.vocabulary));
      }
      decoder.forward(views, tokens, wanted, logits.as<float>(), stream);
      position += count;
      if (wait) check(cudaStreamSynchronize(stream), "waiting");
    }
    check(cudaStreamSynchronize(stream), "waiting");
    const double us = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
    if (run > 0) times.push_back(us / steps);
  }
  if (first_logits != nullptr) {
    first_logits->resize(std::size_t{sequences} * s.vocabulary);
    check(cudaMemcpy(first_logits->data(), logits.data(), logits.bytes(), cudaMemcpyDeviceToHost), "copying");
  }
  check(cudaStreamDestroy(stream), "ending a stream");
  return median(times);
}

void print_trace(std::uint32_t rows, const std::vector<long long>& stamps) {
  std::printf("\n   %u row(s), cycles of layers' steps (gather, product[, mixer]):", rows);
  for (const std::size_t layer : {std::size_t{1}, std::size_t{3}, std::size_t{4}}) {
    std::printf("\n     layer %zu:", layer);
    for (std::size_t i = 0; i < 9; ++i) std::printf(" %lld", stamps[layer * 9 + i + 1] - stamps[layer * 9 + i]);
  }
  std::printf("\n     head: %lld %lld, whole %lld", stamps[217] - stamps[216], stamps[218] - stamps[217],
              stamps[218] - stamps[0]);
}

int run(int argc, char** argv) {
  if (const std::string why = why_unusable(); !why.empty()) {
    std::printf("%s\n", why.c_str());
    return 1;
  }
  const DeviceInfo info = device_info();
  std::printf("%s, %d multiprocessors\n", info.name.c_str(), info.multiprocessors);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const auto bits = static_cast<std::uint32_t>(argc > 1 ? std::atoi(argv[1]) : 4);
  std::vector<std::string> designs(argv + std::min(argc, 2), argv + argc);
  if (designs.empty()) designs = {"persistent", "any", "ringless", "graph", "launches"};
  const RandomModel model(bits);
  std::vector<std::vector<float>> results;
  for (const std::string& design : designs) {
    const bool ringless = design == "ringless";
    setenv("QWEN35_CUDA_DECODE", ringless || design == "any" ? "persistent" : design.c_str(), 1);
    setenv("QWEN35_CUDA_KERNELS", ringless ? "ringless" : design == "any" ? "any" : "", 1);
    Decoder decoder(model.model, info);
    results.emplace_back();
    const double one = time_passes(model, decoder, 1, 1, 0, false, &results.back());
    std::printf("%2u bits, %s: %.0f us a token, %.0f tok/s, %.0f GB/s of weights", bits, design.c_str(), one, 1e6 / one,
                static_cast<double>(model.bytes) / one / 1e3);
    std::printf("; waited for %.0f us", time_passes(model, decoder, 1, 1, 0, true, nullptr));
    std::printf("; at 8192 %.0f us", time_passes(model, decoder, 1, 1, 8192, false, nullptr));
    if (design == "persistent" || design == "graph") {
      for (const std::uint32_t count : {2U, 4U, 8U})
        std::printf("; %u rows %.0f us", count, time_passes(model, decoder, 1, count, 0, false, nullptr));
      for (const std::uint32_t sequences : {2U, 4U, 8U, 64U}) {
        const double many = time_passes(model, decoder, sequences, 1, 0, false, nullptr);
        std::printf("; %u sequences %.0f us, %.0f tok/s", sequences, many, sequences * 1e6 / many);
      }
    }
    if (design != "graph" && design != "launches" && !decoder.trace().empty()) {
      for (const std::uint32_t count : {1U, 2U, decoder.few()}) {
        (void)time_passes(model, decoder, 1, count, 0, true, nullptr);
        print_trace(count, decoder.trace());
      }
    }
    double sum = 0;
    for (const float v : results.back()) sum += std::fabs(static_cast<double>(v));
    std::printf("\n   mean |logit| %.4f%s\n", sum / static_cast<double>(results.back().size()),
                results.back() == results.front() ? ", the same bits as the first design" : ", OTHER BITS");
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
