// The mixers' kernels of batches: against the ones for long texts, which have float64 twins of their own; and that
// nothing but a sequence's own tokens has a part in its bits.

#include "backend/cuda/batch/batch_mix.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "../random.h"
#include "backend/cuda/prefill/attention.h"
#include "backend/cuda/prefill/delta_rule.h"
#include "mixer_helpers.h"

namespace qwen35::cuda {
namespace {

constexpr std::uint32_t kLayers = 2;
constexpr std::uint32_t kLayer = 1;  // the one that is run; the other's state must stay

ModelSizes shape(std::uint32_t heads, std::uint32_t kv_heads, std::uint32_t head_dim, std::uint32_t rotary_dim,
                 std::uint32_t key_heads, std::uint32_t value_heads, std::uint32_t key_dim, std::uint32_t value_dim) {
  ModelSizes s;
  s.hidden = 1024, s.intermediate = 3584, s.vocabulary = 248320;
  s.linear_layers = s.full_layers = kLayers;
  s.heads = heads, s.kv_heads = kv_heads, s.head_dim = head_dim, s.rotary_dim = rotary_dim;
  s.key_heads = key_heads, s.value_heads = value_heads, s.key_dim = key_dim, s.value_dim = value_dim;
  s.conv_kernel = 4, s.eps = 1e-6F;
  return s;
}
ModelSizes tiny() { return shape(4, 2, 32, 8, 2, 2, 32, 32); }
ModelSizes gva() { return shape(4, 1, 64, 16, 2, 4, 64, 48); }
ModelSizes full() { return shape(8, 2, 256, 64, 16, 16, 128, 128); }  // Qwen3.5-0.8B

struct Text {
  std::uint32_t position, count;  ///< tokens before the pass, and in it
};
/// Splits of 128 keys and pages of 64 begin, end and are left empty; a text of no past; 8 tokens.
std::vector<Text> texts() {
  return {{127, 1}, {0, 1}, {126, 4}, {128, 1}, {0, 8}, {255, 3}, {63, 2}, {1, 1}, {300, 1}};
}

/// Some of a text's tokens, counted from the first of the pass.
struct Part {
  std::size_t text;
  std::uint32_t begin, count;
};

/// A layer and texts with a past, always the same ones.
class Mixer {
 public:
  Mixer(const ModelSizes& sizes, bool linear, std::vector<Text> list)
      : s_(sizes), linear_(linear), texts_(std::move(list)) {
    const auto near_one = [](std::size_t n, unsigned seed) {
      std::vector<float> values = random_floats(n, seed, 0.1F);
      for (float& x : values) x += 1.0F;
      return values;
    };
    DeviceLayer layer;
    layer.linear = linear;
    layer.index = kLayer;
    layer.out.columns = columns();
    layer.out.units = (columns() + kUnitColumns - 1) / kUnitColumns;
    if (linear) {
      std::vector<float> decay = random_floats(s_.value_heads, 3);
      for (float& x : decay) x = std::exp(x);
      std::vector<float> bias = random_floats(s_.value_heads, 4);
      for (float& x : bias) x -= 3.0F;
      layer.conv = keep(random_floats(std::size_t{s_.conv_kernel} * s_.conv_channels(), 2, 0.4F));
      layer.decay = keep(decay);
      layer.dt_bias = keep(bias);
      layer.gated_norm = keep(near_one(s_.value_dim, 5));
    } else {
      layer.q_norm = keep(near_one(s_.head_dim, 6));
      layer.k_norm = keep(near_one(s_.head_dim, 7));
    }
    std::vector<double> frequencies;
    for (std::uint32_t i = 0; i < s_.rotary_dim / 2; ++i)
      frequencies.push_back(std::pow(1e7, -2.0 * i / s_.rotary_dim));
    model_.sizes = s_;
    model_.layers = {layer};
    model_.frequencies = keep(frequencies);
    for (std::size_t i = 0; i < texts_.size(); ++i) {
      in_.push_back(random_floats(std::size_t{texts_[i].count} * in_rows(), 100 + static_cast<unsigned>(i)));
      states_.push_back(new_state(i));
    }
  }

  [[nodiscard]] std::uint32_t columns() const { return linear_ ? s_.z_floats() : s_.heads * s_.head_dim; }
  [[nodiscard]] std::uint32_t in_rows() const { return linear_ ? s_.linear_in_rows() : s_.full_in_rows(); }

