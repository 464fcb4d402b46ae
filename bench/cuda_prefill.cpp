// Times whole prefill passes of the 0.8B shape on a GPU, with weights drawn at random: what the kernels cost without
// a checkpoint, the head or sampling.
//
//   cuda-prefill [bits [tokens …]]      default: 16 20 512 4096; bits: 4, 5, 6, 8 (groups of 64) or 16

#include <cuda_runtime_api.h>
#include <qwen35/error.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <random>
#include <string>
#include <vector>

#include "backend/cuda/device/device.h"
#include "backend/cuda/device/device_model.h"
#include "backend/cuda/prefill/prefill.h"

namespace {

using namespace qwen35::cuda;

/// The model's weights and one state in device memory.
class RandomModel {
 public:
  explicit RandomModel(std::uint32_t bits) : bits_(bits) {
    ModelSizes& s = model_.sizes;
    s.hidden = 1024, s.intermediate = 3584, s.vocabulary = 4096;  // only rows that are looked up count
    s.linear_layers = 18, s.full_layers = 6;
    s.heads = 8, s.kv_heads = 2, s.head_dim = 256, s.rotary_dim = 64;
    s.key_heads = 16, s.value_heads = 16, s.key_dim = 128, s.value_dim = 128, s.conv_kernel = 4;
    s.eps = 1e-6F;
    for (std::uint32_t i = 0; i < s.linear_layers + s.full_layers; ++i) {
      DeviceLayer layer;
      layer.linear = i % 4 != 3;
      layer.index = layer.linear ? i / 4 * 3 + i % 4 : i / 4;
      layer.input_norm = floats(s.hidden, 1);
      layer.post_norm = floats(s.hidden, 1);
      layer.in = matrix(layer.linear ? s.linear_in_rows() : s.full_in_rows(), s.hidden);
      layer.out = matrix(s.hidden, layer.linear ? s.z_floats() : s.heads * s.head_dim);
      layer.gate_up = matrix(2 * s.intermediate, s.hidden);
      layer.down = matrix(s.hidden, s.intermediate);
      if (layer.linear) {
        layer.conv = floats(std::size_t{s.conv_kernel} * s.conv_channels(), 0.3F);
        layer.decay = floats(s.value_heads, 1);
        layer.dt_bias = floats(s.value_heads, -2);
        layer.gated_norm = floats(s.value_dim, 1);
      } else {
        layer.q_norm = floats(s.head_dim, 1);
        layer.k_norm = floats(s.head_dim, 1);
      }
      model_.layers.push_back(layer);
    }
    model_.embedding = matrix(s.vocabulary, s.hidden);
    model_.head = model_.embedding;
    model_.final_norm = floats(s.hidden, 1);
    std::vector<double> frequencies(s.rotary_dim / 2);
    double frequency = 1;
    for (double& value : frequencies) value = frequency, frequency *= 0.6;
    model_.frequencies = static_cast<const double*>(keep(frequencies.data(), frequencies.size() * sizeof(double)));
  }

  [[nodiscard]] const DeviceModel& model() const { return model_; }

  /// An empty state with room for `tokens`.
  SequenceView sequence(std::uint32_t tokens) {
    const ModelSizes& s = model_.sizes;
    SequenceView view;
    view.s_out = static_cast<float*>(zeros(std::size_t{s.linear_layers} * s.s_floats() * sizeof(float)));
    view.ring = static_cast<float*>(zeros(std::size_t{s.linear_layers} * kRingRows * s.ring_floats() * sizeof(float)));
    const std::size_t page = strip_offset(s.full_layers, 0, false, s.kv_heads, s.head_dim) * 2;
    std::vector<std::uint16_t*> pages((tokens + kPageTokens - 1) / kPageTokens);
    for (std::uint16_t*& at : pages) at = static_cast<std::uint16_t*>(zeros(page));
    view.pages = static_cast<std::uint16_t* const*>(keep(pages.data(), pages.size() * sizeof(std::uint16_t*)));
    view.count = tokens;
    return view;
  }

