// Passes of few tokens over random weights: the same bits in every design and on however many blocks.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "../random.h"
#include "backend/cuda/decoder.h"
#include "backend/cuda/device/device_model.h"
#include "device_helpers.h"
#include "host_pack.h"

namespace qwen35::cuda {
namespace {

constexpr std::uint32_t kTokens = 64;  ///< ids that are fed: all below

/// One linear layer and one full one.
ModelSizes two_layers() {
  ModelSizes s;
  s.linear_layers = s.full_layers = 1;
  s.conv_kernel = 4;
  s.eps = 1e-6F;
  return s;
}
ModelSizes tiny() {
  ModelSizes s = two_layers();
  s.hidden = 64, s.intermediate = 192, s.vocabulary = 512;
  s.heads = 4, s.kv_heads = 2, s.head_dim = 32, s.rotary_dim = 8;
  s.key_heads = 2, s.value_heads = 4, s.key_dim = 32, s.value_dim = 32;
  return s;
}
/// What kernels for a fixed shape are compiled for.
ModelSizes full() {
  ModelSizes s = two_layers();
  s.hidden = 1024, s.intermediate = 3584, s.vocabulary = 248320;
  s.heads = 8, s.kv_heads = 2, s.head_dim = 256, s.rotary_dim = 64;
  s.key_heads = 16, s.value_heads = 16, s.key_dim = 128, s.value_dim = 128;
  return s;
}

class RandomModel {
 public:
  RandomModel(const ModelSizes& sizes, const Format& format) : format_(format) {
    ModelSizes& s = model.sizes;
    s = sizes;
    for (const bool linear : {true, false}) {
      DeviceLayer layer;
      layer.linear = linear;
      layer.input_norm = floats(s.hidden, 1, 0.2F);
      layer.post_norm = floats(s.hidden, 1, 0.2F);
      layer.in = matrix(linear ? s.linear_in_rows() : s.full_in_rows(), s.hidden);
      layer.out = matrix(s.hidden, linear ? s.z_floats() : s.heads * s.head_dim);
      layer.gate_up = matrix(2 * s.intermediate, s.hidden);
      layer.down = matrix(s.hidden, s.intermediate);
      if (linear) {
        layer.conv = floats(s.conv_kernel * s.conv_channels(), 0, 0.4F);
        layer.decay = floats(s.value_heads, 3, 0.5F);
        layer.dt_bias = floats(s.value_heads, -3, 0.5F);
        layer.gated_norm = floats(s.value_dim, 1, 0.2F);
      } else {
        layer.q_norm = floats(s.head_dim, 1, 0.2F);
        layer.k_norm = floats(s.head_dim, 1, 0.2F);
      }
      model.layers.push_back(layer);
    }
    // Of the large vocabulary only the rows of the tokens that are fed are there, and no logits are asked for.
    model.embedding = matrix(has_head() ? s.vocabulary : kTokens, s.hidden);
    model.embedding.rows = s.vocabulary;
    model.embedding.tiles = s.vocabulary / kTileRows;
    model.head = model.embedding;
    model.final_norm = floats(s.hidden, 1, 0.2F);
    std::vector<double> frequencies;
    for (std::uint32_t i = 0; i < s.rotary_dim / 2; ++i) frequencies.push_back(std::pow(1e7, -2.0 * i / s.rotary_dim));
    memory_.push_back(upload(frequencies));
    model.frequencies = memory_.back().as<double>();
  }
  [[nodiscard]] bool has_head() const { return model.sizes.vocabulary <= 4096; }

  DeviceModel model;