  /// One pass over `parts`; returns each row's words.
  std::vector<std::vector<std::uint32_t>> run(const std::vector<Part>& parts) {
    DecodeArgs args{};
    args.sizes = s_;
    args.layer_count = 1;
    args.frequencies = model_.frequencies;
    std::vector<float> in;
    const std::uint32_t in_floats = (in_rows() + 1) / 2 * 2;
    std::uint32_t splits = 1;
    for (const Part& part : parts) {
      args.sequence[args.sequences] = view(part, args.rows);
      const std::uint32_t position = texts_[part.text].position + part.begin;
      splits = std::max(splits, (position + part.count - 1) / kSplitKeys + 1);
      for (std::uint32_t t = 0; t < part.count; ++t) {
        args.sequence_of[args.rows++] = static_cast<std::uint8_t>(args.sequences);
        const float* const row = in_[part.text].data() + std::size_t{part.begin + t} * in_rows();
        in.insert(in.end(), row, row + in_rows());
        in.resize(std::size_t{args.rows} * in_floats);
      }
      ++args.sequences;
    }
    args.splits = splits + 1;
    args.combine = splits > 1 ? 1 : 0;
    const std::uint32_t units = model_.layers[0].out.units;
    const std::size_t groups = (args.rows + kGroupRows - 1) / kGroupRows;
    const std::size_t group_words = std::size_t{kGroupRows} * units * kUnitColumns;
    const DeviceMemory values = upload(in);
    const DeviceMemory words = poisoned((groups + 1) * group_words * sizeof(std::uint32_t));
    const std::size_t heads = std::size_t{args.rows} * s_.heads * args.splits;
    const DeviceMemory part = poisoned(heads * s_.head_dim * sizeof(float));
    const DeviceMemory scale = poisoned(heads * 2 * sizeof(float));
    args.buffers.in[0] = values.data();
    args.buffers.in_floats = in_floats;
    args.buffers.part[0] = part.data();
    args.buffers.scale[0] = scale.data();
    args.buffers.act_mixed = words.as<std::uint32_t>();
    const DeviceMemory pass = upload(std::vector<DecodeArgs>{args});
    BatchGrid grid;
    grid.rows = static_cast<std::uint32_t>(groups) * kGroupRows;
    grid.multiprocessors = 7;  // a block has several items
    grid.combine = args.combine != 0;
    grid.early = device_info().major >= 9;
    batch_mix(pass.as<const DecodeArgs>(), model_, 0, grid, nullptr);
    check(cudaDeviceSynchronize(), "running a mixer");

    const std::vector<std::uint32_t> all = download<std::uint32_t>(words);
    std::vector<std::vector<std::uint32_t>> rows(groups * kGroupRows);
    for (std::size_t row = 0; row < rows.size(); ++row) {
      for (std::size_t step = 0; step < std::size_t{units} * 8; ++step) {
        const auto at = all.begin() + static_cast<std::ptrdiff_t>(row / kGroupRows * group_words +
                                                                  (step * kGroupRows + row % kGroupRows) * 16);
        rows[row].insert(rows[row].end(), at, at + 16);
      }
      // Rows and columns that are not there are zeros.
      for (std::size_t pair = row < args.rows ? columns() / 2 : 0; pair < rows[row].size() / 2; ++pair) {
        EXPECT_EQ(rows[row][word_of(pair)], 0U) << "row " << row << ", pair " << pair;
        EXPECT_EQ(rows[row][word_of(pair) + 1], 0U) << "row " << row << ", pair " << pair;
      }
    }
    EXPECT_TRUE(std::all_of(all.end() - static_cast<std::ptrdiff_t>(group_words), all.end(), [](std::uint32_t word) {
      return word == 0xffffffffU;
    })) << "written behind the last group";
    rows.resize(args.rows);
    return rows;
  }

  /// What the kernels for long texts make of text `i`.
  std::vector<float> expected(std::size_t i) {
    const DeviceMemory in = upload(in_[i]);
    const Halves result(texts_[i].count, columns(), columns());
    const SequenceView sequence = view({i, 0, texts_[i].count}, 0);
    const DeviceLayer& layer = model_.layers[0];
    if (linear_) {
      DeltaRule rule(model_, device_info());
      rule.run(layer, in.as<float>(), sequence, result.hi.as<__half>(), result.lo.as<__half>(), columns(), nullptr);
      check(cudaDeviceSynchronize(), "running the delta rule");
    } else {
      Attention attention(model_, device_info());
      attention.run(layer, in.as<float>(), sequence, result.hi.as<__half>(), result.lo.as<__half>(), columns(),
                    nullptr);
      check(cudaDeviceSynchronize(), "running attention");
    }
    return result.values();
  }

