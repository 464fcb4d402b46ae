// The chunked delta rule on a GPU against the recurrence of the model page in float64.

#include "backend/cuda/prefill/delta_rule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "../random.h"
#include "mixer_helpers.h"

namespace qwen35::cuda {
namespace {

constexpr std::uint32_t kLayers = 2;
constexpr std::uint32_t kLayer = 1;  // the one that is run; the other's state must stay

ModelSizes shape(std::uint32_t key_heads, std::uint32_t value_heads, std::uint32_t key_dim, std::uint32_t value_dim,
                 std::uint32_t conv_kernel = 4) {
  ModelSizes sizes;
  sizes.linear_layers = kLayers;
  sizes.key_heads = key_heads;
  sizes.value_heads = value_heads;
  sizes.key_dim = key_dim;
  sizes.value_dim = value_dim;
  sizes.conv_kernel = conv_kernel;
  sizes.eps = 1e-6F;
  return sizes;
}

ModelSizes tiny() { return shape(2, 2, 32, 32); }
ModelSizes gva() { return shape(2, 4, 32, 64); }
ModelSizes small() { return shape(4, 4, 64, 64); }
ModelSizes full() { return shape(16, 16, 128, 128); }

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

struct Expected {
  std::vector<double> out;  // token × value head × value_dim
  std::vector<double> s;    // value head × value_dim × key_dim, after the last token
};

/// Weights, inputs of every token, and what must come out.
struct Case {
  Case(const ModelSizes& model_sizes, std::size_t count, unsigned seed) : sizes(model_sizes), tokens(count) {
    in = random_floats(tokens * sizes.linear_in_rows(), seed);
    conv = random_floats(std::size_t{sizes.conv_kernel} * sizes.conv_channels(), seed + 1, 0.4F);
    decay = random_floats(sizes.value_heads, seed + 2);
    for (float& x : decay) x = std::exp(x);
    dt_bias = random_floats(sizes.value_heads, seed + 3);
    for (float& x : dt_bias) x -= 3.0F;
    norm = random_floats(sizes.value_dim, seed + 4, 0.1F);
    for (float& x : norm) x += 1.0F;
  }

  [[nodiscard]] float& b(std::size_t token, std::size_t head) {
    return in[token * sizes.linear_in_rows() + sizes.conv_channels() + head];
  }
  [[nodiscard]] float& a(std::size_t token, std::size_t head) { return (&b(token, head))[sizes.value_heads]; }

  [[nodiscard]] Expected expected() const {
    const std::size_t dk = sizes.key_dim;
    const std::size_t dv = sizes.value_dim;
    const std::size_t heads = sizes.value_heads;
    const std::size_t channels = sizes.conv_channels();
    const std::size_t rows = sizes.linear_in_rows();
    Expected result;
    result.out.resize(tokens * heads * dv);
    result.s.assign(heads * dv * dk, 0.0);
    std::vector<double> x(channels);
    std::vector<double> y(dv);
    for (std::size_t t = 0; t < tokens; ++t) {
      for (std::size_t c = 0; c < channels; ++c) {
        double sum = 0;
        for (std::size_t tap = 0; tap < sizes.conv_kernel; ++tap) {
          const std::size_t back = sizes.conv_kernel - 1 - tap;
          if (back <= t)
            sum += static_cast<double>(conv[tap * channels + c]) * static_cast<double>(in[(t - back) * rows + c]);
        }
        x[c] = sum * sigmoid(sum);
      }
      for (std::size_t head = 0; head < 2 * sizes.key_heads; ++head) {  // of q, then of k
        double* row = x.data() + head * dk;
        const double squares = std::inner_product(row, row + dk, row, 0.0);
        const double factor =
            1.0 / std::sqrt(squares + 1e-6) / (head < sizes.key_heads ? std::sqrt(static_cast<double>(dk)) : 1.0);
        for (std::size_t i = 0; i < dk; ++i) row[i] *= factor;
      }
      for (std::size_t head = 0; head < heads; ++head) {
        const std::size_t key_head = head / (heads / sizes.key_heads);
        const double* q = x.data() + key_head * dk;
        const double* k = x.data() + (sizes.key_heads + key_head) * dk;
        const double* v = x.data() + 2 * sizes.key_heads * dk + head * dv;
        const double beta = sigmoid(static_cast<double>(in[t * rows + channels + head]));
        const double dt =
            static_cast<double>(in[t * rows + channels + heads + head]) + static_cast<double>(dt_bias[head]);
        const double softplus = dt > 30.0 ? dt : std::log1p(std::exp(dt));
        const double g = std::exp(-static_cast<double>(decay[head]) * softplus);
        double squares = 0;
        for (std::size_t i = 0; i < dv; ++i) {
          double* s = result.s.data() + (head * dv + i) * dk;
          double remembered = 0;
          for (std::size_t j = 0; j < dk; ++j) remembered += (s[j] *= g) * k[j];
          const double u = beta * (v[i] - remembered);
          y[i] = 0;
          for (std::size_t j = 0; j < dk; ++j) y[i] += (s[j] += k[j] * u) * q[j];
          squares += y[i] * y[i];
        }
        const double factor = 1.0 / std::sqrt(squares / static_cast<double>(dv) + static_cast<double>(sizes.eps));
        for (std::size_t i = 0; i < dv; ++i) {
          const double z = static_cast<double>(in[t * rows + sizes.ring_floats() + head * dv + i]);
          result.out[(t * heads + head) * dv + i] = static_cast<double>(norm[i]) * y[i] * factor * z * sigmoid(z);
        }
      }
    }
    return result;
  }