 private:
  void* keep(const void* bytes, std::size_t count) {
    memory_.emplace_back(count);
    check(cudaMemcpy(memory_.back().data(), bytes, count, cudaMemcpyHostToDevice), "uploading");
    return memory_.back().data();
  }
  void* zeros(std::size_t count) {
    memory_.emplace_back(count);
    check(cudaMemset(memory_.back().data(), 0, count), "clearing");
    return memory_.back().data();
  }
  const float* floats(std::size_t count, float value) {
    const std::vector<float> values(count, value);
    return static_cast<const float*>(keep(values.data(), count * sizeof(float)));
  }
  /// Binary16 everywhere, values and scales alike: 0.03 to 0.06 of either sign; the factor keeps the sums small.
  Matrix matrix(std::uint32_t rows, std::uint32_t columns) {
    Matrix m;
    m.rows = rows;
    m.columns = columns;
    m.tiles = (rows + kTileRows - 1) / kTileRows;
    m.units = (columns + kUnitColumns - 1) / kUnitColumns;
    m.bits = bits_;
    m.group = bits_ == 16 ? 0 : 64;
    m.unit_bytes = value_bytes(bits_) + scale_bytes(bits_, 64);
    m.factor = bits_ == 16 ? 0.5F : 0x1p-7F;
    std::vector<std::uint16_t> values(std::size_t{m.tiles} * m.units * m.unit_bytes / 2);
    for (std::uint16_t& value : values) value = static_cast<std::uint16_t>((engine_() & 0x83ffU) | 0x2800U);
    m.data = static_cast<const std::uint8_t*>(keep(values.data(), values.size() * 2));
    return m;
  }

  std::uint32_t bits_;
  DeviceModel model_;
  std::mt19937 engine_{1};
  std::vector<DeviceMemory> memory_;
};

void run(std::uint32_t bits, const std::vector<std::uint32_t>& counts) {
  using Clock = std::chrono::steady_clock;
  const DeviceInfo info = device_info();
  std::printf("%s, %u bits\n%8s %12s %12s %12s %12s\n", info.name.c_str(), bits, "tokens", "ms", "least ms", "host ms",
              "tokens/s");
  RandomModel random(bits);
  Prefill prefill(random.model(), info);
  cudaStream_t stream = nullptr;
  check(cudaStreamCreate(&stream), "making a stream");
  for (const std::uint32_t count : counts) {
    const SequenceView sequence = random.sequence(count);
    std::vector<qwen35::TokenId> tokens(count);
    for (std::uint32_t i = 0; i < count; ++i) tokens[i] = static_cast<qwen35::TokenId>(i * 37 % 4096);
    std::vector<double> whole;
    std::vector<double> host;
    for (int round = 0; round < 13; ++round) {
      const auto begin = Clock::now();
      (void)prefill.run(sequence, tokens, {}, stream);
      const auto queued = Clock::now();
      check(cudaStreamSynchronize(stream), "reading a text");
      const auto end = Clock::now();
      if (round < 2) continue;  // kernels are loaded, clocks rise
      whole.push_back(std::chrono::duration<double, std::milli>(end - begin).count());
      host.push_back(std::chrono::duration<double, std::milli>(queued - begin).count());
    }
    std::sort(whole.begin(), whole.end());
    std::sort(host.begin(), host.end());
    const double median = whole[whole.size() / 2];
    std::printf("%8u %12.3f %12.3f %12.3f %12.0f\n", count, median, whole.front(), host[host.size() / 2],
                count / median * 1000);
  }
  std::printf("device memory beside the weights: %.1f MiB\n", static_cast<double>(prefill.memory_bytes()) / 0x1p20);
  check(cudaStreamDestroy(stream), "ending a stream");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (const std::string why = why_unusable(); !why.empty()) {
      std::fprintf(stderr, "%s\n", why.c_str());
      return 1;
    }
    const unsigned long bits = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 16;
    if (bits != 4 && bits != 5 && bits != 6 && bits != 8 && bits != 16) {
      std::fprintf(stderr, "bits are %s; 4, 5, 6, 8 or 16 was expected\n", argv[1]);
      return 2;
    }
    std::vector<std::uint32_t> counts;
    for (int i = 2; i < argc; ++i) {
      const unsigned long count = std::strtoul(argv[i], nullptr, 10);
      if (count < 1 || count > Prefill::kMost) {
        std::fprintf(stderr, "a number of tokens is %s; 1 to %u was expected\n", argv[i], Prefill::kMost);
        return 2;
      }
      counts.push_back(static_cast<std::uint32_t>(count));
    }
    if (counts.empty()) counts = {20, 512, 4096};
    run(static_cast<std::uint32_t>(bits), counts);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