  /// A row's values.
  [[nodiscard]] std::vector<float> values(const std::vector<std::uint32_t>& words) const {
    std::vector<float> result;
    for (std::size_t column = 0; column < columns(); ++column) {
      const auto half = [&](std::size_t word) {
        const auto bits = static_cast<std::uint16_t>(words[word] >> 16U * (column % 2));
        return to_float(bits);
      };
      result.push_back(half(word_of(column / 2)) + half(word_of(column / 2) + 1));
    }
    return result;
  }

  /// All that text `i` remembers: S, or keys and values of its positions so far.
  [[nodiscard]] std::vector<float> remembered(std::size_t i) const {
    if (linear_) return download<float>(states_[i].s);
    const std::vector<std::uint16_t> pages = download<std::uint16_t>(states_[i].pages);
    std::vector<float> result;
    for (std::uint32_t p = 0; p < texts_[i].position + texts_[i].count; ++p) {
      const std::size_t page = p / kPageTokens * page_halves();
      for (std::uint32_t layer = 0; layer < kLayers; ++layer) {
        for (std::uint32_t head = 0; head < s_.kv_heads; ++head) {
          for (std::uint32_t d = 0; d < s_.head_dim; ++d) {
            const auto strip = [&](bool value) {
              return page + strip_offset(layer, head, value, s_.kv_heads, s_.head_dim);
            };
            result.push_back(to_float(pages[strip(false) + key_index(p % kPageTokens, d, s_.head_dim)]));
            result.push_back(to_float(pages[strip(true) + value_index(p % kPageTokens, d, s_.head_dim)]));
          }
        }
      }
    }
    return result;
  }

 private:
  struct State {
    DeviceMemory s, ring, pages, table;
  };

  /// The first of a pair's two words in a row: high halves, then low ones (decode_link.cuh).
  static std::size_t word_of(std::size_t pair) { return pair / 8 * 16 + pair % 4 * 4 + pair % 8 / 4 * 2; }
  static float to_float(std::uint16_t bits) {
    __half_raw raw;
    raw.x = bits;
    return __half2float(__half(raw));
  }
  [[nodiscard]] std::size_t page_halves() const {
    return std::size_t{kLayers} * 2 * s_.kv_heads * strip_halves(s_.head_dim);
  }

  template <typename T>
  const T* keep(const std::vector<T>& values) {
    memory_.push_back(upload(values));
    return memory_.back().as<const T>();
  }

  [[nodiscard]] State new_state(std::size_t i) const {
    const Text& text = texts_[i];
    const auto seed = static_cast<unsigned>(1000 + 10 * i);
    State state;
    if (linear_) {
      state.s = upload(random_floats(std::size_t{kLayers} * s_.s_floats(), seed, 0.3F));
      // The rows of the pass are there, as the input product leaves them.
      std::vector<float> ring = random_floats(std::size_t{kLayers} * kRingRows * s_.ring_floats(), seed + 1);
      for (std::uint32_t t = 0; t < text.count; ++t) {
        const float* const row = in_[i].data() + std::size_t{t} * in_rows();
        std::copy(row, row + s_.ring_floats(),
                  ring.begin() + static_cast<std::ptrdiff_t>((kLayer * kRingRows + (text.position + t) % kRingRows) *
                                                             s_.ring_floats()));
      }
      state.ring = upload(ring);
      return state;
    }
    const std::size_t pages = (text.position + text.count + kPageTokens - 1) / kPageTokens;
    const std::vector<float> random = random_floats(pages * page_halves(), seed);
    std::vector<std::uint16_t> halves;
    for (const float value : random) {
      halves.push_back(static_cast<__half_raw>(__float2half_rn(value)).x);
    }
    for (std::uint32_t p = text.position; p < pages * kPageTokens; ++p) {  // what lies there is no number
      for (std::uint32_t head = 0; head < s_.kv_heads; ++head) {
        for (std::uint32_t d = 0; d < s_.head_dim; ++d) {
          const auto strip = [&](bool value) {
            return p / kPageTokens * page_halves() + strip_offset(kLayer, head, value, s_.kv_heads, s_.head_dim);
          };
          halves[strip(false) + key_index(p % kPageTokens, d, s_.head_dim)] = 0x7e00;
          halves[strip(true) + value_index(p % kPageTokens, d, s_.head_dim)] = 0x7e00;
        }
      }
    }
    state.pages = upload(halves);
    std::vector<std::uint16_t*> table;
    for (std::size_t page = 0; page < pages; ++page)
      table.push_back(state.pages.as<std::uint16_t>() + page * page_halves());
    state.table = upload(table);
    return state;
  }

