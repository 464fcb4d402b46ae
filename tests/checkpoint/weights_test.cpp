#include "checkpoint/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

#include "base/half.h"
#include "checkpoint/checkpoint_builder.h"
#include "checkpoint/convert.h"

namespace qwen35 {
namespace {

using testing::ElementsAre;

const std::filesystem::path tiny = test_data() / "reference/tiny";

TEST(Weights, LoadsHuggingFaceTiny) {
  const ModelWeights weights = load_weights(tiny);
  ASSERT_EQ(weights.layers.size(), 4U);
  EXPECT_EQ(weights.embedding.rows, 512U);
  EXPECT_EQ(weights.embedding.cols, 64U);
  EXPECT_FALSE(weights.embedding.quantized());
  EXPECT_FALSE(weights.lm_head);
  EXPECT_EQ(&weights.head(), &weights.embedding);
  // Every weight of the file is a bf16 of the text model.
  EXPECT_EQ(weights.parameters, 556504U / 2);
  EXPECT_EQ(weights.matrices().size(), 1 + 3 * 8 + 7U);
  EXPECT_EQ(weights.matrices()[1]->name, "model.layers.0.linear_attn.in_proj_qkv");
  const auto& linear = std::get<LinearAttentionWeights>(weights.layers[0].mixer);
  EXPECT_EQ(linear.conv.size(), 192 * 4U);
  EXPECT_EQ(linear.in_proj_qkv.rows, 192U);
  for (const float w : linear.norm) EXPECT_NEAR(w, 1.0F, 0.25F);
  for (const float w : weights.final_norm) EXPECT_NEAR(w, 1.0F, 0.25F);
  const auto& full = std::get<FullAttentionWeights>(weights.layers[3].mixer);
  EXPECT_EQ(full.q_proj.rows, 256U);
  EXPECT_EQ(full.o_proj.cols, 128U);
}

TEST(Weights, ReadsRowsOfBf16) {
  const ModelWeights weights = load_weights(tiny);
  // From the bytes of model.safetensors: rows 0 and 511 of model.embed_tokens.weight.
  std::vector<float> row(64);
  weights.embedding.row(0, row.data());
  EXPECT_THAT(std::vector<float>(row.begin(), row.begin() + 4),
              ElementsAre(0.1826171875F, -0.1826171875F, -0.0439453125F, -0.000457763671875F));
  weights.embedding.row(511, row.data());
  EXPECT_THAT(std::vector<float>(row.end() - 4, row.end()),
              ElementsAre(-0.15625F, 0.099609375F, 0.080078125F, -0.08837890625F));
}

TEST(Weights, ReleasedPagesAreReadAgain) {
  const ModelWeights weights = load_weights(tiny);
  std::vector<float> before(64);
  std::vector<float> after(64);
  weights.embedding.row(511, before.data());
  release_pages(weights);
  weights.embedding.row(511, after.data());
  EXPECT_EQ(before, after);
}

/// Variants of the tiny checkpoint that must all mean the same weights.
class WeightForms : public testing::Test {
 protected:
  void SetUp() override {
    config = file_bytes(tiny / "config.json");
    tensors = read_tensors(tiny / "model.safetensors");
  }

  ModelWeights load(const LooseTensors& loose, std::size_t padding = 0) {
    write_checkpoint(temporary.path() / "form", config, loose, padding);
    return load_weights(temporary.path() / "form");
  }

