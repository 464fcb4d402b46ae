#include "checkpoint/layout.h"

#include <algorithm>
#include <array>
#include <utility>

namespace qwen35 {
namespace {

bool starts_with_any(std::string_view text, std::initializer_list<std::string_view> prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&](std::string_view p) { return text.starts_with(p); });
}

}  // namespace

std::vector<TensorSpec> text_tensors(const ModelConfig& c) {
  std::vector<TensorSpec> specs;
  const auto add = [&](std::string name, TensorRole role, std::vector<std::size_t> shape) {
    specs.push_back({std::move(name), role, std::move(shape)});
  };
  const std::size_t values = c.linear_value_heads * c.linear_value_dim;

  add("embed_tokens.weight", TensorRole::matrix, {c.vocab_size, c.hidden_size});
  add("norm.weight", TensorRole::zero_centred_norm, {c.hidden_size});
  if (!c.tie_word_embeddings) add("lm_head.weight", TensorRole::matrix, {c.vocab_size, c.hidden_size});
  for (std::size_t i = 0; i < c.layers.size(); ++i) {
    const std::string layer = "layers." + std::to_string(i) + ".";
    add(layer + "input_layernorm.weight", TensorRole::zero_centred_norm, {c.hidden_size});
    add(layer + "post_attention_layernorm.weight", TensorRole::zero_centred_norm, {c.hidden_size});
    add(layer + "mlp.gate_proj.weight", TensorRole::matrix, {c.intermediate_size, c.hidden_size});
    add(layer + "mlp.up_proj.weight", TensorRole::matrix, {c.intermediate_size, c.hidden_size});
    add(layer + "mlp.down_proj.weight", TensorRole::matrix, {c.hidden_size, c.intermediate_size});
    if (c.layers[i] == LayerKind::linear_attention) {
      const std::string p = layer + "linear_attn.";
      add(p + "in_proj_qkv.weight", TensorRole::matrix, {c.conv_channels(), c.hidden_size});
      add(p + "in_proj_z.weight", TensorRole::matrix, {values, c.hidden_size});
      add(p + "in_proj_b.weight", TensorRole::matrix, {c.linear_value_heads, c.hidden_size});
      add(p + "in_proj_a.weight", TensorRole::matrix, {c.linear_value_heads, c.hidden_size});
      add(p + "out_proj.weight", TensorRole::matrix, {c.hidden_size, values});
      add(p + "conv1d.weight", TensorRole::conv, {c.conv_channels(), 1, c.conv_kernel});
      add(p + "A_log", TensorRole::vector, {c.linear_value_heads});
      add(p + "dt_bias", TensorRole::vector, {c.linear_value_heads});
      add(p + "norm.weight", TensorRole::gated_norm, {c.linear_value_dim});
    } else {
      const std::string p = layer + "self_attn.";
      add(p + "q_proj.weight", TensorRole::matrix, {c.num_heads * 2 * c.head_dim, c.hidden_size});
      add(p + "k_proj.weight", TensorRole::matrix, {c.num_kv_heads * c.head_dim, c.hidden_size});
      add(p + "v_proj.weight", TensorRole::matrix, {c.num_kv_heads * c.head_dim, c.hidden_size});
      add(p + "o_proj.weight", TensorRole::matrix, {c.hidden_size, c.num_heads * c.head_dim});
      add(p + "q_norm.weight", TensorRole::zero_centred_norm, {c.head_dim});
      add(p + "k_norm.weight", TensorRole::zero_centred_norm, {c.head_dim});
    }
  }
  std::sort(specs.begin(), specs.end(), [](const TensorSpec& a, const TensorSpec& b) {
    return hugging_face_name(a.name) < hugging_face_name(b.name);
  });
  return specs;
}

std::string hugging_face_name(std::string_view plain) {
  return plain == "lm_head" || plain.starts_with("lm_head.") ? std::string(plain) : "model." + std::string(plain);
}

std::string_view plain_name(std::string_view name) {
  static constexpr std::array<std::string_view, 4> prefixes{"model.language_model.", "language_model.model.",
                                                            "language_model.", "model."};
  for (const std::string_view prefix : prefixes) {
    if (name.starts_with(prefix)) return name.substr(prefix.size());
  }
  return name;
}

bool belongs_to_other_model(std::string_view name) {
  return starts_with_any(name, {"visual.", "vision_tower.", "mtp."}) ||
         starts_with_any(plain_name(name), {"visual.", "vision_tower.", "mtp."});
}

}  // namespace qwen35