  [[nodiscard]] SequenceView view(const Part& part, std::uint32_t first) const {
    const State& state = states_[part.text];
    SequenceView v;
    v.position = texts_[part.text].position + part.begin;
    v.first = first;
    v.count = part.count;
    if (linear_) {
      v.s_in = v.position == 0 ? nullptr : state.s.as<const float>();
      v.s_out = state.s.as<float>();
      v.ring = state.ring.as<float>();
    } else {
      v.pages = state.table.as<std::uint16_t*>();
    }
    return v;
  }

  ModelSizes s_;
  bool linear_;
  std::vector<Text> texts_;
  DeviceModel model_;
  std::vector<std::vector<float>> in_;
  std::vector<State> states_;
  std::vector<DeviceMemory> memory_;
};

/// All texts in one pass.
std::vector<Part> together(const std::vector<Text>& list) {
  std::vector<Part> parts;
  for (std::size_t i = 0; i < list.size(); ++i) parts.push_back({i, 0, list[i].count});
  return parts;
}

void expect_as_long_texts(const ModelSizes& sizes, bool linear) {
  Mixer batch(sizes, linear, texts());
  Mixer other(sizes, linear, texts());
  const auto rows = batch.run(together(texts()));
  std::size_t row = 0;
  for (std::size_t i = 0; i < texts().size(); ++i) {
    const std::vector<float> wanted = other.expected(i);
    std::vector<float> came;
    for (std::uint32_t t = 0; t < texts()[i].count; ++t) {
      const std::vector<float> values = batch.values(rows[row++]);
      came.insert(came.end(), values.begin(), values.end());
    }
    EXPECT_TRUE(close(came, {wanted.begin(), wanted.end()}, batch.columns(), linear ? 3e-4 : 1e-3)) << "text " << i;
    const std::vector<float> left = other.remembered(i);
    EXPECT_TRUE(close(batch.remembered(i), {left.begin(), left.end()}, 1, linear ? 3e-4 : 1e-4))
        << "what text " << i << " remembers";
  }
}

void expect_same_alone(const ModelSizes& sizes, bool linear) {
  Mixer batch(sizes, linear, texts());
  Mixer alone(sizes, linear, texts());
  const auto rows = batch.run(together(texts()));
  std::size_t row = 0;
  for (std::size_t i = 0; i < texts().size(); ++i) {
    for (std::uint32_t t = 0; t < texts()[i].count; ++t)
      EXPECT_TRUE(same_bits(rows[row++], alone.run({{i, t, 1}})[0])) << "text " << i << ", token " << t;
    EXPECT_TRUE(same_bits(batch.remembered(i), alone.remembered(i))) << "what text " << i << " remembers";
  }
}

class BatchMix : public GpuTest, public testing::WithParamInterface<bool> {};

TEST_P(BatchMix, AgreesWithLongTextsTiny) { expect_as_long_texts(tiny(), GetParam()); }
TEST_P(BatchMix, AgreesWithLongTextsMoreValueHeads) { expect_as_long_texts(gva(), GetParam()); }
TEST_P(BatchMix, AgreesWithLongTextsFull) { expect_as_long_texts(full(), GetParam()); }
TEST_P(BatchMix, SameBitsAloneTokenByTokenTiny) { expect_same_alone(tiny(), GetParam()); }
TEST_P(BatchMix, SameBitsAloneTokenByTokenMoreValueHeads) { expect_same_alone(gva(), GetParam()); }
TEST_P(BatchMix, SameBitsAloneTokenByTokenFull) { expect_same_alone(full(), GetParam()); }

INSTANTIATE_TEST_SUITE_P(Layers, BatchMix, testing::Bool(),
                         [](const auto& one) { return one.param ? "Linear" : "Full"; });

}  // namespace
}  // namespace qwen35::cuda