  TemporaryFolder temporary;
  std::string config;
  LooseTensors tensors;
};

void expect_same(const ModelWeights& a, const ModelWeights& b) {
  EXPECT_EQ(a.parameters, b.parameters);
  ASSERT_EQ(a.matrices().size(), b.matrices().size());
  for (std::size_t m = 0; m < a.matrices().size(); ++m) {
    const WeightMatrix& x = *a.matrices()[m];
    const WeightMatrix& y = *b.matrices()[m];
    ASSERT_EQ(x.name, y.name);
    ASSERT_EQ(x.rows, y.rows);
    ASSERT_EQ(x.cols, y.cols);
    std::vector<float> row_x(x.cols);
    std::vector<float> row_y(y.cols);
    for (std::size_t r = 0; r < x.rows; ++r) {
      x.row(r, row_x.data());
      y.row(r, row_y.data());
      ASSERT_EQ(row_x, row_y) << x.name << " row " << r;
    }
  }
  EXPECT_EQ(a.final_norm, b.final_norm);
  for (std::size_t i = 0; i < a.layers.size(); ++i) {
    EXPECT_EQ(a.layers[i].input_norm, b.layers[i].input_norm);
    if (const auto* linear = std::get_if<LinearAttentionWeights>(&a.layers[i].mixer)) {
      const auto& other = std::get<LinearAttentionWeights>(b.layers[i].mixer);
      EXPECT_EQ(linear->conv, other.conv);
      EXPECT_EQ(linear->a_log, other.a_log);
      EXPECT_EQ(linear->norm, other.norm);
    }
  }
}

TEST_F(WeightForms, AnyPrefix) {
  const ModelWeights reference = load_weights(tiny);
  for (const char* prefix : {"", "model.language_model.", "language_model.model.", "language_model."}) {
    SCOPED_TRACE(prefix);
    LooseTensors renamed;
    for (const auto& [name, tensor] : tensors) renamed[prefix + name.substr(6)] = tensor;
    expect_same(load(renamed), reference);
  }
}

TEST_F(WeightForms, SkipsVisionAndMultiTokenPrediction) {
  LooseTensors more = tensors;
  for (const char* name : {"model.visual.patch_embed.proj.weight", "visual.blocks.0.norm1.weight", "mtp.norm.weight",
                           "vision_tower.blocks.0.attn.qkv.scales", "model.mtp.fc.weight"}) {
    more[name] = {"I8", {2, 8}, std::string(16, '\x7F')};
  }
  expect_same(load(more), load_weights(tiny));
}

TEST_F(WeightForms, Shards) {
  const auto folder = temporary.path() / "sharded";
  std::filesystem::create_directory(folder);
  LooseTensors shards[2];
  nlohmann::json map;
  std::size_t i = 0;
  for (const auto& [name, tensor] : tensors) {
    const std::size_t shard = i++ % 3 == 0 ? 1 : 0;
    shards[shard][name] = tensor;
    map[name] = "model-0000" + std::to_string(shard + 1) + "-of-00002.safetensors";
  }
  map["mtp.norm.weight"] = "model-00001-of-00002.safetensors";
  shards[0]["mtp.norm.weight"] = {"BF16", {1}, "ab"};
  write_bytes(folder / "config.json", config);
  write_bytes(folder / "model-00001-of-00002.safetensors", safetensors_file(shards[0]));
  write_bytes(folder / "model-00002-of-00002.safetensors", safetensors_file(shards[1]));
  write_bytes(folder / "model.safetensors.index.json", nlohmann::json{{"weight_map", map}}.dump());
  expect_same(load_weights(folder), load_weights(tiny));
}

// MLX does not pad its header: the body may start anywhere.
TEST_F(WeightForms, BodyAtAnyAddress) {
  ConvertOptions options;
  options.source = tiny;
  options.destination = temporary.path() / "mlx";
  options.quantization = {5, 64};
  ASSERT_TRUE(convert(options));
  const ModelWeights aligned = load_weights(options.destination);
  const LooseTensors mlx = read_tensors(options.destination / "model.safetensors");
  config = file_bytes(options.destination / "config.json");
  for (const std::size_t padding : {1U, 2U, 3U}) {
    // By name, the vectors of two float32 come between: every offset stays a multiple of 4, only the body moves.
    const ModelWeights moved = load(mlx, padding);
    expect_same(moved, aligned);
    release_pages(moved);  // must not wipe the aligned copies
    expect_same(moved, aligned);
    for (const WeightMatrix* matrix : moved.matrices()) release_pages(moved, *matrix);
    expect_same(moved, aligned);
  }
}

TEST_F(WeightForms, ScalesInAnyFloatType) {
  ConvertOptions options;
  options.source = tiny;
  options.destination = temporary.path() / "mlx";
  options.quantization = {3, 32};
  ASSERT_TRUE(convert(options));
  config = file_bytes(options.destination / "config.json");
  const LooseTensors bf16 = read_tensors(options.destination / "model.safetensors");
  LooseTensors f16 = bf16;
  LooseTensors f32 = bf16;
  for (const auto& [name, tensor] : bf16) {
    if (!name.ends_with(".scales") && !name.ends_with(".biases")) continue;
    f16[name] = {"F16", tensor.shape, {}};
    f32[name] = {"F32", tensor.shape, {}};
    for (std::size_t i = 0; i < tensor.bytes.size(); i += 2) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, tensor.bytes.data() + i, 2);
      // bf16 has fewer digits than f16, and no scale or bias here is small enough to be subnormal in f16.
      const float value = bf16_to_float(bits);
      const std::uint16_t half = float_to_f16(value);
      f16[name].bytes.append(reinterpret_cast<const char*>(&half), 2);
      f32[name].bytes.append(reinterpret_cast<const char*>(&value), 4);
    }
  }
  const ModelWeights reference = load_weights(options.destination);
  const ModelWeights halves = load(f16);
  EXPECT_EQ(std::get<AffineMatrix>(halves.embedding.storage).scale_type, FloatType::f16);
  expect_same(halves, reference);
  const ModelWeights singles = load(f32);
  EXPECT_EQ(singles.embedding.bytes(), reference.embedding.bytes() + 512 * 2 * 2 * 2);
  expect_same(singles, reference);
}

