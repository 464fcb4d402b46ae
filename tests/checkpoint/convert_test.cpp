#include "checkpoint/convert.h"

#include <gtest/gtest.h>

#include <atomic>

#include "base/half.h"
#include "checkpoint/affine.h"
#include "checkpoint/checkpoint_builder.h"
#include "checkpoint/info.h"
#include "checkpoint/synth.h"
#include "checkpoint/weights.h"

namespace qwen35 {
namespace {

using nlohmann::json;

const std::filesystem::path& tiny() {
  static const std::filesystem::path path = test_data() / "reference/tiny";
  return path;
}

std::vector<float> row(const WeightMatrix& matrix, std::size_t index) {
  std::vector<float> values(matrix.cols);
  matrix.row(index, values.data());
  return values;
}

class Convert : public testing::Test {
 protected:
  std::filesystem::path converted(const std::filesystem::path& source, Quantization quantization, int threads = 2) {
    ConvertOptions options;
    options.source = source;
    options.destination = temporary.path() / ("out" + std::to_string(count_++));
    options.quantization = quantization;
    options.threads = threads;
    EXPECT_TRUE(convert(options));
    return options.destination;
  }

  /// Nothing but what is named may lie in the temporary folder.
  void expect_only(const std::vector<std::string>& names) const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(temporary.path())) {
      found.push_back(entry.path().filename().string());
    }
    EXPECT_THAT(found, testing::UnorderedElementsAreArray(names));
  }

  TemporaryFolder temporary;

 private:
  int count_ = 0;
};

TEST_F(Convert, QuantisesEveryMatrixAndKeepsTheRest) {
  const ModelWeights before = load_weights(tiny());
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    SCOPED_TRACE(bits);
    const ModelWeights after = load_weights(converted(tiny(), {bits, 32}));
    EXPECT_EQ(after.parameters, before.parameters);
    const auto old_matrices = before.matrices();
    const auto new_matrices = after.matrices();
    ASSERT_EQ(old_matrices.size(), new_matrices.size());
    for (std::size_t m = 0; m < old_matrices.size(); ++m) {
      const WeightMatrix& matrix = *new_matrices[m];
      SCOPED_TRACE(matrix.name);
      ASSERT_TRUE(matrix.quantized());
      const auto& affine = std::get<AffineMatrix>(matrix.storage);
      EXPECT_EQ(affine.bits, bits);
      EXPECT_EQ(affine.group_size, 32);
      EXPECT_EQ(matrix.bytes(), matrix.rows * (matrix.cols * static_cast<std::size_t>(bits) / 8 + matrix.cols / 8));
      for (const std::size_t r : {std::size_t{0}, matrix.rows - 1}) {
        const std::vector<float> original = row(*old_matrices[m], r);
        std::vector<float> expected(matrix.cols);
        std::vector<std::uint32_t> packed(static_cast<std::size_t>(bits));
        for (std::size_t g = 0; g < matrix.cols; g += 32) {
          const AffineGroup group = quantize_group(original.data() + g, 32, bits, packed.data());
          dequantize_group(packed.data(), bits, 32, bf16_to_float(float_to_bf16(group.scale)),
                           bf16_to_float(float_to_bf16(group.bias)), expected.data() + g);
        }
        EXPECT_EQ(row(matrix, r), expected);
      }
    }
    EXPECT_EQ(after.final_norm, before.final_norm);
    for (std::size_t i = 0; i < before.layers.size(); ++i) {
      EXPECT_EQ(after.layers[i].input_norm, before.layers[i].input_norm);
      EXPECT_EQ(after.layers[i].post_attention_norm, before.layers[i].post_attention_norm);
      if (const auto* linear = std::get_if<LinearAttentionWeights>(&before.layers[i].mixer)) {
        const auto& other = std::get<LinearAttentionWeights>(after.layers[i].mixer);
        EXPECT_EQ(other.conv, linear->conv);
        EXPECT_EQ(other.a_log, linear->a_log);
        EXPECT_EQ(other.dt_bias, linear->dt_bias);
        EXPECT_EQ(other.norm, linear->norm);
      } else {
        const auto& full = std::get<FullAttentionWeights>(before.layers[i].mixer);
        const auto& other = std::get<FullAttentionWeights>(after.layers[i].mixer);
        EXPECT_EQ(other.q_norm, full.q_norm);
        EXPECT_EQ(other.k_norm, full.k_norm);
      }
    }
  }
}

