// Attention of many tokens on a GPU against the softmax of the model page in float64.

#include "backend/cuda/prefill/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "../random.h"
#include "mixer_helpers.h"

namespace qwen35::cuda {
namespace {

constexpr std::uint32_t kLayers = 2;
constexpr std::uint32_t kLayer = 1;  // the one that is run; the other's pages must stay

ModelSizes shape(std::uint32_t heads, std::uint32_t kv_heads, std::uint32_t head_dim, std::uint32_t rotary_dim) {
  ModelSizes sizes;
  sizes.full_layers = kLayers;
  sizes.heads = heads;
  sizes.kv_heads = kv_heads;
  sizes.head_dim = head_dim;
  sizes.rotary_dim = rotary_dim;
  sizes.eps = 1e-6F;
  return sizes;
}

ModelSizes tiny() { return shape(4, 2, 32, 8); }
ModelSizes gva() { return shape(4, 1, 64, 16); }
ModelSizes full() { return shape(8, 2, 256, 64); }

double rounded(double x) { return static_cast<double>(__half2float(__float2half_rn(static_cast<float>(x)))); }

/// What must come out, and the keys and values (position × KV head × head_dim) that must be in the pages.
struct Expected {
  std::vector<double> out, keys, values;
};

/// `earlier` positions whose keys and values are in the pages already, then `tokens` that are fed.
struct Case {
  Case(const ModelSizes& model_sizes, std::size_t before, std::size_t count, unsigned seed, float sharpness = 1.0F)
      : sizes(model_sizes), earlier(before), tokens(count) {
    in = random_floats(tokens * sizes.full_in_rows(), seed);
    q_norm = random_floats(sizes.head_dim, seed + 1, 0.1F);
    k_norm = random_floats(sizes.head_dim, seed + 2, 0.1F);
    for (float& x : q_norm) x = (x + 1.0F) * sharpness;
    for (float& x : k_norm) x = (x + 1.0F) * sharpness;
    keys = random_floats(earlier * sizes.kv_heads * sizes.head_dim, seed + 3);
    values = random_floats(earlier * sizes.kv_heads * sizes.head_dim, seed + 4);
    for (std::uint32_t i = 0; i < sizes.rotary_dim / 2; ++i) {
      frequencies.push_back(std::pow(1e7, -2.0 * i / sizes.rotary_dim));
    }
  }

  [[nodiscard]] std::vector<double> turned(const float* from, const std::vector<float>& weight,
                                           std::size_t position) const {
    const std::size_t d = sizes.head_dim;
    double squares = 0;
    for (std::size_t i = 0; i < d; ++i) squares += static_cast<double>(from[i]) * static_cast<double>(from[i]);
    const double factor = 1.0 / std::sqrt(squares / static_cast<double>(d) + static_cast<double>(sizes.eps));
    std::vector<double> x(d);
    for (std::size_t i = 0; i < d; ++i) x[i] = static_cast<double>(from[i]) * factor * static_cast<double>(weight[i]);
    const std::size_t half = sizes.rotary_dim / 2;
    for (std::size_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(position) * frequencies[i];
      const double first = x[i];
      const double second = x[i + half];
      x[i] = first * std::cos(angle) - second * std::sin(angle);
      x[i + half] = second * std::cos(angle) + first * std::sin(angle);
    }
    return x;
  }

  [[nodiscard]] Expected expected() const {
    const std::size_t d = sizes.head_dim;
    const std::size_t row = sizes.full_in_rows();
    const std::size_t kv_row = sizes.kv_heads * d;
    Expected result;
    for (const float x : keys) result.keys.push_back(rounded(static_cast<double>(x)));
    for (const float x : values) result.values.push_back(rounded(static_cast<double>(x)));
    for (std::size_t t = 0; t < tokens; ++t) {
      const float* from = in.data() + t * row + 2 * sizes.heads * d;
      for (std::size_t head = 0; head < sizes.kv_heads; ++head) {
        for (const double x : turned(from + head * d, k_norm, earlier + t)) result.keys.push_back(rounded(x));
      }
      for (std::size_t i = 0; i < kv_row; ++i) {
        result.values.push_back(rounded(static_cast<double>(from[kv_row + i])));
      }
    }
    result.out.resize(tokens * sizes.heads * d);
    for (std::size_t t = 0; t < tokens; ++t) {
      for (std::size_t head = 0; head < sizes.heads; ++head) {
        const std::size_t kv_head = head / (sizes.heads / sizes.kv_heads);
        const float* from = in.data() + t * row + 2 * head * d;
        const std::vector<double> q = turned(from, q_norm, earlier + t);
        std::vector<double> p(earlier + t + 1);
        for (std::size_t j = 0; j < p.size(); ++j) {
          const double* k = result.keys.data() + j * kv_row + kv_head * d;
          for (std::size_t i = 0; i < d; ++i) p[j] += q[i] * k[i];
          p[j] /= std::sqrt(static_cast<double>(d));
        }
        const double most = *std::max_element(p.begin(), p.end());
        double sum = 0;
        for (double& x : p) sum += x = std::exp(x - most);
        double* out = result.out.data() + (t * sizes.heads + head) * d;
        for (std::size_t j = 0; j < p.size(); ++j) {
          const double* v = result.values.data() + j * kv_row + kv_head * d;
          for (std::size_t i = 0; i < d; ++i) out[i] += p[j] / sum * v[i];
        }
        for (std::size_t i = 0; i < d; ++i) out[i] /= 1.0 + std::exp(-static_cast<double>(from[d + i]));
      }
    }
    return result;
  }

