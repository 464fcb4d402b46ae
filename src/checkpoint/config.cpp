#include "checkpoint/config.h"

#include <qwen35/error.h>

#include <cmath>
#include <limits>
#include <utility>

#include "checkpoint/checkpoint_config.h"
#include "checkpoint/json_document.h"
#include "checkpoint/layout.h"

namespace qwen35 {
namespace {

using simdjson::dom::element;
using simdjson::dom::object;

constexpr std::size_t longest_config = 16U << 20U;
constexpr Quantization default_quantization{4, 64};

// Bounds no dense model of this family comes near. They keep every product of sizes far below 2^64.
constexpr std::uint64_t most_layers = 1024;
constexpr std::uint64_t most_heads = 1024;
constexpr std::uint64_t most_head_dim = 4096;
constexpr std::uint64_t most_linear_state = 1U << 28U;  // values of S in one layer: 1 GiB of float32

/// Reads named fields of the (text) configuration and refuses what is wrong by name.
class FieldReader {
 public:
  FieldReader(object fields, std::string source) : fields_(fields), source_(std::move(source)) {}

  [[noreturn]] void refuse(const std::string& what, ErrorCode code = ErrorCode::bad_file) const {
    throw Error(code, source_ + ": " + what);
  }

  /// A field that is there and not null.
  [[nodiscard]] std::optional<element> find(std::string_view name) const {
    element value;
    if (fields_.at_key(name).get(value) || value.is_null()) return std::nullopt;
    return value;
  }

  [[nodiscard]] std::optional<std::uint64_t> find_size(std::string_view name, std::uint64_t most) const {
    const auto value = find(name);
    if (!value) return std::nullopt;
    return checked_size(*value, name, most);
  }

  [[nodiscard]] std::uint64_t size(std::string_view name, std::uint64_t most) const {
    const auto value = find_size(name, most);
    if (!value) refuse(std::string(name) + " is missing");
    return *value;
  }

  [[nodiscard]] std::uint64_t checked_size(element value, std::string_view name, std::uint64_t most) const {
    std::uint64_t number = 0;
    if (value.get(number) || number == 0 || number > most) {
      refuse(std::string(name) + " is " + quote(simdjson::minify(value)) + ", expected a whole number from 1 to " +
             std::to_string(most));
    }
    return number;
  }

  [[nodiscard]] std::optional<double> find_number(std::string_view name, double above, double below) const {
    const auto value = find(name);
    if (!value) return std::nullopt;
    double number = 0;
    if (value->get(number) || !(number > above && number < below)) {
      refuse(std::string(name) + " is " + quote(simdjson::minify(*value)) + ", out of range");
    }
    return number;
  }

  [[nodiscard]] std::optional<bool> find_bool(std::string_view name) const {
    const auto value = find(name);
    if (!value) return std::nullopt;
    bool flag = false;
    if (value->get(flag)) refuse(std::string(name) + " must be true or false");
    return flag;
  }

  [[nodiscard]] std::optional<std::string_view> find_string(std::string_view name) const {
    const auto value = find(name);
    if (!value) return std::nullopt;
    std::string_view text;
    if (value->get(text)) refuse(std::string(name) + " must be a string");
    return text;
  }

  [[nodiscard]] std::optional<FieldReader> find_object(std::string_view name) const {
    const auto value = find(name);
    object fields;
    if (!value) return std::nullopt;
    if (value->get(fields)) refuse(std::string(name) + " must be an object");
    return FieldReader(fields, source_ + ": " + std::string(name));
  }

  [[nodiscard]] object fields() const { return fields_; }
  [[nodiscard]] const std::string& source() const { return source_; }

