#include <gtest/gtest.h>

#include "checkpoint/checkpoint_builder.h"
#include "checkpoint/convert.h"
#include "checkpoint/weights.h"

namespace qwen35 {
namespace {

using nlohmann::json;

const std::string up_proj = "model.layers.0.mlp.up_proj.";

/// A checkpoint that each test damages in one way. `tiny` is the Hugging Face form, `tiny_mlx` 4 bits in groups of 32.
class HostileWeights : public testing::Test {
 protected:
  void SetUp() override {
    const auto source = test_data() / "reference/tiny";
    tiny_config = json::parse(file_bytes(source / "config.json"));
    tiny = read_tensors(source / "model.safetensors");
    ConvertOptions options;
    options.source = source;
    options.destination = temporary.path() / "mlx";
    options.quantization = {4, 32};
    ASSERT_TRUE(convert(options));
    mlx_config = json::parse(file_bytes(options.destination / "config.json"));
    tiny_mlx = read_tensors(options.destination / "model.safetensors");
  }

  void expect_refused(const json& config, const LooseTensors& tensors, const std::vector<std::string>& parts) {
    const auto folder = temporary.path() / "damaged";
    write_checkpoint(folder, config.dump(), tensors);
    SCOPED_TRACE(testing::PrintToString(parts));
    expect_error([&] { load_weights(folder); }, ErrorCode::bad_file, parts);
  }