 private:
  const float* floats(std::uint32_t n, float mean, float deviation) {
    std::vector<float> values = random_floats(n, ++seed_, deviation);
    for (float& x : values) x += mean;
    memory_.push_back(upload(values));
    return memory_.back().as<float>();
  }
  /// Many rows are some rows again and again.
  Matrix matrix(std::uint32_t rows, std::uint32_t columns) {
    const std::uint32_t drawn = rows > 512 && rows % 32 == 0 ? 32 : rows;
    const HostMatrix some = random_matrix(drawn, columns, format_.bits, format_.group, ++seed_,
                                          1.0F / std::sqrt(static_cast<float>(columns)));
    std::vector<std::uint8_t> bytes;
    for (std::uint32_t row = 0; row < rows; row += drawn)
      bytes.insert(bytes.end(), some.bytes.begin(), some.bytes.end());
    memory_.push_back(upload(bytes));
    Matrix m = some.matrix;
    m.rows = rows;
    m.tiles = (rows + kTileRows - 1) / kTileRows;
    m.data = memory_.back().as<std::uint8_t>();
    return m;
  }

  Format format_;
  unsigned seed_ = 0;
  std::vector<DeviceMemory> memory_;
};

DeviceMemory zeros(std::size_t bytes) {
  DeviceMemory memory(bytes);
  check(cudaMemset(memory.data(), 0, bytes), "clearing");
  return memory;
}

/// A conversation whose `tokens` before are zeros.
struct TestState {
  static constexpr std::uint32_t kPages = 3;

  TestState(const ModelSizes& s, std::uint32_t tokens)
      : before(zeros(std::size_t{s.s_floats()} * s.linear_layers * sizeof(float))),
        after(zeros(before.bytes())),
        ring(zeros(std::size_t{s.linear_layers} * kRingRows * s.ring_floats() * sizeof(float))),
        pages(zeros(kPages * page_halves(s) * sizeof(std::uint16_t))),
        position(tokens) {
    std::vector<std::uint16_t*> list;
    for (std::uint32_t i = 0; i < kPages; ++i) list.push_back(pages.as<std::uint16_t>() + i * page_halves(s));
    table = upload(list);
  }
  static std::size_t page_halves(const ModelSizes& s) {
    return strip_offset(s.full_layers, 0, false, s.kv_heads, s.head_dim);
  }

  DeviceMemory before, after;  ///< S before the last pass and after it
  DeviceMemory ring, pages, table;
  std::uint32_t position;
};

/// Bytes of everything that passes leave.
using Left = std::vector<std::uint8_t>;

/// Passes one after the other: tokens of state 0, of state 1 ….
using Passes = std::vector<std::vector<std::uint32_t>>;

/// What `passes` leave. State 0 begins just before a border of two splits of keys, state 1 before one of two pages. At
/// the end what the last pass made of state 0 is computed again.
Left run(const RandomModel& random, const DeviceInfo& info, const char* design, const Passes& passes) {
  const ModelSizes& s = random.model.sizes;
  setenv("QWEN35_CUDA_DECODE", design, 1);
  Decoder decoder(random.model, info);
  unsetenv("QWEN35_CUDA_DECODE");
  std::vector<TestState> states;
  for (const auto& counts : passes) {
    while (states.size() < counts.size()) states.emplace_back(s, states.empty() ? 127 : states.size() == 1 ? 62 : 0);
  }

  Left left;
  const auto keep = [&](const DeviceMemory& memory) {
    const Left bytes = download<std::uint8_t>(memory);
    left.insert(left.end(), bytes.begin(), bytes.end());
  };
  std::vector<SequenceView> views;
  for (const std::vector<std::uint32_t>& counts : passes) {
    views.clear();
    std::vector<TokenId> tokens;
    std::vector<std::uint32_t> wanted;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      TestState& state = states[i];
      std::swap(state.before, state.after);
      views.push_back({state.before.as<float>(), state.after.as<float>(), state.ring.as<float>(),
                       state.table.as<std::uint16_t*>(), state.position, static_cast<std::uint32_t>(tokens.size()),
                       counts[i]});
      for (std::uint32_t t = 0; t < counts[i]; ++t)
        tokens.push_back(static_cast<TokenId>((state.position + 11 * t + 7 * i) % kTokens));
      state.position += counts[i];
      if (random.has_head()) wanted.push_back(static_cast<std::uint32_t>(tokens.size() - 1));
    }
    const DeviceMemory logits = poisoned(std::max<std::size_t>(wanted.size(), 1) * s.vocabulary * sizeof(float));
    decoder.forward(views, tokens, wanted, logits.as<float>(), cudaStreamPerThread);
    check(cudaDeviceSynchronize(), "running a decode pass");
    if (random.has_head()) keep(logits);
  }
  for (const TestState& state : states) {
    for (const DeviceMemory* memory : {&state.after, &state.ring, &state.pages}) keep(*memory);
  }
  const DeviceMemory again = poisoned(states[0].after.bytes());
  views[0].s_out = again.as<float>();
  decoder.replay(views[0], cudaStreamPerThread);
  check(cudaDeviceSynchronize(), "computing a state again");
  EXPECT_TRUE(same_bits(download<std::uint8_t>(again), download<std::uint8_t>(states[0].after)))
      << design << ": a state that is computed again";