TEST_F(WeightForms, MixedBitsInOneFile) {
  const auto convert_to = [&](const char* name, Quantization quantization) {
    ConvertOptions options;
    options.source = tiny;
    options.destination = temporary.path() / name;
    options.quantization = quantization;
    EXPECT_TRUE(convert(options));
    return read_tensors(options.destination / "model.safetensors");
  };
  LooseTensors mixed = convert_to("four", {4, 64});
  const LooseTensors eight = convert_to("eight", {8, 32});
  for (const auto& [name, tensor] : eight) {
    if (name.find("embed_tokens") != std::string::npos) mixed[name] = tensor;
  }
  for (const char* part : {"scales", "biases"}) mixed.erase(std::string("model.layers.0.mlp.up_proj.") + part);
  mixed["model.layers.0.mlp.up_proj.weight"] = tensors["model.layers.0.mlp.up_proj.weight"];  // left in bf16
  auto stated = nlohmann::json::parse(config);
  stated["quantization"] = {{"bits", 4}, {"group_size", 64}, {"embed_tokens", {{"bits", 8}, {"group_size", 32}}}};
  config = stated.dump();
  const ModelWeights weights = load(mixed);
  EXPECT_EQ(std::get<AffineMatrix>(weights.embedding.storage).bits, 8);
  EXPECT_EQ(std::get<AffineMatrix>(weights.embedding.storage).group_size, 32);
  EXPECT_EQ(std::get<AffineMatrix>(weights.layers[0].gate_proj.storage).bits, 4);
  EXPECT_FALSE(weights.layers[0].up_proj.quantized());
  EXPECT_EQ(weights.final_norm, load_weights(tiny).final_norm);
}

// Published 4-bit files state nothing, or keep the convolution as Hugging Face stores it; norms are as applied even so.
TEST_F(WeightForms, MlxThatStatesNothing) {
  ConvertOptions options;
  options.source = tiny;
  options.destination = temporary.path() / "mlx";
  ASSERT_TRUE(convert(options));
  LooseTensors mlx = read_tensors(options.destination / "model.safetensors");
  for (auto& [name, tensor] : mlx) {
    if (tensor.shape.size() == 3) tensor.shape = {tensor.shape[0], 1, tensor.shape[1]};
  }
  expect_same(load(mlx), load_weights(options.destination));
}

TEST_F(WeightForms, HalfAndSinglePrecision) {
  LooseTensors f32;
  LooseTensors f16;
  for (const auto& [name, tensor] : tensors) {
    LooseTensor wide{"F32", tensor.shape, {}};
    LooseTensor half{"F16", tensor.shape, {}};
    for (std::size_t i = 0; i < tensor.bytes.size(); i += 2) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, tensor.bytes.data() + i, 2);
      const float value = bf16_to_float(bits);
      const std::uint16_t as_half = float_to_f16(value);
      wide.bytes.append(reinterpret_cast<const char*>(&value), 4);
      half.bytes.append(reinterpret_cast<const char*>(&as_half), 2);
    }
    f32[name] = wide;
    f16[name] = half;
  }
  expect_same(load(f32), load_weights(tiny));
  const ModelWeights halves = load(f16);
  std::vector<float> exact(64);
  std::vector<float> rounded(64);
  load_weights(tiny).embedding.row(7, exact.data());
  halves.embedding.row(7, rounded.data());
  for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(rounded[i], f16_to_float(float_to_f16(exact[i])));
}

TEST_F(WeightForms, AHeadTheConfigurationTiesIsIgnored) {
  tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"];
  const ModelWeights tied = load(tensors);
  EXPECT_FALSE(tied.lm_head);
  EXPECT_EQ(tied.parameters, load_weights(tiny).parameters);

  auto stated = nlohmann::json::parse(config);
  stated["tie_word_embeddings"] = false;
  config = stated.dump();
  EXPECT_TRUE(load(tensors).lm_head);
  stated.erase("tie_word_embeddings");  // unsaid: the head's presence decides
  config = stated.dump();
  const ModelWeights untied = load(tensors);
  ASSERT_TRUE(untied.lm_head);
  EXPECT_EQ(untied.lm_head->name, "lm_head");
  EXPECT_FALSE(untied.config.tie_word_embeddings);
  EXPECT_EQ(&untied.head(), &*untied.lm_head);
  tensors.erase("lm_head.weight");
  EXPECT_TRUE(load(tensors).config.tie_word_embeddings);
}

}  // namespace
}  // namespace qwen35
