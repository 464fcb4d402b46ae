#include "checkpoint/config.h"

#include <gtest/gtest.h>

#include "checkpoint/checkpoint_builder.h"
#include "checkpoint/checkpoint_config.h"

namespace qwen35 {
namespace {

using nlohmann::json;

json tiny() { return json::parse(file_bytes(test_data() / "reference/tiny/config.json")); }

ModelConfig parse(const json& config) { return parse_config(config.dump(), "config.json"); }

void expect_refused(const json& config, const std::vector<std::string>& parts, ErrorCode code = ErrorCode::bad_file) {
  std::vector<std::string> all = parts;
  all.emplace_back("config.json");
  SCOPED_TRACE(testing::PrintToString(parts));
  expect_error([&] { parse(config); }, code, all);
}

TEST(Config, ReadsTheTextForm) {
  const ModelConfig c = parse(tiny());
  EXPECT_EQ(c.vocab_size, 512U);
  EXPECT_EQ(c.hidden_size, 64U);
  EXPECT_EQ(c.intermediate_size, 192U);
  ASSERT_EQ(c.num_layers(), 4U);
  EXPECT_EQ(c.layers[2], LayerKind::linear_attention);
  EXPECT_EQ(c.layers[3], LayerKind::full_attention);
  EXPECT_EQ(c.num_heads, 4U);
  EXPECT_EQ(c.num_kv_heads, 2U);
  EXPECT_EQ(c.head_dim, 32U);
  EXPECT_EQ(c.rotary_dim, 8U);
  EXPECT_EQ(c.conv_channels(), 192U);
  EXPECT_EQ(c.conv_kernel, 4U);
  EXPECT_EQ(c.rope_theta, 1e7);
  EXPECT_EQ(c.rms_norm_eps, 1e-6F);
  EXPECT_TRUE(c.tie_word_embeddings);
  EXPECT_EQ(c.max_positions, 262144U);
  EXPECT_EQ(c.quantization.bits, 0);
}

TEST(Config, ReadsTheMultimodalForm) {
  json text = tiny();
  text.erase("tie_word_embeddings");
  const json nested = {{"model_type", "qwen3_5"},
                       {"text_config", text},
                       {"tie_word_embeddings", false},
                       {"vision_config", {{"hidden_size", 768}}}};
  const ModelConfig c = parse(nested);
  EXPECT_EQ(c.hidden_size, 64U);
  EXPECT_FALSE(c.tie_word_embeddings);
}

TEST(Config, ReadsTheFlatMlxForm) {
  json c = tiny();
  for (const char* key : {"rope_parameters", "layer_types", "max_position_embeddings", "model_type"}) c.erase(key);
  c["rope_theta"] = 5000000;
  c["partial_rotary_factor"] = 0.5;
  c["max_seq_len"] = 2048;
  c["full_attention_interval"] = 2;
  const ModelConfig config = parse(c);
  EXPECT_EQ(config.rope_theta, 5e6);
  EXPECT_EQ(config.rotary_dim, 16U);
  EXPECT_EQ(config.max_positions, 2048U);
  EXPECT_EQ(config.layers, (std::vector{LayerKind::linear_attention, LayerKind::full_attention,
                                        LayerKind::linear_attention, LayerKind::full_attention}));
}

TEST(Config, QuantizationNumbersWinThenTheObjectThenTheLabel) {
  json c = tiny();
  const auto expect = [&](int bits, int group) {
    const Quantization q = parse(c).quantization;
    EXPECT_EQ(q.bits, bits) << c["quantization"];
    EXPECT_EQ(q.group_size, group) << c["quantization"];
  };
  c["quantization"] = "int8";
  expect(8, 64);
  c["quantization_bits"] = 5;
  expect(5, 64);
  c["quantization_group_size"] = 128;
  expect(5, 128);
  c["quantization"] = {{"bits", 6}, {"group_size", 32}};
  expect(5, 128);
  c.erase("quantization_bits");
  expect(6, 128);
  c.erase("quantization_group_size");
  expect(6, 32);
  c["quantization"] = {{"bits", 3}};
  expect(3, 64);
  c["quantization_config"] = c["quantization"];
  c.erase("quantization");
  expect(3, 64);
}

TEST(Config, NothingStatedMeansFourBitsForMlxMatrices) {
  const auto config = parse_checkpoint_config(tiny().dump(), "config.json");
  EXPECT_EQ(config.model.quantization.bits, 0);
  EXPECT_EQ(config.quantization_of("layers.0.mlp.up_proj")->bits, 4);
  EXPECT_EQ(config.quantization_of("layers.0.mlp.up_proj")->group_size, 64);
}

TEST(Config, OverridesOfSingleLayers) {
  json c = tiny();
  c["quantization"] = {{"bits", 4},
                       {"group_size", 32},
                       {"language_model.model.layers.0.mlp.up_proj", {{"bits", 8}}},
                       {"model.embed_tokens", false},
                       {"lm_head", true}};
  const auto config = parse_checkpoint_config(c.dump(), "config.json");
  EXPECT_EQ(config.quantization_of("layers.0.mlp.up_proj")->bits, 8);
  EXPECT_EQ(config.quantization_of("layers.0.mlp.up_proj")->group_size, 32);
  EXPECT_FALSE(config.quantization_of("embed_tokens"));
  EXPECT_EQ(config.quantization_of("lm_head")->bits, 4);
}

TEST(Config, RefusesMissingZeroNegativeAndAbsurdSizes) {
  for (const char* key :
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "head_dim", "linear_num_key_heads", "linear_num_value_heads", "linear_key_head_dim",
        "linear_value_head_dim", "linear_conv_kernel_dim", "max_position_embeddings"}) {
    for (const json& value : {json(0), json(-1), json(std::int64_t{1} << 40), json(1e300), json(2.5), json("8"),
                              json(true), json::array({1}), json(std::uint64_t{1} << 63)}) {
      json c = tiny();
      c[key] = value;
      expect_refused(c, {key, "whole number"});
    }
    json c = tiny();
    c.erase(key);
    if (std::string(key) == "linear_conv_kernel_dim" || std::string(key) == "max_position_embeddings") {
      EXPECT_NO_THROW(parse(c)) << key;
    } else {
      expect_refused(c, {key, "missing"});
    }
  }
}

TEST(Config, RefusesSizesThatDoNotFitTogether) {
  json c = tiny();
  c["num_key_value_heads"] = 3;
  expect_refused(c, {"num_attention_heads 4", "num_key_value_heads 3"});
  c = tiny();
  c["linear_num_value_heads"] = 3;
  expect_refused(c, {"linear_num_value_heads 3", "linear_num_key_heads 2"});
  c = tiny();
  c["linear_num_value_heads"] = 1024;
  c["linear_key_head_dim"] = 4096;
  c["linear_value_head_dim"] = 4096;
  expect_refused(c, {"linear_key_head_dim"});
}

TEST(Config, RefusesLayerTypes) {
  json c = tiny();
  c["layer_types"] = {"linear_attention"};
  expect_refused(c, {"layer_types", "1 entries", "num_hidden_layers 4"});
  c["layer_types"] = {"linear_attention", "full_attention", "sliding_attention", "full_attention"};
  expect_refused(c, {"layer_types", "sliding_attention"});
  c["layer_types"] = {1, 2, 3, 4};
  expect_refused(c, {"layer_types"});
  c["layer_types"] = "linear_attention";
  expect_refused(c, {"layer_types", "array"});
}

TEST(Config, RefusesRotary) {
  json c = tiny();
  c["rope_parameters"]["rope_theta"] = -1;
  expect_refused(c, {"rope_theta"});
  c["rope_parameters"].erase("rope_theta");
  expect_refused(c, {"rope_theta is missing"});
  c = tiny();
  c["rope_parameters"]["rope_type"] = "yarn";
  expect_refused(c, {"yarn"}, ErrorCode::unsupported);
  for (const double factor : {0.0, -0.25, 1.5, 0.01, 0.1}) {  // 0.1 of 32 is 3: odd
    c = tiny();
    c["rope_parameters"]["partial_rotary_factor"] = factor;
    expect_refused(c, {"partial_rotary_factor"});
  }
  c = tiny();
  c["rope_parameters"] = 3;
  expect_refused(c, {"rope_parameters must be an object"});
  c = tiny();
  c["rms_norm_eps"] = -1e-6;
  expect_refused(c, {"rms_norm_eps"});
}

TEST(Config, RefusesOtherArchitectures) {
  for (const char* type : {"qwen3", "qwen3_5_moe", "llama"}) {
    json c = tiny();
    c["model_type"] = type;
    expect_refused(c, {type}, ErrorCode::unsupported);
  }
  json c = tiny();
  c["num_experts"] = 8;
  expect_refused(c, {"experts"}, ErrorCode::unsupported);
  c = tiny();
  c["hidden_act"] = "gelu";
  expect_refused(c, {"hidden_act"}, ErrorCode::unsupported);
}

TEST(Config, RefusesQuantization) {
  for (const json& value : {json("int7"), json("fp8"), json("int"), json("int44444444444"), json{{"bits", 7}},
                            json{{"bits", 4}, {"group_size", 48}}, json{{"bits", 4}, {"mode", "mxfp4"}},
                            json{{"quant_method", "gptq"}, {"bits", 4}}}) {
    json c = tiny();
    c["quantization"] = value;
    expect_refused(c, {}, ErrorCode::unsupported);
  }
  json c = tiny();
  c["quantization"] = {{"bits", 4}, {"model.layers.0.mlp.up_proj", {{"bits", 9}}}};
  expect_refused(c, {"model.layers.0.mlp.up_proj", "9 bits"}, ErrorCode::unsupported);
  c["quantization"] = {{"bits", -4}};
  expect_refused(c, {"bits"});
}

TEST(Config, RefusesTextThatIsNotAnObject) {
  for (const std::string& text : {std::string(), std::string("{"), std::string("[]"), std::string("null"),
                                  std::string("{\"a\":") + std::string(100'000, '['),
                                  "{\"text_config\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}",
                                  std::string("{\"a\":\"\xC0\"}"), std::string("{\"text_config\":[]}")}) {
    SCOPED_TRACE(text.substr(0, 20));
    expect_error([&] { parse_config(text, "config.json"); }, ErrorCode::bad_file, {"config.json"});
  }
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "{\"text_config\":";
  expect_error([&] { parse_config(deep, "config.json"); }, ErrorCode::bad_file, {"config.json"});
}

TEST(Config, MissingFileIsNotFound) {
  const TemporaryFolder temporary;
  expect_error([&] { read_config(temporary.path()); }, ErrorCode::not_found, {"config.json"});
}

}  // namespace
}  // namespace qwen35
