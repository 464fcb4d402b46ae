// Packed weights are the checkpoint's, value by value: on the host by the function that the kernel runs, and read back
// from a GPU.

#include "backend/cuda/load/pack.h"

#include <gtest/gtest.h>

#include <random>

#include "backend/cuda/load/pack_kernels.h"
#include "backend/reference_data.h"
#include "checkpoint/affine.h"
#include "device_helpers.h"
#include "host_pack.h"

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

/// A value read back, as kernels read it: rounded to float32 once.
float packed_value(const Matrix& matrix, const std::uint8_t* data, std::uint32_t row, std::uint32_t column) {
  const std::uint8_t* const unit =
      data + (std::size_t{row / kTileRows} * matrix.units + column / kUnitColumns) * matrix.unit_bytes;
  const std::uint32_t inside = column % kUnitColumns;
  const std::uint32_t step = inside / 16;
  const std::uint32_t lane = row % kTileRows * 4 + inside % 8 / 2;
  const std::uint32_t j = inside % 2 + 2 * (inside % 16 / 8);
  const std::uint32_t pair = 2 * step + j / 2;
  const auto word = [unit](std::uint32_t at) {
    std::uint32_t value = 0;
    memcpy(&value, unit + at, 4);
    return value;
  };
  if (matrix.bits == 16) {
    const std::uint32_t both = word(pair / 4 * 512 + lane * 16 + pair % 4 * 4);
    return matrix.factor * f16_to_float(static_cast<std::uint16_t>(both >> (16 * (j % 2))));
  }
  std::uint32_t q = 0;
  if (matrix.bits == 8) {
    q = word(step / 4 * 512 + lane * 16 + step % 4 * 4) >> (8 * j) & 255U;
  } else {
    q = word(lane * 16 + pair / 4 * 4) >> (16 * (j % 2) + 4 * (pair % 4)) & 15U;
    if (matrix.bits == 5) q |= (word(512 + lane * 4) >> (16 * (j % 2) + pair) & 1U) << 4U;
    if (matrix.bits == 6) q |= (word(512 + lane * 8 + pair / 8 * 4) >> (16 * (j % 2) + 2 * (pair % 8)) & 3U) << 4U;
  }
  const std::uint32_t groups = kUnitColumns / matrix.group;
  const std::uint32_t both = word(value_bytes(matrix.bits) + (row % kTileRows * groups + inside / matrix.group) * 4);
  const float scale = f16_to_float(static_cast<std::uint16_t>(both));
  const float bias = f16_to_float(static_cast<std::uint16_t>(both >> 16U));
  return matrix.factor * (scale * static_cast<float>(q) + bias);
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

class CudaPackedModel : public GpuTest, public testing::WithParamInterface<Quantization> {};

TEST_P(CudaPackedModel, HoldsTheCheckpoint) {
  const DrawnModel drawn(tiny_model() / "config.json", 3, GetParam());
  const ModelWeights weights = load_weights(drawn.folder());
  const PackedModel packed(weights, device_info());
  const DeviceModel& model = packed.model();
  EXPECT_GT(packed.memory_bytes(), 0U);
  EXPECT_EQ(model.head.data, model.embedding.data);
  const auto expect_matrix = [](const Matrix& matrix, std::vector<const WeightMatrix*> parts, bool interleaved,
                                const std::string& what) {
    const auto data = download<std::uint8_t>(matrix.data, matrix.bytes());
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
    EXPECT_EQ(download<float>(layer.input_norm, from.input_norm.size()), from.input_norm);
    EXPECT_EQ(download<float>(layer.post_norm, from.input_norm.size()), from.post_attention_norm);
    if (const auto* linear = std::get_if<LinearAttentionWeights>(&from.mixer)) {
      ASSERT_TRUE(layer.linear);
      expect_matrix(layer.in, {&linear->in_proj_qkv, &linear->in_proj_b, &linear->in_proj_a, &linear->in_proj_z}, false,
                    name + "in");
      expect_matrix(layer.out, {&linear->out_proj}, false, name + "out");
      const auto conv = download<float>(layer.conv, linear->conv.size());
      const std::size_t channels = weights.config.conv_channels();
      for (std::size_t j = 0; j < conv.size(); ++j)
        ASSERT_EQ(conv[j], linear->conv[j % channels * weights.config.conv_kernel + j / channels]);
      const auto decay = download<float>(layer.decay, linear->a_log.size());
      for (std::size_t j = 0; j < decay.size(); ++j) ASSERT_EQ(decay[j], std::exp(linear->a_log[j]));
    } else {
      ASSERT_FALSE(layer.linear);
      const auto& full = std::get<FullAttentionWeights>(from.mixer);
      expect_matrix(layer.in, {&full.q_proj, &full.k_proj, &full.v_proj}, false, name + "in");
      expect_matrix(layer.out, {&full.o_proj}, false, name + "out");
      EXPECT_EQ(download<float>(layer.q_norm, full.q_norm.size()), full.q_norm);
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