  ModelSizes sizes;
  std::size_t tokens;
  std::vector<float> in, conv, decay, dt_bias, norm;
};

/// How the case is fed.
struct Feeding {
  std::vector<std::uint32_t> passes;
  bool in_place = true;      // s_out is s_in, but for the first pass
  bool zeros_given = false;  // S of the first pass is given and zero, not nullptr
  std::uint32_t slices = 0;
  std::size_t shared_bytes = 0;  // pretended, 0: the GPU's
};

struct Result {
  std::vector<float> out, s, ring;
};

Result run(const Case& text, const Feeding& feeding) {
  const ModelSizes& sizes = text.sizes;
  const DeviceMemory in = upload(text.in);
  const DeviceMemory conv = upload(text.conv);
  const DeviceMemory decay = upload(text.decay);
  const DeviceMemory dt_bias = upload(text.dt_bias);
  const DeviceMemory norm = upload(text.norm);
  DeviceModel model;
  model.sizes = sizes;
  DeviceLayer layer;
  layer.linear = true;
  layer.index = kLayer;
  layer.conv = conv.as<float>();
  layer.decay = decay.as<float>();
  layer.dt_bias = dt_bias.as<float>();
  layer.gated_norm = norm.as<float>();
  DeviceInfo device = device_info();
  if (feeding.shared_bytes != 0) device.shared_bytes = feeding.shared_bytes;
  DeltaRule rule(model, device, feeding.slices);

  const std::size_t s_floats = sizes.s_floats();
  const std::size_t ring_floats = std::size_t{kRingRows} * sizes.ring_floats();
  std::vector<DeviceMemory> states;  // S before each pass and after the last
  DeviceMemory ring = poisoned(kLayers * ring_floats * sizeof(float));
  const std::size_t width = sizes.z_floats();
  Halves halves(text.tokens, width, width + 8);
  SequenceView sequence;
  sequence.ring = ring.as<float>();
  if (feeding.zeros_given) {
    states.push_back(upload(std::vector<float>(kLayers * s_floats, 0.0F)));
    sequence.s_in = states.back().as<float>();
  }
  for (const std::uint32_t count : feeding.passes) {
    if (!feeding.in_place || states.empty()) states.push_back(poisoned(kLayers * s_floats * sizeof(float)));
    sequence.s_out = states.back().as<float>();
    sequence.count = count;
    const std::size_t at = std::size_t{sequence.position} * halves.stride;
    rule.run(layer, in.as<float>() + std::size_t{sequence.position} * sizes.linear_in_rows(), sequence,
             halves.hi.as<__half>() + at, halves.lo.as<__half>() + at, static_cast<std::uint32_t>(halves.stride),
             nullptr);
    check(cudaDeviceSynchronize(), "running the delta rule");
    sequence.s_in = sequence.s_out;
    sequence.position += count;
  }

  Result result;
  result.out = halves.values();
  const std::vector<float> s = download<float>(states.back());
  result.s.assign(s.begin() + kLayer * static_cast<std::ptrdiff_t>(s_floats), s.end());
  const std::vector<float> rows = download<float>(ring);
  result.ring.assign(rows.begin() + kLayer * static_cast<std::ptrdiff_t>(ring_floats), rows.end());
  for (std::size_t i = 0; i < ring_floats; ++i) EXPECT_TRUE(std::isnan(rows[i])) << "another layer's ring, float " << i;
  if (!feeding.zeros_given) {
    for (std::size_t i = 0; i < s_floats; ++i) EXPECT_TRUE(std::isnan(s[i])) << "another layer's S, float " << i;
  }
  return result;
}

void expect_ring(const Case& text, const std::vector<float>& ring) {
  const std::size_t width = text.sizes.ring_floats();
  std::size_t wrong = 0;
  const std::size_t kept = std::min<std::size_t>(text.tokens, kRingRows);
  for (std::size_t t = text.tokens - kept; t < text.tokens; ++t) {
    for (std::size_t i = 0; i < width; ++i) {
      const float found = ring[t % kRingRows * width + i];
      const float wanted = text.in[t * text.sizes.linear_in_rows() + i];
      if (found != wanted && wrong++ == 0) {
        ADD_FAILURE() << "ring: token " << t << ", float " << i << ": " << found << " instead of " << wanted;
      }
    }
  }
  EXPECT_EQ(wrong, 0U);
}

void expect_right(const Case& text, const Feeding& feeding, double limit = 5e-5) {
  const Expected expected = text.expected();
  const Result result = run(text, feeding);
  EXPECT_TRUE(close(result.out, expected.out, text.sizes.z_floats(), limit)) << "in the result";
  EXPECT_TRUE(close(result.s, expected.s, text.sizes.key_dim, limit)) << "in S (row: head · value_dim + value)";
  expect_ring(text, result.ring);
}

class CudaDeltaRule : public GpuTest {};

TEST_F(CudaDeltaRule, EveryShapeAndCount) {
  unsigned seed = 1;
  for (const ModelSizes& sizes : {tiny(), gva(), small(), shape(1, 3, 64, 48), full()}) {
    for (const std::uint32_t count : {1U, 9U, 63U, 64U, 65U, 200U, 1000U}) {
      SCOPED_TRACE(testing::Message() << sizes.key_heads << " key heads of " << sizes.key_dim << ", "
                                      << sizes.value_heads << " value heads of " << sizes.value_dim << ", " << count
                                      << " tokens");
      expect_right(Case(sizes, count, seed += 10), {.passes = {count}});
    }
  }
}

TEST_F(CudaDeltaRule, EveryConvolution) {
  for (std::uint32_t taps = 2; taps <= 8; ++taps) {
    SCOPED_TRACE(testing::Message() << taps << " taps");
    expect_right(Case(shape(2, 4, 32, 32, taps), 90, 100 + taps), {.passes = {1, 2, 20, 67}});
  }
}

TEST_F(CudaDeltaRule, GoesOnFromAnEarlierPass) {
  for (const ModelSizes& sizes : {tiny(), gva(), small(), full()}) {
    SCOPED_TRACE(testing::Message() << "key_dim " << sizes.key_dim);
    expect_right(Case(sizes, 300, 7), {.passes = {2, 9, 65, 1, 200, 23}});
    expect_right(Case(sizes, 300, 8), {.passes = {100, 200}, .in_place = false});
  }
}

TEST_F(CudaDeltaRule, ZerosGivenAreNothingGiven) {
  const Case text(small(), 100, 9);
  const Result nothing = run(text, {.passes = {100}});
  const Result zeros = run(text, {.passes = {100}, .zeros_given = true});
  EXPECT_TRUE(same_bits(nothing.out, zeros.out));
  EXPECT_TRUE(same_bits(nothing.s, zeros.s));
}

TEST_F(CudaDeltaRule, CutsAtWholeChunksChangeNothing) {
  for (const ModelSizes& sizes : {tiny(), gva(), small(), full()}) {
    SCOPED_TRACE(testing::Message() << "key_dim " << sizes.key_dim);
    const Case text(sizes, 200, 11);
    const Result whole = run(text, {.passes = {200}});
    const Result cut = run(text, {.passes = {64, 64, 72}});
    const Result elsewhere = run(text, {.passes = {128, 72}, .in_place = false});
    EXPECT_TRUE(same_bits(whole.out, cut.out));
    EXPECT_TRUE(same_bits(whole.s, cut.s));
    EXPECT_TRUE(same_bits(whole.out, elsewhere.out));
    EXPECT_TRUE(same_bits(whole.s, elsewhere.s));
  }
}

TEST_F(CudaDeltaRule, EveryWayThroughTheScanIsTheSame) {
  for (const ModelSizes& sizes : {tiny(), gva(), small(), full()}) {
    SCOPED_TRACE(testing::Message() << "key_dim " << sizes.key_dim);
    const Case text(sizes, 200, 13);
    const Result whole = run(text, {.passes = {200}});
    for (const std::uint32_t slices : {1U, 2U}) {
      // 30 KiB: the way of one chunk at a time even at the small shapes, where the GPU allows it.
      for (const std::size_t shared : {std::size_t{0}, std::size_t{166912}, std::size_t{101376}, std::size_t{30000}}) {
        const Result other = run(text, {.passes = {200}, .slices = slices, .shared_bytes = shared});
        EXPECT_TRUE(same_bits(whole.out, other.out)) << slices << " slices, " << shared << " bytes";
        EXPECT_TRUE(same_bits(whole.s, other.s)) << slices << " slices, " << shared << " bytes";
      }
    }
  }
}

TEST_F(CudaDeltaRule, ExtremeInputs) {
  for (const ModelSizes& sizes : {gva(), full()}) {
    SCOPED_TRACE(testing::Message() << "key_dim " << sizes.key_dim);
    const std::size_t count = 300;
    {
      SCOPED_TRACE("everything is forgotten now and then, and all the time");
      Case text(sizes, count, 21);
      for (std::size_t t = 0; t < count; ++t) {
        for (std::size_t head = 0; head < sizes.value_heads; ++head) {
          if (t % 7 == 0 || head == 1) text.a(t, head) = t % 2 == 0 ? 1e4F : 100.0F;
        }
      }
      expect_right(text, {.passes = {count}});
    }
    {
      SCOPED_TRACE("nothing is forgotten, everything is learnt");
      Case text(sizes, count, 22);
      for (std::size_t t = 0; t < count; ++t) {
        for (std::size_t head = 0; head < sizes.value_heads; ++head) {
          text.a(t, head) = -60.0F;
          text.b(t, head) = 40.0F;
        }
      }
      expect_right(text, {.passes = {count}}, 3e-4);
    }
    {
      SCOPED_TRACE("beta 0 and 1 in turn");
      Case text(sizes, count, 23);
      for (std::size_t t = 0; t < count; ++t) {
        for (std::size_t head = 0; head < sizes.value_heads; ++head) text.b(t, head) = t % 3 == 0 ? 100.0F : -100.0F;
      }
      expect_right(text, {.passes = {count}});
    }
    {
      SCOPED_TRACE("large values, the same key again and again");
      Case text(sizes, count, 24);
      const std::size_t keys = 2 * std::size_t{sizes.key_heads} * sizes.key_dim;
      for (std::size_t t = 0; t < count; ++t) {
        float* row = text.in.data() + t * sizes.linear_in_rows();
        for (std::size_t c = 0; c < sizes.conv_channels(); ++c) {
          if (c >= keys) {
            row[c] *= 1e3F;
          } else if (c >= keys / 2) {
            row[c] = text.in[c] + 0.05F * row[c];
          }
        }
        for (std::size_t head = 0; head < sizes.value_heads; ++head) text.a(t, head) = -8.0F;
      }
      expect_right(text, {.passes = {count}}, 3e-4);
    }
  }
}

TEST_F(CudaDeltaRule, TheSameTwice) {
  const Case text(full(), 1000, 31);
  const Result first = run(text, {.passes = {1000}});
  const Result second = run(text, {.passes = {1000}});
  EXPECT_TRUE(same_bits(first.out, second.out));
  EXPECT_TRUE(same_bits(first.s, second.s));
}

// What the race checker runs.
TEST_F(CudaDeltaRule, BriefEveryKernel) {
  for (const ModelSizes& sizes : {shape(1, 1, 32, 32), shape(1, 2, 64, 32, 5), shape(1, 1, 128, 32)}) {
    const Case text(sizes, 140, 41);
    for (const std::uint32_t slices : {1U, 2U}) {
      for (const std::size_t shared : {std::size_t{0}, std::size_t{30000}}) {
        SCOPED_TRACE(testing::Message() << "key_dim " << sizes.key_dim << ", " << slices << " slices, " << shared);
        expect_right(text, {.passes = {140}, .slices = slices, .shared_bytes = shared});
      }
    }
  }
}

}  // namespace
}  // namespace qwen35::cuda