TEST_F(Convert, WritesTheMlxLayout) {
  const auto folder = converted(tiny(), {5, 64});
  const LooseTensors tensors = read_tensors(folder / "model.safetensors");
  EXPECT_EQ(tensors.at("model.layers.0.linear_attn.conv1d.weight").shape, (std::vector<std::size_t>{192, 4, 1}));
  EXPECT_EQ(tensors.at("model.embed_tokens.weight").shape, (std::vector<std::size_t>{512, 64 * 5 / 32}));
  EXPECT_EQ(tensors.at("model.embed_tokens.weight").dtype, "U32");
  EXPECT_EQ(tensors.at("model.layers.0.linear_attn.in_proj_a.scales").shape, (std::vector<std::size_t>{2, 1}));
  EXPECT_EQ(tensors.at("model.layers.0.linear_attn.in_proj_a.biases").dtype, "BF16");
  EXPECT_EQ(tensors.at("model.norm.weight").dtype, "F32");
  const json config = json::parse(file_bytes(folder / "config.json"));
  EXPECT_EQ(config["quantization"], json({{"group_size", 64}, {"bits", 5}}));
  EXPECT_EQ(config["quantization_config"], config["quantization"]);
  EXPECT_EQ(config["hidden_size"], 64);
}

TEST_F(Convert, LeavesMatricesThatTheGroupDoesNotDivide) {
  const ModelWeights weights = load_weights(converted(tiny(), {8, 128}));
  EXPECT_FALSE(weights.embedding.quantized());                                              // 64 columns
  EXPECT_TRUE(std::get<FullAttentionWeights>(weights.layers[3].mixer).o_proj.quantized());  // 128
  EXPECT_EQ(row(weights.embedding, 3), row(load_weights(tiny()).embedding, 3));
}

TEST_F(Convert, Bf16IsLosslessAndCanBeConvertedAgain) {
  const auto bf16 = converted(tiny(), {});
  const ModelWeights before = load_weights(tiny());
  const ModelWeights after = load_weights(bf16);
  for (std::size_t m = 0; m < before.matrices().size(); ++m) {
    EXPECT_EQ(row(*after.matrices()[m], 1), row(*before.matrices()[m], 1));
  }
  EXPECT_EQ(after.final_norm, before.final_norm);
  EXPECT_FALSE(json::parse(file_bytes(bf16 / "config.json")).contains("quantization"));
  EXPECT_TRUE(file_bytes(converted(bf16, {4, 64}) / "model.safetensors") ==
              file_bytes(converted(tiny(), {4, 64}) / "model.safetensors"));
}

TEST_F(Convert, ThreadsDoNotChangeTheFile) {
  EXPECT_TRUE(file_bytes(converted(tiny(), {6, 64}, 1) / "model.safetensors") ==
              file_bytes(converted(tiny(), {6, 64}, 7) / "model.safetensors"));
}

TEST_F(Convert, SynthWithBitsIsSynthThenConvert) {
  SynthOptions options;
  options.config = test_data() / "checkpoint/tiny-gva.json";
  options.seed = 3;
  options.destination = temporary.path() / "plain";
  ASSERT_TRUE(synthesize(options));
  options.destination = temporary.path() / "quantised";
  options.quantization = {4, 64};
  ASSERT_TRUE(synthesize(options));
  const auto folder = converted(temporary.path() / "plain", {4, 64});
  for (const char* file : {"model.safetensors", "config.json"}) {
    EXPECT_TRUE(file_bytes(options.destination / file) == file_bytes(folder / file)) << file;
  }
}

TEST_F(Convert, CarriesTheModelsOtherFiles) {
  const auto source = temporary.path() / "source";
  std::filesystem::copy(tiny(), source);
  write_bytes(source / "tokenizer.json", "{\"t\":1}");
  write_bytes(source / "generation_config.json", "{\"g\":2}");
  write_bytes(source / "chat_template.jinja", "template");
  write_bytes(source / "optimizer.pt", "not for us");
  const auto folder = converted(source, {4, 64});
  EXPECT_EQ(file_bytes(folder / "tokenizer.json"), "{\"t\":1}");
  EXPECT_EQ(file_bytes(folder / "generation_config.json"), "{\"g\":2}");
  EXPECT_EQ(file_bytes(folder / "chat_template.jinja"), "template");
  EXPECT_FALSE(std::filesystem::exists(folder / "optimizer.pt"));
}

TEST_F(Convert, RefusesToOverwriteAndToQuantiseTwice) {
  ConvertOptions options;
  options.source = tiny();
  options.destination = converted(tiny(), {4, 64});
  expect_error([&] { convert(options); }, ErrorCode::invalid_argument, {"out0", "exists already"});
  std::filesystem::create_directory(temporary.path() / "empty");
  options.destination = temporary.path() / "empty/";
  expect_error([&] { convert(options); }, ErrorCode::invalid_argument, {"empty", "exists already"});
  options.destination = temporary.path() / "no/such/parent";
  expect_error([&] { convert(options); }, ErrorCode::invalid_argument, {"no/such/parent"});
  options.destination = "";
  expect_error([&] { convert(options); }, ErrorCode::invalid_argument, {"no name"});
  options.source = temporary.path() / "out0";
  options.destination = temporary.path() / "twice";
  expect_error([&] { convert(options); }, ErrorCode::unsupported, {"out0", "quantised already"});
  options.source = tiny();
  options.quantization = {7, 64};
  expect_error([&] { convert(options); }, ErrorCode::invalid_argument, {"7 bits"});
  expect_only({"out0", "empty"});
}