  TemporaryFolder temporary;
  json tiny_config;
  json mlx_config;
  LooseTensors tiny;
  LooseTensors tiny_mlx;
};

TEST_F(HostileWeights, TheUndamagedOnesLoad) {
  for (const auto& [config, tensors] : {std::pair(tiny_config, tiny), std::pair(mlx_config, tiny_mlx)}) {
    write_checkpoint(temporary.path() / "sound", config.dump(), tensors);
    EXPECT_NO_THROW(load_weights(temporary.path() / "sound"));
  }
}

TEST_F(HostileWeights, EveryMissingTensorIsNamed) {
  for (const auto& [form_config, form] : {std::pair(tiny_config, tiny), std::pair(mlx_config, tiny_mlx)}) {
    for (const auto& [name, tensor] : form) {
      if (name.find("layers.1.") != std::string::npos || name.find("layers.2.") != std::string::npos) continue;
      LooseTensors without = form;
      without.erase(name);
      // Without its scales and biases a packed weight is a tensor of a wrong dtype; one of them alone is missed by
      // name.
      expect_refused(form_config, without, {"damaged", name, "is missing"});
    }
  }
}

TEST_F(HostileWeights, EveryWrongShapeIsNamed) {
  for (const auto& [form_config, form] : {std::pair(tiny_config, tiny), std::pair(mlx_config, tiny_mlx)}) {
    for (const auto& [name, tensor] : form) {
      LooseTensors reshaped = form;
      auto& shape = reshaped[name].shape;
      shape = shape.size() == 1 ? std::vector<std::size_t>{1, shape[0]} : std::vector<std::size_t>{shape[1], shape[0]};
      if (tensor.shape.size() == 3) shape = {tensor.shape[0] * tensor.shape[1] * tensor.shape[2]};
      if (shape == tensor.shape) continue;  // square
      const std::string module = name.substr(0, name.rfind('.'));
      expect_refused(form_config, reshaped, {"damaged", module, shape_text(shape)});
    }
  }
}

TEST_F(HostileWeights, ExtraTensorsAreNamed) {
  for (const char* name : {"model.layers.4.input_layernorm.weight", "model.layers.0.mlp.up_proj.bias",
                           "model.layers.0.self_attn.q_norm.weight", "rotary_emb.inv_freq", ""}) {
    LooseTensors more = tiny;
    more[name] = {"BF16", {2}, std::string(4, '\0')};
    expect_refused(tiny_config, more, {"model.safetensors", "\"" + std::string(name) + "\"", "is extra"});
  }
}

TEST_F(HostileWeights, TheSameWeightsUnderTwoNames) {
  tiny["norm.weight"] = tiny["model.norm.weight"];
  expect_refused(tiny_config, tiny, {"\"norm.weight\"", "\"model.norm.weight\"", "same weights"});
}

TEST_F(HostileWeights, DtypesThatHoldNoWeights) {
  tiny["model.norm.weight"].dtype = "I16";
  expect_refused(tiny_config, tiny, {"model.norm.weight", "I16", "expected BF16"});
  tiny["model.norm.weight"].dtype = "BF16";
  tiny["model.embed_tokens.weight"].dtype = "U16";
  expect_refused(tiny_config, tiny, {"model.embed_tokens.weight", "U16"});
}

TEST_F(HostileWeights, VectorsThatAreNotFinite) {
  for (const char* bits : {"\xC0\x7F", "\x80\x7F", "\x80\xFF"}) {  // NaN, infinity, -infinity in bf16
    for (const char* name : {"model.norm.weight", "model.layers.0.linear_attn.A_log"}) {
      LooseTensors damaged = tiny;
      damaged[name].bytes.replace(2, 2, bits, 2);
      expect_refused(tiny_config, damaged, {name, "infinite value or a NaN"});
    }
  }
}

TEST_F(HostileWeights, ScalesAndBiasesThatAreNotFinite) {
  for (const char* part : {"scales", "biases"}) {
    for (const char* bits : {"\xC1\x7F", "\x80\x7F", "\x80\xFF"}) {
      LooseTensors damaged = tiny_mlx;
      auto& bytes = damaged[up_proj + part].bytes;
      bytes.replace(bytes.size() - 2, 2, bits, 2);
      expect_refused(mlx_config, damaged, {up_proj + part, "infinite value or a NaN"});
    }
    LooseTensors damaged = tiny_mlx;  // the same in f16
    for (const char* both : {"scales", "biases"}) damaged[up_proj + both].dtype = "F16";
    damaged[up_proj + part].bytes.replace(0, 2, "\x00\x7C", 2);
    expect_refused(mlx_config, damaged, {up_proj + part, "infinite value or a NaN"});
  }
}

TEST_F(HostileWeights, ScalesAndBiasesOfOtherTypes) {
  LooseTensors damaged = tiny_mlx;
  damaged[up_proj + "scales"].dtype = "U16";
  expect_refused(mlx_config, damaged, {up_proj + "scales", "U16"});
  damaged = tiny_mlx;
  damaged[up_proj + "biases"].dtype = "F16";
  expect_refused(mlx_config, damaged, {up_proj + "biases", "another dtype"});
  damaged = tiny_mlx;
  damaged[up_proj + "weight"].dtype = "I32";
  expect_refused(mlx_config, damaged, {up_proj + "weight", "U32"});
}

TEST_F(HostileWeights, PackedWeightsWithoutScales) {
  tiny_mlx.erase(up_proj + "scales");
  tiny_mlx.erase(up_proj + "biases");
  expect_refused(mlx_config, tiny_mlx, {up_proj + "weight", "U32"});
}

TEST_F(HostileWeights, BitsOtherThanConfiguredNameBothShapes) {
  mlx_config["quantization"] = {{"bits", 8}, {"group_size", 32}};
  expect_refused(
      mlx_config, tiny_mlx,
      {"model.embed_tokens.weight", "[512, 8]", "[512, 2]", "4 bits in groups of 32", "8 bits", "[512, 16]"});
  mlx_config["quantization"] = {{"bits", 4}, {"group_size", 64}};
  expect_refused(mlx_config, tiny_mlx, {"model.embed_tokens.weight", "[512, 2]", "[512, 1]", "groups of 64"});
  mlx_config["quantization"] = {{"bits", 4}, {"group_size", 32}, {"model.layers.0.mlp.up_proj", {{"bits", 2}}}};
  expect_refused(mlx_config, tiny_mlx, {up_proj + "weight", "[192, 8]", "2 bits", "[192, 4]"});
  mlx_config["quantization"] = {{"bits", 4}, {"group_size", 32}, {"model.layers.0.mlp.up_proj", false}};
  expect_refused(mlx_config, tiny_mlx, {up_proj + "weight", "not quantised"});
  mlx_config.erase("quantization");
  mlx_config.erase("quantization_config");
  expect_refused(mlx_config, tiny_mlx, {"[512, 2]", "states nothing, which means 4 bits in groups of 64"});
  mlx_config["quantization"] = {{"bits", 4}, {"group_size", 128}};  // does not divide the 64 columns
  expect_refused(mlx_config, tiny_mlx, {"model.embed_tokens.weight", "groups of 128"});
}

TEST_F(HostileWeights, ConfigOfAnotherModel) {
  tiny_config["hidden_size"] = 128;
  expect_refused(tiny_config, tiny, {"model.embed_tokens.weight", "[512, 64]", "[512, 128]"});
  tiny_config["hidden_size"] = 64;
  tiny_config["tie_word_embeddings"] = false;
  expect_refused(tiny_config, tiny, {"lm_head.weight is missing"});
  tiny_config["tie_word_embeddings"] = true;
  tiny_config["num_hidden_layers"] = 3;
  tiny_config["layer_types"].erase(3);
  expect_refused(tiny_config, tiny, {"model.layers.3.", "is extra"});
}

TEST_F(HostileWeights, FoldersWithoutACheckpoint) {
  const auto folder = temporary.path() / "none";
  expect_error([&] { load_weights(folder); }, ErrorCode::not_found, {"none"});
  std::filesystem::create_directory(folder);
  expect_error([&] { load_weights(folder); }, ErrorCode::not_found, {"config.json"});
  write_bytes(folder / "config.json", tiny_config.dump());
  expect_error([&] { load_weights(folder); }, ErrorCode::not_found, {"none", "model.safetensors"});
  write_bytes(folder / "a.safetensors", safetensors_file(tiny));
  EXPECT_NO_THROW(load_weights(folder));
  write_bytes(folder / "b.safetensors", safetensors_file(tiny));
  expect_error([&] { load_weights(folder); }, ErrorCode::bad_file, {"index.json"});
  std::filesystem::create_directory(folder / "model.safetensors");
  expect_error([&] { load_weights(folder); }, ErrorCode::bad_file, {"not a regular file"});
}

TEST_F(HostileWeights, IndexThatLeadsOutOfTheFolder) {
  const auto folder = temporary.path() / "sharded";
  std::filesystem::create_directory(folder);
  write_bytes(folder / "config.json", tiny_config.dump());
  write_bytes(temporary.path() / "outside.safetensors", safetensors_file(tiny));
  write_bytes(folder / "shard.safetensors", safetensors_file(tiny));
  const auto expect = [&](const json& map, const std::vector<std::string>& parts) {
    SCOPED_TRACE(map.dump().substr(0, 100));
    write_bytes(folder / "model.safetensors.index.json", json{{"weight_map", map}}.dump());
    expect_error([&] { load_weights(folder); }, ErrorCode::bad_file, parts);
  };
  for (const std::string& file :
       {std::string("../outside.safetensors"), (temporary.path() / "outside.safetensors").string(),
        std::string("..\\outside.safetensors"), std::string("a/../../outside.safetensors"), std::string(".safetensors"),
        std::string("config.json"), std::string(""), std::string("shard.safetensors\0/../x.safetensors", 34)}) {
    expect({{"model.norm.weight", file}}, {"index.json", "model.norm.weight", "same folder"});
  }
  expect({{"model.norm.weight", 3}}, {"index.json", "model.norm.weight"});
  expect(json::object(), {"index.json", "empty"});
  expect("text", {"index.json", "no weight_map"});
  expect({{"model.norm.weight", "shard.safetensors"}}, {"shard.safetensors", "is not mapped to this file"});
  json map;
  for (const auto& [name, tensor] : tiny) map[name] = "shard.safetensors";
  map["model.absent"] = "shard.safetensors";
  expect(map, {"shard.safetensors", "\"model.absent\"", "is missing"});

  write_bytes(folder / "model.safetensors.index.json", "{\"weight_map\":" + std::string(100'000, '['));
  expect_error([&] { load_weights(folder); }, ErrorCode::bad_file, {"index.json"});
  write_bytes(folder / "model.safetensors.index.json", R"({"weight_map":{"model.norm.weight":"gone.safetensors"}})");
  expect_error([&] { load_weights(folder); }, ErrorCode::not_found, {"gone.safetensors"});
}

}  // namespace
}  // namespace qwen35