  const std::vector<float> recurrent = download<float>(states[0].after);
  EXPECT_TRUE(std::all_of(recurrent.begin(), recurrent.end(), [](float x) { return std::isfinite(x); })) << design;
  EXPECT_GT(std::count_if(recurrent.begin(), recurrent.end(), [](float x) { return x != 0; }),
            static_cast<std::ptrdiff_t>(recurrent.size() / 2))
      << design;
  return left;
}

class CudaDecode : public GpuTest {
 protected:
  /// Single steps must leave what the persistent kernel leaves, on `multiprocessors` (0: all there are), and on
  /// `others` again.
  static void expect_same(const ModelSizes& sizes, const Format& format, const Passes& passes, int multiprocessors,
                          int others) {
    SCOPED_TRACE("hidden " + std::to_string(sizes.hidden) + ", " + std::to_string(format.bits) + " bits");
    const RandomModel random(sizes, format);
    DeviceInfo info = device_info();
    if (multiprocessors != 0) info.multiprocessors = multiprocessors;
    const Left persistent = run(random, info, "persistent", passes);
    EXPECT_TRUE(same_bits(persistent, run(random, info, "graph", passes))) << "single steps";
    if (others == 0) return;
    info.multiprocessors = others;
    EXPECT_TRUE(same_bits(persistent, run(random, info, "persistent", passes))) << others << " blocks";
    EXPECT_TRUE(same_bits(persistent, run(random, info, "graph", passes))) << others << " blocks, single steps";
  }
};

TEST_F(CudaDecode, TheSameBitsInEveryDesignOnAnyNumberOfBlocks) {
  const std::vector<std::uint32_t> twenty(20, 1);
  const Passes passes{{1}, {1}, {8}, {1, 2, 5}, {4, 4}, {1, 1, 1, 1, 1, 1, 1, 1}, twenty, {7}};
  for (const Format& format : {Format{16, 0}, Format{4, 64}, Format{5, 64}, Format{8, 64}, Format{6, 32}}) {
    expect_same(tiny(), format, passes, 0, 5);
    expect_same(full(), format, passes, 0, 5);
  }
}

// What the race checker runs: few passes, and where it can be few blocks.
Passes brief_passes() { return {{1}, {1, 2, 3}, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {3}}; }
TEST_F(CudaDecode, BriefTinyShape) { expect_same(tiny(), {4, 32}, brief_passes(), 2, 0); }
// The persistent kernel alone: a batch's products hand their ring's stages over by a counter, which the race checker
// does not follow, and at this width they use a stage twice.
TEST_F(CudaDecode, BriefFullShape) {
  const RandomModel random(full(), {4, 64});
  DeviceInfo info = device_info();
  info.multiprocessors = 8;
  const Passes passes{{1}, {1, 2, 3}, {3}};
  const Left left = run(random, info, "persistent", passes);
  info.multiprocessors = 5;
  EXPECT_TRUE(same_bits(left, run(random, info, "persistent", passes)));
}
// One token has mixers of its own where there is a block for each of their items.
TEST_F(CudaDecode, BriefOneToken) { expect_same(full(), {4, 64}, {{1}, {1}}, 0, 0); }

}  // namespace
}  // namespace qwen35::cuda