TEST_F(Convert, LeavesNothingWhenStopped) {
  ConvertOptions options;
  options.source = tiny();
  options.destination = temporary.path() / "stopped";
  std::size_t calls = 0;
  options.progress = [&](std::size_t done, std::size_t total) {
    EXPECT_GT(done, 0U);
    EXPECT_LE(done, total);
    return ++calls < 3;
  };
  EXPECT_FALSE(convert(options));
  EXPECT_EQ(calls, 3U);
  expect_only({});
}

TEST_F(Convert, ReportsProgressToTheEnd) {
  ConvertOptions options;
  options.source = tiny();
  options.destination = temporary.path() / "out";
  std::size_t last = 0;
  std::size_t all = 0;
  options.progress = [&](std::size_t done, std::size_t total) {
    EXPECT_GT(done, last);
    last = done;
    all = total;
    return true;
  };
  EXPECT_TRUE(convert(options));
  EXPECT_EQ(last, all);
  EXPECT_EQ(all, load_weights(tiny()).parameters);
}

TEST_F(Convert, LeavesNothingWhenTheSourceIsDamaged) {
  const auto source = temporary.path() / "source";
  const std::string config = file_bytes(tiny() / "config.json");
  for (const char* bits : {"\xC0\x7F", "\x80\xFF"}) {
    LooseTensors tensors = read_tensors(tiny() / "model.safetensors");
    tensors["model.layers.2.mlp.up_proj.weight"].bytes.replace(1000, 2, bits, 2);
    write_checkpoint(source, config, tensors);
    ConvertOptions options;
    options.source = source;
    options.destination = temporary.path() / "out";
    expect_error([&] { convert(options); }, ErrorCode::bad_file, {"model.layers.2.mlp.up_proj.weight", "NaN"});
    expect_only({"source"});
  }
}

// The largest bf16 and its negative: their distance overflows float32, and so would the scale.
TEST_F(Convert, RefusesValuesTooLargeToQuantise) {
  const auto source = temporary.path() / "source";
  LooseTensors tensors = read_tensors(tiny() / "model.safetensors");
  tensors["model.layers.2.mlp.up_proj.weight"].bytes.replace(0, 4, "\x7F\x7F\x7F\xFF", 4);
  write_checkpoint(source, file_bytes(tiny() / "config.json"), tensors);
  ConvertOptions options;
  options.source = source;
  options.destination = temporary.path() / "out";
  expect_error([&] { convert(options); }, ErrorCode::bad_file, {"model.layers.2.mlp.up_proj.weight", "too large"});
  expect_only({"source"});
}

TEST_F(Convert, InfoCountsBytes) {
  const CheckpointInfo info = describe(load_weights(converted(tiny(), {4, 64})));
  EXPECT_EQ(info.parameters, 278252U);
  ASSERT_EQ(info.shares.size(), 1U);
  EXPECT_EQ(info.shares[0].name, "4 bits, groups of 64");
  EXPECT_EQ(info.shares[0].matrices, 32U);
  EXPECT_DOUBLE_EQ(info.bits_per_weight, 4.5);
  EXPECT_EQ(info.matrix_bytes, info.shares[0].weights * 9 / 16);
  EXPECT_EQ(info.bytes_per_token, info.matrix_bytes);             // the tied embedding is the head
  EXPECT_EQ(info.state_bytes, 3 * 4 * (2 * 32 * 32 + 192 * 3U));  // three linear layers of float32
  EXPECT_EQ(info.kv_bytes_per_token, 2 * 2 * 32 * 2U);            // one full layer of f16
}

TEST_F(Convert, InfoReadsOneRowOfAnUntiedEmbedding) {
  SynthOptions options;
  options.config = test_data() / "checkpoint/tiny-gva.json";
  options.destination = temporary.path() / "gva";
  ASSERT_TRUE(synthesize(options));
  const CheckpointInfo info = describe(load_weights(options.destination));
  EXPECT_EQ(info.shares.at(0).name, "bf16");
  EXPECT_EQ(info.bytes_per_token, info.matrix_bytes - 383 * 128 * 2);
}

}  // namespace
}  // namespace qwen35