  ModelSizes sizes;
  std::size_t earlier, tokens;
  std::vector<float> in, q_norm, k_norm, keys, values;
  std::vector<double> frequencies;
};

struct Result {
  std::vector<float> out, keys, values;
};

Result run(const Case& text, const std::vector<std::uint32_t>& passes) {
  const ModelSizes& sizes = text.sizes;
  const std::size_t d = sizes.head_dim;
  const std::size_t positions = text.earlier + text.tokens;
  const std::size_t pages = (positions + kPageTokens - 1) / kPageTokens;
  const std::size_t page_halves = strip_offset(kLayers, 0, false, sizes.kv_heads, sizes.head_dim);
  const auto place = [&](std::size_t position, std::uint32_t head, std::uint32_t i, bool value) {
    const auto t = static_cast<std::uint32_t>(position % kPageTokens);
    return position / kPageTokens * page_halves + strip_offset(kLayer, head, value, sizes.kv_heads, sizes.head_dim) +
           (value ? value_index(t, i, sizes.head_dim) : key_index(t, i, sizes.head_dim));
  };
  std::vector<__half> halves(pages * page_halves);
  std::memset(static_cast<void*>(halves.data()), 0xff, halves.size() * sizeof(__half));
  for (std::size_t position = 0; position < text.earlier; ++position) {
    for (std::uint32_t head = 0; head < sizes.kv_heads; ++head) {
      for (std::uint32_t i = 0; i < d; ++i) {
        const std::size_t from = (position * sizes.kv_heads + head) * d + i;
        halves[place(position, head, i, false)] = __float2half_rn(text.keys[from]);
        halves[place(position, head, i, true)] = __float2half_rn(text.values[from]);
      }
    }
  }
  const DeviceMemory memory = upload(halves);
  // Pages lie in any order.
  std::vector<std::uint16_t*> addresses;
  std::vector<std::size_t> order(pages);
  for (std::size_t i = 0; i < pages; ++i) order[i] = i % 2 == 0 ? i / 2 : pages - 1 - i / 2;
  std::vector<__half> shuffled(halves.size());
  for (std::size_t i = 0; i < pages; ++i) {
    addresses.push_back(memory.as<std::uint16_t>() + order[i] * page_halves);
    std::memcpy(static_cast<void*>(shuffled.data() + order[i] * page_halves), halves.data() + i * page_halves,
                page_halves * sizeof(__half));
  }
  check(cudaMemcpy(memory.data(), shuffled.data(), memory.bytes(), cudaMemcpyHostToDevice), "uploading pages");
  const DeviceMemory table = upload(addresses);
  const DeviceMemory in = upload(text.in);
  const DeviceMemory q_norm = upload(text.q_norm);
  const DeviceMemory k_norm = upload(text.k_norm);
  const DeviceMemory frequencies = upload(text.frequencies);
  DeviceModel model;
  model.sizes = sizes;
  model.frequencies = frequencies.as<double>();
  DeviceLayer layer;
  layer.index = kLayer;
  layer.q_norm = q_norm.as<float>();
  layer.k_norm = k_norm.as<float>();
  Attention attention(model, device_info());

  const std::size_t width = std::size_t{sizes.heads} * d;
  const Halves out(text.tokens, width, width + 8);
  SequenceView sequence;
  sequence.pages = table.as<std::uint16_t*>();
  std::size_t token = 0;
  for (const std::uint32_t count : passes) {
    sequence.position = static_cast<std::uint32_t>(text.earlier + token);
    sequence.count = count;
    attention.run(layer, in.as<float>() + token * sizes.full_in_rows(), sequence,
                  out.hi.as<__half>() + token * out.stride, out.lo.as<__half>() + token * out.stride,
                  static_cast<std::uint32_t>(out.stride), nullptr);
    check(cudaDeviceSynchronize(), "running the attention");
    token += count;
  }

  Result result;
  result.out = out.values();
  const std::vector<__half> written = download<__half>(memory);
  for (std::size_t position = 0; position < positions; ++position) {
    for (std::uint32_t head = 0; head < sizes.kv_heads; ++head) {
      for (std::uint32_t i = 0; i < d; ++i) {
        const std::size_t moved = order[position / kPageTokens] * page_halves;
        const std::size_t base = position / kPageTokens * page_halves;
        result.keys.push_back(__half2float(written[moved + place(position, head, i, false) - base]));
        result.values.push_back(__half2float(written[moved + place(position, head, i, true) - base]));
      }
    }
  }
  // What a partly filled page has past its end must be a number: probabilities there are 0, not absent.
  for (std::size_t position = positions; position < pages * kPageTokens; ++position) {
    for (std::uint32_t i = 0; i < d; ++i) {
      const std::size_t base = position / kPageTokens * page_halves;
      const std::size_t at = order[position / kPageTokens] * page_halves + place(position, 0, i, true) - base;
      EXPECT_EQ(__half2float(written[at]), 0.0F) << "value " << i << " past the end, position " << position;
    }
  }
  std::size_t strange = 0;
  for (std::size_t i = 0; i < written.size(); ++i) {
    if (i % page_halves < strip_offset(kLayer, 0, false, sizes.kv_heads, sizes.head_dim)) {
      strange += std::isnan(__half2float(written[i])) ? 0U : 1U;
    }
  }
  EXPECT_EQ(strange, 0U) << "halves of another layer written";
  return result;
}

void expect_right(const Case& text, const std::vector<std::uint32_t>& passes, double limit = 5e-4) {
  const Expected expected = text.expected();
  const Result result = run(text, passes);
  const std::size_t width = std::size_t{text.sizes.kv_heads} * text.sizes.head_dim;
  EXPECT_TRUE(close(result.keys, expected.keys, width, 1e-4)) << "in the keys (row: position)";
  EXPECT_TRUE(close(result.values, expected.values, width, 1e-6)) << "in the values (row: position)";
  EXPECT_TRUE(close(result.out, expected.out, std::size_t{text.sizes.heads} * text.sizes.head_dim, limit))
      << "in the result";
}

class CudaAttention : public GpuTest {};

TEST_F(CudaAttention, EveryShapeAndCount) {
  unsigned seed = 1;
  for (const ModelSizes& sizes :
       {tiny(), gva(), shape(8, 2, 64, 64), shape(3, 3, 32, 16), shape(6, 2, 128, 32), full()}) {
    for (const std::uint32_t count : {1U, 9U, 63U, 64U, 65U, 200U, 700U}) {
      SCOPED_TRACE(testing::Message() << sizes.heads << " heads of " << sizes.head_dim << " on " << sizes.kv_heads
                                      << ", " << count << " tokens");
      expect_right(Case(sizes, 0, count, seed += 10), {count});
    }
  }
}

TEST_F(CudaAttention, GoesOnFromEarlierPositions) {
  unsigned seed = 500;
  for (const ModelSizes& sizes : {tiny(), gva(), full()}) {
    for (const std::size_t earlier : {1U, 31U, 64U, 100U, 333U}) {
      SCOPED_TRACE(testing::Message() << "head_dim " << sizes.head_dim << ", after " << earlier);
      expect_right(Case(sizes, earlier, 150, seed += 10), {1, 2, 60, 87});
    }
  }
}

TEST_F(CudaAttention, SharpAndFarAway) {
  expect_right(Case(full(), 70, 200, 900, 3.0F), {200}, 1e-3);
  expect_right(Case(tiny(), 262000, 20, 901, 2.0F), {20}, 1e-3);
}

TEST_F(CudaAttention, CutsChangeNothing) {
  for (const ModelSizes& sizes : {tiny(), gva(), full()}) {
    SCOPED_TRACE(testing::Message() << "head_dim " << sizes.head_dim);
    const Case text(sizes, 40, 200, 950, 2.0F);
    const Result whole = run(text, {200});
    for (const std::vector<std::uint32_t>& passes :
         {std::vector<std::uint32_t>{64, 64, 72}, std::vector<std::uint32_t>{1, 7, 92, 100}}) {
      const Result cut = run(text, passes);
      EXPECT_TRUE(same_bits(whole.out, cut.out));
      EXPECT_TRUE(same_bits(whole.keys, cut.keys));
      EXPECT_TRUE(same_bits(whole.values, cut.values));
    }
  }
}

// What the race checker runs.
TEST_F(CudaAttention, BriefEveryHeadDim) {
  unsigned seed = 980;
  for (const ModelSizes& sizes :
       {shape(2, 1, 32, 8), shape(4, 1, 64, 16), shape(4, 1, 128, 32), shape(4, 1, 256, 64)}) {
    SCOPED_TRACE(testing::Message() << "head_dim " << sizes.head_dim);
    expect_right(Case(sizes, 50, 40, seed += 10), {3, 37});
  }
}

}  // namespace
}  // namespace qwen35::cuda
