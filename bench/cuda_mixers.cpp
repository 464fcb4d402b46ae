// The mixers of long passes on a GPU: the chunked delta rule of all linear layers, the attention of all full layers, at
// the shape of Qwen3.5-0.8B with random inputs. Medians of rounds, each a pass through the layers between two events.
//
//     cuda_mixers [ROUNDS]

#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <random>
#include <vector>

#include "backend/cuda/device/device.h"
#include "backend/cuda/prefill/attention.h"
#include "backend/cuda/prefill/delta_rule.h"

namespace {

using namespace qwen35::cuda;

template <typename T>
DeviceMemory upload(const std::vector<T>& values) {
  DeviceMemory memory(values.size() * sizeof(T));
  check(cudaMemcpy(memory.data(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice), "uploading");
  return memory;
}

std::vector<float> random_floats(std::size_t n, float mean, float deviation) {
  static std::mt19937 engine(1);
  std::normal_distribution<float> normal(mean, deviation);
  std::vector<float> values(n);
  for (float& value : values) value = normal(engine);
  return values;
}

/// Median milliseconds of `work`, two rounds to warm up.
double milliseconds(int rounds, const std::function<void()>& work) {
  cudaEvent_t begin{};
  cudaEvent_t end{};
  check(cudaEventCreate(&begin), "making an event");
  check(cudaEventCreate(&end), "making an event");
  std::vector<double> times;
  for (int round = -2; round < rounds; ++round) {
    check(cudaEventRecord(begin, nullptr), "timing");
    work();
    check(cudaEventRecord(end, nullptr), "timing");
    check(cudaEventSynchronize(end), "running the mixers");
    float time = 0;
    check(cudaEventElapsedTime(&time, begin, end), "timing");
    if (round >= 0) times.push_back(static_cast<double>(time));
  }
  check(cudaEventDestroy(begin), "ending");
  check(cudaEventDestroy(end), "ending");
  std::nth_element(times.begin(), times.begin() + rounds / 2, times.end());
  return times[static_cast<std::size_t>(rounds / 2)];
}

void measure(int rounds) {
  DeviceModel model;
  ModelSizes& sizes = model.sizes;
  sizes = {.hidden = 1024,
           .linear_layers = 18,
           .full_layers = 6,
           .heads = 8,
           .kv_heads = 2,
           .head_dim = 256,
           .rotary_dim = 64,
           .key_heads = 16,
           .value_heads = 16,
           .key_dim = 128,
           .value_dim = 128,
           .conv_kernel = 4,
           .eps = 1e-6F};
  const DeviceInfo device = device_info();
  constexpr std::uint32_t kMost = 4096;
  constexpr std::uint32_t kDeepest = 8192;
  // Two inputs of a full pass are more than any cache holds.
  const std::size_t in_floats = std::size_t{kMost} * std::max(sizes.linear_in_rows(), sizes.full_in_rows());
  const DeviceMemory inputs[2] = {upload(random_floats(in_floats, 0, 1)), upload(random_floats(in_floats, 0, 1))};
  const DeviceMemory conv = upload(random_floats(std::size_t{sizes.conv_kernel} * sizes.conv_channels(), 0, 0.4F));
  const DeviceMemory decay = upload(std::vector<float>(sizes.value_heads, 1.0F));
  const DeviceMemory bias = upload(random_floats(sizes.value_heads, -3, 1));
  const DeviceMemory norm = upload(random_floats(256, 1, 0.1F));
  std::vector<double> turns;
  for (std::uint32_t i = 0; i < sizes.rotary_dim / 2; ++i) turns.push_back(std::pow(1e7, -2.0 * i / sizes.rotary_dim));
  const DeviceMemory frequencies = upload(turns);
  model.frequencies = frequencies.as<double>();
  const DeviceMemory s = upload(std::vector<float>(std::size_t{sizes.linear_layers} * sizes.s_floats(), 0.0F));
  const DeviceMemory ring =
      upload(std::vector<float>(std::size_t{sizes.linear_layers} * kRingRows * sizes.ring_floats(), 0.0F));
  const std::size_t page_halves = strip_offset(sizes.full_layers, 0, false, sizes.kv_heads, sizes.head_dim);
  const std::size_t pages = (kDeepest + kMost) / kPageTokens;
  std::vector<__half> earlier(pages * page_halves);
  {
    const std::vector<float> some = random_floats(1U << 20U, 0, 1);
    for (std::size_t i = 0; i < earlier.size(); ++i) earlier[i] = __float2half_rn(some[i % some.size()]);
  }
  const DeviceMemory cache = upload(earlier);
  std::vector<std::uint16_t*> addresses;
  for (std::size_t i = 0; i < pages; ++i) addresses.push_back(cache.as<std::uint16_t>() + i * page_halves);
  const DeviceMemory table = upload(addresses);
  const std::uint32_t stride = sizes.z_floats();
  const DeviceMemory hi(std::size_t{kMost} * stride * sizeof(__half));
  const DeviceMemory lo(std::size_t{kMost} * stride * sizeof(__half));

  DeviceLayer layer;
  layer.conv = conv.as<float>();
  layer.decay = decay.as<float>();
  layer.dt_bias = bias.as<float>();
  layer.gated_norm = layer.q_norm = layer.k_norm = norm.as<float>();
  SequenceView sequence;
  sequence.s_in = sequence.s_out = s.as<float>();
  sequence.ring = ring.as<float>();
  sequence.pages = table.as<std::uint16_t*>();

  std::printf("%s, %d multiprocessors; median of %d rounds\n", device.name.c_str(), device.multiprocessors, rounds);
  std::printf("%-28s %8s %8s %12s %12s\n", "mixer", "position", "tokens", "ms, all", "us, a layer");
  const auto report = [&](const char* name, double time, std::uint32_t layers) {
    std::printf("%-28s %8u %8u %12.3f %12.1f\n", name, sequence.position, sequence.count, time, 1e3 * time / layers);
    std::fflush(stdout);
  };
  for (const std::uint32_t slices : {0U, 1U, 2U}) {
    DeltaRule rule(model, device, slices);
    const char* name = slices == 0 ? "delta rule" : slices == 1 ? "delta rule, 1 slice" : "delta rule, 2 slices";
    for (const std::uint32_t count : {20U, 64U, 128U, 512U, 1024U, 4096U}) {
      sequence.position = 64;
      sequence.count = count;
      report(name,
             milliseconds(rounds,
                          [&] {
                            for (layer.index = 0; layer.index < sizes.linear_layers; ++layer.index) {
                              rule.run(layer, inputs[layer.index % 2].as<float>(), sequence, hi.as<__half>(),
                                       lo.as<__half>(), stride, nullptr);
                            }
                          }),
             sizes.linear_layers);
    }
  }
  Attention attention(model, device);
  for (const std::uint32_t position : {0U, kDeepest}) {
    for (const std::uint32_t count : {20U, 64U, 128U, 512U, 1024U, 4096U}) {
      sequence.position = position;
      sequence.count = count;
      report("attention",
             milliseconds(rounds,
                          [&] {
                            for (layer.index = 0; layer.index < sizes.full_layers; ++layer.index) {
                              attention.run(layer, inputs[layer.index % 2].as<float>(), sequence, hi.as<__half>(),
                                            lo.as<__half>(), stride, nullptr);
                            }
                          }),
             sizes.full_layers);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (const std::string why = why_unusable(); !why.empty()) {
      std::fprintf(stderr, "cuda_mixers: %s\n", why.c_str());
      return 1;
    }
    measure(argc > 1 ? std::max(std::atoi(argv[1]), 1) : 20);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cuda_mixers: %s\n", error.what());
    return 1;
  }
}
