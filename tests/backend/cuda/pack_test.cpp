// Packed weights are the checkpoint's, value by value: on the host by the function that the kernel runs, and read back
// from a GPU.

#include "backend/cuda/pack.h"

#include <gtest/gtest.h>

#include <random>

#include "backend/cuda/device.h"
#include "backend/cuda/pack_kernels.h"
#include "backend/reference_data.h"
#include "checkpoint/affine.h"

namespace qwen35::cuda {
namespace {

/// A matrix of a checkpoint in memory.
struct Stock {
  std::vector<std::uint32_t> words;
  std::vector<float> scales, biases;                 ///< as stored
  std::vector<std::uint16_t> scale_bits, bias_bits;  ///< where they are not float32
  std::vector<std::uint16_t> halves;
  std::vector<float> floats;
  WeightMatrix matrix;
};

std::uint16_t stored_bits(FloatType type, float value) {
  return type == FloatType::bf16 ? float_to_bf16(value) : float_to_f16(value);
}

/// bits == 16: dense.
std::unique_ptr<Stock> make_stock(std::size_t rows, std::size_t columns, int bits, int group, FloatType type,
                                  float magnitude, unsigned seed) {
  auto stock = std::make_unique<Stock>();
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0, magnitude);
  stock->matrix.rows = rows;
  stock->matrix.cols = columns;
  if (bits == 16) {
    for (std::size_t i = 0; i < rows * columns; ++i) {
      const float value = normal(engine);
      stock->floats.push_back(value);
      if (type != FloatType::f32) stock->halves.push_back(stored_bits(type, value));
    }
    stock->matrix.storage = DenseMatrix{
        type, type == FloatType::f32 ? static_cast<const void*>(stock->floats.data()) : stock->halves.data()};
    return stock;
  }
  for (std::size_t i = 0; i < rows * columns * static_cast<std::size_t>(bits) / 32; ++i)
    stock->words.push_back(static_cast<std::uint32_t>(engine()));
  for (std::size_t i = 0; i < rows * columns / static_cast<std::size_t>(group); ++i) {
    stock->scales.push_back(normal(engine));
    stock->biases.push_back(4 * normal(engine));
    stock->scale_bits.push_back(stored_bits(type, stock->scales.back()));
    stock->bias_bits.push_back(stored_bits(type, stock->biases.back()));
  }
  const bool wide = type == FloatType::f32;
  stock->matrix.storage = AffineMatrix{bits,
                                       group,
                                       stock->words.data(),
                                       type,
                                       wide ? static_cast<const void*>(stock->scales.data()) : stock->scale_bits.data(),
                                       wide ? static_cast<const void*>(stock->biases.data()) : stock->bias_bits.data()};
  return stock;
}

PackPart part_of(const WeightMatrix& matrix) {
  PackPart part;
  part.rows = static_cast<std::uint32_t>(matrix.rows);
  const auto stored = [](FloatType t) {
    return t == FloatType::bf16 ? Stored::bf16 : t == FloatType::f16 ? Stored::f16 : Stored::f32;
  };
  if (const auto* dense = std::get_if<DenseMatrix>(&matrix.storage)) {
    part.stored = stored(dense->type);
    part.values = dense->data;
    return part;
  }
  const auto& affine = std::get<AffineMatrix>(matrix.storage);
  part.bits = static_cast<std::uint32_t>(affine.bits);
  part.group = static_cast<std::uint32_t>(affine.group_size);
  part.stored = stored(affine.scale_type);
  part.values = affine.packed;
  part.scales = affine.scales;
  part.biases = affine.biases;
  return part;
}

std::vector<std::uint8_t> pack_on_host(const PackSource& source, const Matrix& matrix) {
  std::vector<std::uint8_t> data(std::size_t{matrix.tiles} * matrix.units * matrix.unit_bytes, 0xA5);
  for (std::uint32_t tile = 0; tile < matrix.tiles; ++tile) {
    for (std::uint32_t unit = 0; unit < matrix.units; ++unit) {
      for (std::uint32_t lane = 0; lane < kLanes; ++lane) pack_lane(source, matrix, data.data(), tile, unit, lane);
    }
  }
  return data;
}

/// Compares a packed row with the checkpoint's. Scales and biases (or values) are rounded to binary16 once.
void expect_row(const Matrix& matrix, const std::uint8_t* data, std::uint32_t packed_row, const WeightMatrix& from,
                std::size_t row, const std::string& what) {
  std::vector<float> want(from.cols);
  from.row(row, want.data());
  const PackPart part = part_of(from);
  for (std::uint32_t column = 0; column < from.cols; ++column) {
    double size = std::fabs(static_cast<double>(want[column]));
    if (part.group > 0) {
      const PackRow at{&part, static_cast<std::uint32_t>(row)};
      const auto columns = static_cast<std::uint32_t>(from.cols);
      size = std::fabs(static_cast<double>(pack_scale(at, false, column, columns))) * pack_quant(at, column, columns) +
             std::fabs(static_cast<double>(pack_scale(at, true, column, columns)));
    }
    // Half a place of binary16, or of its smallest numbers (times the highest q), and of the float sums.
    const double tolerance = size * (0x1p-11 + 0x1p-22) + static_cast<double>(matrix.factor) * 0x1p-25 * 256;
    const float got = packed_value(matrix, data, packed_row, column);
    ASSERT_NEAR(got, want[column], tolerance) << what << ", row " << row << " (packed " << packed_row << "), column "
                                              << column << ", factor " << matrix.factor;
  }
}

/// What is past the matrix's own rows and columns must be zero: products read it.
void expect_zero_edges(const Matrix& matrix, const std::uint8_t* data) {
  for (std::uint32_t row = 0; row < matrix.tiles * kTileRows; ++row) {
    for (std::uint32_t column = row < matrix.rows ? matrix.columns : 0; column < matrix.units * kUnitColumns; ++column)
      ASSERT_EQ(packed_value(matrix, data, row, column), 0) << "row " << row << ", column " << column;
  }
}

float largest_of(const PackSource& source, std::uint32_t columns) {
  float most = 0;
  for (std::uint32_t i = 0; i < source.count; ++i) {
    const PackPart& part = source.parts[i];
    for (std::uint32_t row = 0; row < part.rows; ++row) {
      const PackRow at{&part, row};
      for (std::uint32_t column = 0; column < columns; ++column) {
        const float bound = part.group == 0 ? std::fabs(pack_value(at, column, columns))
                                            : std::fabs(pack_scale(at, false, column, columns)) *
                                                      static_cast<float>((1U << part.bits) - 1) +
                                                  std::fabs(pack_scale(at, true, column, columns));
        most = std::max(most, bound);
      }
    }
  }
  return most;
}

TEST(CudaPack, EveryFormOnTheHost) {
  unsigned seed = 1;
  for (const int bits : {2, 3, 4, 5, 6, 8, 16}) {
    for (const int group : {32, 64, 128}) {
      for (const FloatType type : {FloatType::bf16, FloatType::f16, FloatType::f32}) {
        for (const float magnitude : {0.02F, 1e-4F, 700.0F}) {
          const std::size_t columns = group == 32 ? 160 : group == 64 ? 192 : 256;
          const auto stock = make_stock(13, columns, bits, group, type, magnitude, seed++);
          PackSource source;
          source.parts[source.count++] = part_of(stock->matrix);
          Matrix matrix = packed_form(source, static_cast<std::uint32_t>(columns));
          EXPECT_EQ(matrix.bits, static_cast<std::uint32_t>(std::max(bits, 4)));
          EXPECT_EQ(matrix.unit_bytes % 16, 0U);
          const float largest = largest_of(source, matrix.columns);
          matrix.factor = pack_factor(largest);
          ASSERT_LT(largest / matrix.factor, 32);
          const auto data = pack_on_host(source, matrix);
          const std::string what = std::to_string(bits) + " bits, groups of " + std::to_string(group);
          for (std::uint32_t row = 0; row < 13; ++row) {
            expect_row(matrix, data.data(), row, stock->matrix, row, what);
            if (HasFatalFailure()) return;
          }
          expect_zero_edges(matrix, data.data());
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// Quantised values are taken over as they are: in a matrix whose scales binary16 holds, every value is exact.
TEST(CudaPack, Binary16ScalesAreExact) {
  for (const int bits : {4, 5, 6, 8}) {
    const auto stock = make_stock(24, 256, bits, 64, FloatType::f16, 0.02F, 7);
    PackSource source;
    source.parts[source.count++] = part_of(stock->matrix);
    Matrix matrix = packed_form(source, 256);
    const auto data = pack_on_host(source, matrix);
    for (std::uint32_t row = 0; row < 24; ++row) {
      std::vector<float> want(256);
      stock->matrix.row(row, want.data());
      for (std::uint32_t column = 0; column < 256; ++column)
        ASSERT_EQ(packed_value(matrix, data.data(), row, column), want[column]) << bits << " bits, row " << row;
    }
  }
}

TEST(CudaPack, PartsOfDifferentForms) {
  const auto five = make_stock(6, 128, 5, 64, FloatType::bf16, 0.02F, 1);
  const auto three = make_stock(9, 128, 3, 32, FloatType::f16, 0.02F, 2);
  const auto dense = make_stock(4, 128, 16, 0, FloatType::bf16, 0.02F, 3);
  for (const bool with_dense : {false, true}) {
    PackSource source;
    source.parts[source.count++] = part_of(five->matrix);
    source.parts[source.count++] = part_of(three->matrix);
    if (with_dense) source.parts[source.count++] = part_of(dense->matrix);
    const Matrix matrix = packed_form(source, 128);
    EXPECT_EQ(matrix.bits, with_dense ? 16U : 5U);
    EXPECT_EQ(matrix.group, with_dense ? 0U : 32U);
    const auto data = pack_on_host(source, matrix);
    for (std::uint32_t row = 0; row < matrix.rows; ++row) {
      const WeightMatrix& from = row < 6 ? five->matrix : row < 15 ? three->matrix : dense->matrix;
      expect_row(matrix, data.data(), row, from, row < 6 ? row : row < 15 ? row - 6 : row - 15, "parts");
      if (HasFatalFailure()) return;
    }
    expect_zero_edges(matrix, data.data());
  }
}

TEST(CudaPack, FactorsArePowersOfTwoInRange) {
  for (const float largest : {0.125F, 1.0F, 31.9F}) EXPECT_EQ(pack_factor(largest), 1);
  EXPECT_EQ(pack_factor(0), 1);
  for (const float largest : {1e-30F, 1e-5F, 0.12F, 32.0F, 1e6F, 3e38F}) {
    const float factor = pack_factor(largest);
    int exponent = 0;
    EXPECT_EQ(std::frexp(factor, &exponent), 0.5F);
    EXPECT_GE(largest / factor, largest < 1e-29F ? 0 : 8) << largest;
    EXPECT_LT(largest / factor, largest > 1e38F ? 1e5F : 16.0F) << largest;
  }
}

std::vector<std::uint8_t> read_back(const Matrix& matrix) {
  std::vector<std::uint8_t> data(std::size_t{matrix.tiles} * matrix.units * matrix.unit_bytes);
  check(cudaMemcpy(data.data(), matrix.data, data.size(), cudaMemcpyDeviceToHost), "reading weights back");
  return data;
}

std::vector<float> read_back(const float* from, std::size_t count) {
  std::vector<float> values(count);
  check(cudaMemcpy(values.data(), from, count * sizeof(float), cudaMemcpyDeviceToHost), "reading weights back");
  return values;
}

class CudaPackedModel : public testing::TestWithParam<Quantization> {};

TEST_P(CudaPackedModel, HoldsTheCheckpoint) {
  if (const std::string why = why_unusable(); !why.empty()) GTEST_SKIP() << why;
  const DrawnModel drawn(tiny_model() / "config.json", 3, GetParam());
  const ModelWeights weights = load_weights(drawn.folder());
  const PackedModel packed(weights, device_info());
  const DeviceModel& model = packed.model();
  EXPECT_GT(packed.memory_bytes(), 0U);
  EXPECT_EQ(model.head.data, model.embedding.data);
  const auto expect_matrix = [](const Matrix& matrix, std::vector<const WeightMatrix*> parts, bool interleaved,
                                const std::string& what) {
    const auto data = read_back(matrix);
    std::size_t rows = 0;
    for (const WeightMatrix* part : parts) {
      for (std::size_t row = 0; row < part->rows; ++row) {
        const std::size_t at = interleaved ? row / 4 * 8 + (part == parts[1] ? 4 : 0) + row % 4 : rows + row;
        expect_row(matrix, data.data(), static_cast<std::uint32_t>(at), *part, row, what);
        if (HasFatalFailure()) return;
      }
      rows += part->rows;
    }
    EXPECT_EQ(matrix.rows, rows) << what;
    expect_zero_edges(matrix, data.data());
  };
  expect_matrix(model.embedding, {&weights.embedding}, false, "embedding");
  for (std::size_t i = 0; i < weights.layers.size(); ++i) {
    const LayerWeights& from = weights.layers[i];
    const DeviceLayer& layer = model.layers[i];
    const std::string name = "layer " + std::to_string(i) + ", ";
    EXPECT_EQ(read_back(layer.input_norm, from.input_norm.size()), from.input_norm);
    EXPECT_EQ(read_back(layer.post_norm, from.input_norm.size()), from.post_attention_norm);
    if (const auto* linear = std::get_if<LinearAttentionWeights>(&from.mixer)) {
      ASSERT_TRUE(layer.linear);
      expect_matrix(layer.in, {&linear->in_proj_qkv, &linear->in_proj_b, &linear->in_proj_a, &linear->in_proj_z}, false,
                    name + "in");
      expect_matrix(layer.out, {&linear->out_proj}, false, name + "out");
      const auto conv = read_back(layer.conv, linear->conv.size());
      const std::size_t channels = weights.config.conv_channels();
      for (std::size_t j = 0; j < conv.size(); ++j)
        ASSERT_EQ(conv[j], linear->conv[j % channels * weights.config.conv_kernel + j / channels]);
      const auto decay = read_back(layer.decay, linear->a_log.size());
      for (std::size_t j = 0; j < decay.size(); ++j) ASSERT_EQ(decay[j], std::exp(linear->a_log[j]));
    } else {
      ASSERT_FALSE(layer.linear);
      const auto& full = std::get<FullAttentionWeights>(from.mixer);
      expect_matrix(layer.in, {&full.q_proj, &full.k_proj, &full.v_proj}, false, name + "in");
      expect_matrix(layer.out, {&full.o_proj}, false, name + "out");
      EXPECT_EQ(read_back(layer.q_norm, full.q_norm.size()), full.q_norm);
    }
    expect_matrix(layer.gate_up, {&from.gate_proj, &from.up_proj}, true, name + "gate_up");
    expect_matrix(layer.down, {&from.down_proj}, false, name + "down");
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, CudaPackedModel,
                         testing::Values(Quantization{}, Quantization{2, 32}, Quantization{3, 64}, Quantization{4, 32},
                                         Quantization{4, 64}, Quantization{5, 32}, Quantization{6, 64},
                                         Quantization{8, 64}));

TEST(CudaPack, RefusesWhatKernelsDoNotTake) {
  ModelWeights weights = load_weights(tiny_model());
  weights.config.conv_kernel = 9;
  try {
    const PackedModel packed(weights, DeviceInfo{});
    FAIL() << "took a convolution of 9 taps";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(error.what()).find("linear_conv_kernel_dim is 9"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace qwen35::cuda