 private:
  object fields_;
  std::string source_;
};

void check_architecture(const FieldReader& top, const FieldReader& text) {
  for (const FieldReader* reader : {&top, &text}) {
    const auto type = reader->find_string("model_type");
    if (type && *type != "qwen3_5" && *type != "qwen3_5_text") {
      reader->refuse("model_type is " + quote(*type) + ", expected a dense Qwen3.5 model (qwen3_5 or qwen3_5_text)",
                     ErrorCode::unsupported);
    }
  }
  const auto expect = [&](bool holds, const std::string& what) {
    if (!holds) text.refuse(what, ErrorCode::unsupported);
  };
  expect(text.find_string("hidden_act").value_or("silu") == "silu", "hidden_act is not silu");
  expect(!text.find_bool("attention_bias").value_or(false), "attention_bias is not supported");
  expect(text.find_bool("attn_output_gate").value_or(true), "full attention without an output gate is not supported");
  const auto experts = text.find("num_experts");
  std::uint64_t count = 0;
  expect(!experts || (!experts->get(count) && count == 0), "mixtures of experts are not supported");
}

std::vector<LayerKind> read_layers(const FieldReader& text) {
  const std::uint64_t count = text.size("num_hidden_layers", most_layers);
  std::vector<LayerKind> layers;
  const auto types = text.find("layer_types");
  if (!types) {
    const std::uint64_t interval = text.find_size("full_attention_interval", most_layers).value_or(4);
    for (std::uint64_t i = 1; i <= count; ++i) {
      layers.push_back(i % interval == 0 ? LayerKind::full_attention : LayerKind::linear_attention);
    }
    return layers;
  }
  simdjson::dom::array names;
  if (types->get(names)) text.refuse("layer_types must be an array");
  for (const element name : names) {
    std::string_view kind;
    if (!name.get(kind) && kind == "linear_attention") {
      layers.push_back(LayerKind::linear_attention);
    } else if (!name.get(kind) && kind == "full_attention") {
      layers.push_back(LayerKind::full_attention);
    } else {
      text.refuse("layer_types holds " + quote(simdjson::minify(name)) +
                  ", expected linear_attention or full_attention");
    }
  }
  if (layers.size() != count) {
    text.refuse("layer_types has " + std::to_string(layers.size()) + " entries for num_hidden_layers " +
                std::to_string(count));
  }
  return layers;
}

void read_rotary(const FieldReader& text, ModelConfig& config) {
  auto rope = text.find_object("rope_parameters");
  if (!rope) rope = text.find_object("rope_scaling");
  const FieldReader& inner = rope ? *rope : text;
  if (rope) {
    auto kind = rope->find_string("rope_type");
    if (!kind) kind = rope->find_string("type");
    // mrope with text alone is plain rotary
    if (kind && *kind != "default" && *kind != "mrope") {
      rope->refuse("rope_type " + quote(*kind) + " is not supported", ErrorCode::unsupported);
    }
  }
  constexpr double huge = 1e15;
  auto theta = inner.find_number("rope_theta", 0, huge);
  if (!theta) theta = text.find_number("rope_theta", 0, huge);
  if (!theta) text.refuse("rope_theta is missing");
  config.rope_theta = *theta;

  auto factor = inner.find_number("partial_rotary_factor", 0, 1.0000001);
  if (!factor) factor = text.find_number("partial_rotary_factor", 0, 1.0000001);
  config.rotary_dim = static_cast<std::size_t>(static_cast<double>(config.head_dim) * factor.value_or(0.25));
  if (config.rotary_dim == 0 || config.rotary_dim % 2 != 0 || config.rotary_dim > config.head_dim) {
    text.refuse("partial_rotary_factor rotates " + std::to_string(config.rotary_dim) + " of " +
                std::to_string(config.head_dim) + " values of a head; expected an even number from 2");
  }
}

void read_sizes(const FieldReader& text, ModelConfig& config) {
  config.vocab_size = text.size("vocab_size", 1U << 24U);
  config.hidden_size = text.size("hidden_size", 1U << 17U);
  config.intermediate_size = text.size("intermediate_size", 1U << 20U);
  config.layers = read_layers(text);
  config.num_heads = text.size("num_attention_heads", most_heads);
  config.num_kv_heads = text.size("num_key_value_heads", most_heads);
  config.head_dim = text.size("head_dim", most_head_dim);
  config.linear_key_heads = text.size("linear_num_key_heads", most_heads);
  config.linear_value_heads = text.size("linear_num_value_heads", most_heads);
  config.linear_key_dim = text.size("linear_key_head_dim", most_head_dim);
  config.linear_value_dim = text.size("linear_value_head_dim", most_head_dim);
  config.conv_kernel = text.find_size("linear_conv_kernel_dim", 64).value_or(4);
  config.rms_norm_eps = static_cast<float>(text.find_number("rms_norm_eps", 0, 1).value_or(1e-6));

  auto positions = text.find_size("max_position_embeddings", 1U << 30U);
  if (!positions) positions = text.find_size("max_seq_len", 1U << 30U);
  config.max_positions = positions.value_or(262144);

  if (config.num_heads % config.num_kv_heads != 0) {
    text.refuse("num_attention_heads " + std::to_string(config.num_heads) +
                " is not a multiple of num_key_value_heads " + std::to_string(config.num_kv_heads));
  }
  if (config.linear_value_heads % config.linear_key_heads != 0) {
    text.refuse("linear_num_value_heads " + std::to_string(config.linear_value_heads) +
                " is not a multiple of linear_num_key_heads " + std::to_string(config.linear_key_heads));
  }
  if (config.linear_value_heads * config.linear_key_dim * config.linear_value_dim > most_linear_state) {
    text.refuse("linear_num_value_heads × linear_key_head_dim × linear_value_head_dim exceeds " +
                std::to_string(most_linear_state));
  }
}

Quantization checked_quantization(const FieldReader& where, std::uint64_t bits, std::uint64_t group) {
  if (!is_affine_layout(bits, group)) {
    where.refuse(std::to_string(bits) + " bits in groups of " + std::to_string(group) +
                     "; supported are 2, 3, 4, 5, 6 or 8 bits in groups of 32, 64 or 128",
                 ErrorCode::unsupported);
  }
  return {static_cast<int>(bits), static_cast<int>(group)};
}

constexpr std::uint64_t most_bits = 64;
constexpr std::uint64_t most_group = 1U << 20U;

/// The bits and group_size of a {bits, group_size} object; `base` fills what it leaves out.
Quantization read_quantization_object(const FieldReader& fields, Quantization base) {
  const auto mode = fields.find_string("mode");
  const auto method = fields.find_string("quant_method");
  if (mode.value_or("affine") != "affine" || method) {
    fields.refuse("quantised as " + quote(method.value_or(mode.value_or(""))) + ", only MLX affine is supported",
                  ErrorCode::unsupported);
  }
  return checked_quantization(
      fields, fields.find_size("bits", most_bits).value_or(static_cast<std::uint64_t>(base.bits)),
      fields.find_size("group_size", most_group).value_or(static_cast<std::uint64_t>(base.group_size)));
}

/// Entries beside bits and group_size that name a module: an object of its own, or false for "left as it is".
void read_overrides(const FieldReader& fields, CheckpointConfig& config) {
  for (const auto& [key, value] : fields.fields()) {
    const std::string module(plain_name(key));
    bool flag = false;
    object inner;
    if (!value.get(flag)) {
      if (!flag) config.overrides[module] = std::nullopt;
    } else if (!value.get(inner)) {
      config.overrides[module] =
          read_quantization_object(FieldReader(inner, fields.source() + ": " + quote(key)), config.model.quantization);
    }
  }
}

/// Explicit numbers win, then the object, then the label ("int4"); nothing stated leaves bits at 0.
void read_quantization(const FieldReader& top, CheckpointConfig& config) {
  std::optional<Quantization> stated;
  std::optional<FieldReader> fields;
  for (const char* const key : {"quantization", "quantization_config"}) {
    const auto value = top.find(key);
    if (stated || !value) continue;
    std::string_view label;
    if (!value->get(label)) {
      std::uint64_t bits = 0;
      const std::string_view digits = label.starts_with("int") ? label.substr(3) : "";
      for (const char c : digits.substr(0, 3))
        bits = c >= '0' && c <= '9' ? bits * 10 + static_cast<std::uint64_t>(c - '0') : 1000;
      if (digits.empty()) {
        if (label == "none" || label == "bf16" || label == "bfloat16" || label == "f16" || label == "float16") continue;
        bits = 0;
      }
      if (digits.size() > 2 || !is_affine_layout(bits, 64)) {
        top.refuse(std::string(key) + " is " + quote(label) + ", expected a label like int4 or an object",
                   ErrorCode::unsupported);
      }
      stated = Quantization{static_cast<int>(bits), default_quantization.group_size};
    } else {
      fields = top.find_object(key);
      stated = read_quantization_object(*fields, default_quantization);
    }
  }
  const auto bits = top.find_size("quantization_bits", most_bits);
  const auto group = top.find_size("quantization_group_size", most_group);
  if (bits || group) {
    const Quantization base = stated.value_or(default_quantization);
    stated = checked_quantization(top, bits.value_or(static_cast<std::uint64_t>(base.bits)),
                                  group.value_or(static_cast<std::uint64_t>(base.group_size)));
  }
  if (stated) config.model.quantization = *stated;
  if (fields) read_overrides(*fields, config);
}

}  // namespace

bool is_affine_layout(std::uint64_t bits, std::uint64_t group_size) {
  return bits >= 2 && bits <= 8 && bits != 7 && (group_size == 32 || group_size == 64 || group_size == 128);
}

std::optional<Quantization> CheckpointConfig::quantization_of(std::string_view module) const {
  if (const auto found = overrides.find(module); found != overrides.end()) return found->second;
  return model.quantization.bits != 0 ? model.quantization : default_quantization;
}

CheckpointConfig parse_checkpoint_config(std::string_view json, std::string_view source) {
  const JsonDocument document(json, source);
  const FieldReader top(document.root(), std::string(source));
  const FieldReader text = top.find_object("text_config").value_or(top);
  check_architecture(top, text);

  CheckpointConfig config;
  read_sizes(text, config.model);
  read_rotary(text, config.model);
  auto tied = text.find_bool("tie_word_embeddings");
  if (!tied) tied = top.find_bool("tie_word_embeddings");
  config.states_tying = tied.has_value();
  config.model.tie_word_embeddings = tied.value_or(true);
  read_quantization(top, config);
  if (config.model.quantization.bits == 0) read_quantization(text, config);
  return config;
}

CheckpointConfig read_checkpoint_config(const std::filesystem::path& folder) {
  const auto path = folder / "config.json";
  return parse_checkpoint_config(read_text_file(path, longest_config), path.string());
}

ModelConfig parse_config(std::string_view json, std::string_view source) {
  return parse_checkpoint_config(json, source).model;
}

ModelConfig read_config(const std::filesystem::path& folder) { return read_checkpoint_config(folder).model; }

}  // namespace qwen35
