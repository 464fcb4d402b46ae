#include "checkpoint/weights.h"

#include <qwen35/error.h>

#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "checkpoint/checkpoint_config.h"
#include "checkpoint/float_values.h"
#include "checkpoint/layout.h"
#include "checkpoint/tensor_files.h"

namespace qwen35 {
namespace {

[[noreturn]] void refuse(const StoredTensor& tensor, const std::string& what) {
  throw Error(ErrorCode::bad_file, tensor.label() + " " + what);
}

void expect_shape(const StoredTensor& tensor, const std::vector<std::size_t>& shape) {
  if (tensor.shape != shape) {
    refuse(tensor, "has shape " + shape_text(tensor.shape) + ", but config.json makes it " + shape_text(shape));
  }
}

/// True when any of `count` values has an exponent of all ones: infinite or not a number.
template <typename Bits, Bits exponent>
bool any_not_finite(const void* data, std::size_t count) {
  const auto* values = static_cast<const Bits*>(data);
  unsigned found = 0;
  for (std::size_t i = 0; i < count; ++i) found |= static_cast<unsigned>((values[i] & exponent) == exponent);
  return found != 0;
}

void expect_finite(const StoredTensor& tensor, FloatType type) {
  const std::size_t count = tensor.bytes.size() / dtype_size(tensor.dtype);
  const void* data = tensor.bytes.data();
  const bool bad = type == FloatType::bf16  ? any_not_finite<std::uint16_t, 0x7F80>(data, count)
                   : type == FloatType::f16 ? any_not_finite<std::uint16_t, 0x7C00>(data, count)
                                            : any_not_finite<std::uint32_t, 0x7F800000>(data, count);
  if (bad) refuse(tensor, "holds an infinite value or a NaN; the checkpoint is damaged");
}

std::vector<float> read_vector(const StoredTensor& tensor) {
  const FloatType type = tensor.float_type();
  expect_finite(tensor, type);
  std::vector<float> values(tensor.bytes.size() / float_size(type));
  to_floats(type, tensor.bytes.data(), 0, values.size(), values.data());
  return values;
}

std::string quantization_text(Quantization q) {
  return std::to_string(q.bits) + " bits in groups of " + std::to_string(q.group_size);
}

/// Takes the tensors the configuration asks for out of the files, one by one, and notes which were taken.
class Loader {
 public:
  Loader(const CheckpointConfig& config, const TensorFiles& files)
      : config_(config), files_(files), norms_as_applied_(stores_norms_as_applied(files, config.model)) {
    for (TensorSpec& spec : text_tensors(config.model)) specs_.emplace(spec.name, std::move(spec));
  }

  /// `module` is a plain name without ".weight".
  WeightMatrix matrix(const std::string& module) {
    const StoredTensor& weight = take(module + ".weight");
    const auto& shape = specs_.at(module + ".weight").shape;
    WeightMatrix matrix{hugging_face_name(module), shape[0], shape[1], DenseMatrix{}};
    parameters_ += matrix.rows * matrix.cols;
    if (files_.find(module + ".scales") != nullptr || files_.find(module + ".biases") != nullptr) {
      matrix.storage = affine(module, weight, matrix.rows, matrix.cols);
    } else {
      matrix.storage = DenseMatrix{weight.float_type(), weight.bytes.data()};
      expect_shape(weight, shape);
    }
    return matrix;
  }

  std::vector<float> vector(const std::string& name) {
    const StoredTensor& tensor = take(name);
    const TensorSpec& spec = specs_.at(name);
    if (spec.role != TensorRole::conv) {
      expect_shape(tensor, spec.shape);
    } else if (tensor.shape != mlx_conv_shape(spec)) {  // both layouts are channels × taps in memory
      expect_shape(tensor, spec.shape);
    }
    std::vector<float> values = read_vector(tensor);
    parameters_ += values.size();
    if (spec.role == TensorRole::zero_centred_norm && !norms_as_applied_) {
      for (float& value : values) value += 1.0F;
    }
    return values;
  }

  /// Every tensor of the files must have been taken; a head that the configuration ties to the embedding is not used.
  void finish() const {
    for (const auto& [plain, tensor] : files_.tensors()) {
      if (taken_.contains(&tensor)) continue;
      if (config_.model.tie_word_embeddings && plain.starts_with("lm_head.")) continue;
      refuse(tensor, "is extra: config.json describes no such tensor");
    }
  }

  [[nodiscard]] std::size_t parameters() const { return parameters_; }

 private:
  static std::vector<std::size_t> mlx_conv_shape(const TensorSpec& spec) {
    return {spec.shape[0], spec.shape[2], spec.shape[1]};
  }

  const StoredTensor& take(const std::string& plain) {
    const StoredTensor* tensor = files_.find(plain);
    if (tensor == nullptr) {
      throw Error(ErrorCode::bad_file,
                  files_.folder().string() + ": tensor " + hugging_face_name(plain) +
                      " is missing; the checkpoint is incomplete or config.json is another model's");
    }
    taken_.insert(tensor);
    return *tensor;
  }

  AffineMatrix affine(const std::string& module, const StoredTensor& weight, std::size_t rows, std::size_t cols) {
    const StoredTensor& scales = take(module + ".scales");
    const StoredTensor& biases = take(module + ".biases");
    if (weight.dtype != DType::u32) refuse(weight, "has scales beside it, but its dtype is not U32");

    const auto stated = config_.quantization_of(module);
    const std::string found = "has shape " + shape_text(weight.shape) + " with scales " + shape_text(scales.shape);
    if (!stated) refuse(weight, found + ", but config.json says that it is not quantised");
    const std::string says = config_.model.quantization.bits != 0 || config_.overrides.contains(module)
                                 ? "says "
                                 : "states nothing, which means ";
    const auto per_row = [&](std::size_t bits) { return cols * bits / 32; };
    const std::vector<std::size_t> packed_shape{rows, per_row(static_cast<std::size_t>(stated->bits))};
    const std::vector<std::size_t> group_shape{rows, cols / static_cast<std::size_t>(stated->group_size)};
    if (cols % static_cast<std::size_t>(stated->group_size) != 0 || weight.shape != packed_shape ||
        scales.shape != group_shape) {
      refuse(weight, found + implied(weight, scales, rows, cols) + "; config.json " + says +
                         quantization_text(*stated) + " of [" + std::to_string(rows) + ", " + std::to_string(cols) +
                         "], which makes shape " + shape_text(packed_shape) + " with scales " +
                         shape_text(group_shape));
    }
    if (biases.shape != group_shape) {
      refuse(biases, "has shape " + shape_text(biases.shape) + ", but the scales have " + shape_text(group_shape));
    }
    const FloatType type = scales.float_type();
    if (biases.dtype != scales.dtype) refuse(biases, "has another dtype than the scales");
    expect_finite(scales, type);
    expect_finite(biases, type);
    return {stated->bits, stated->group_size,  reinterpret_cast<const std::uint32_t*>(weight.bytes.data()),
            type,         scales.bytes.data(), biases.bytes.data()};
  }

  /// What layout the shapes speak of, when they speak of one at all.
  static std::string implied(const StoredTensor& weight, const StoredTensor& scales, std::size_t rows,
                             std::size_t cols) {
    if (weight.shape.size() != 2 || scales.shape.size() != 2 || weight.shape[0] != rows || scales.shape[0] != rows ||
        scales.shape[1] == 0 || cols % scales.shape[1] != 0 || weight.shape[1] > cols) {
      return "";
    }
    const std::size_t bits = weight.shape[1] * 32 / cols;
    const std::size_t group = cols / scales.shape[1];
    if (!is_affine_layout(bits, group) || weight.shape[1] * 32 != cols * bits) return "";
    return ", that is " + quantization_text({static_cast<int>(bits), static_cast<int>(group)});
  }

  const CheckpointConfig& config_;
  const TensorFiles& files_;
  std::unordered_map<std::string, TensorSpec> specs_;
  std::unordered_set<const StoredTensor*> taken_;
  bool norms_as_applied_;
  std::size_t parameters_ = 0;
};

LinearAttentionWeights load_linear_attention(Loader& loader, const std::string& p) {
  LinearAttentionWeights w;
  w.in_proj_qkv = loader.matrix(p + "in_proj_qkv");
  w.in_proj_z = loader.matrix(p + "in_proj_z");
  w.in_proj_b = loader.matrix(p + "in_proj_b");
  w.in_proj_a = loader.matrix(p + "in_proj_a");
  w.out_proj = loader.matrix(p + "out_proj");
  w.conv = loader.vector(p + "conv1d.weight");
  w.a_log = loader.vector(p + "A_log");
  w.dt_bias = loader.vector(p + "dt_bias");
  w.norm = loader.vector(p + "norm.weight");
  return w;
}

FullAttentionWeights load_full_attention(Loader& loader, const std::string& p) {
  FullAttentionWeights w;
  w.q_proj = loader.matrix(p + "q_proj");
  w.k_proj = loader.matrix(p + "k_proj");
  w.v_proj = loader.matrix(p + "v_proj");
  w.o_proj = loader.matrix(p + "o_proj");
  w.q_norm = loader.vector(p + "q_norm.weight");
  w.k_norm = loader.vector(p + "k_norm.weight");
  return w;
}

LayerWeights load_layer(Loader& loader, const std::string& p, LayerKind kind) {
  LayerWeights w;
  w.input_norm = loader.vector(p + "input_layernorm.weight");
  w.post_attention_norm = loader.vector(p + "post_attention_layernorm.weight");
  if (kind == LayerKind::linear_attention) {
    w.mixer = load_linear_attention(loader, p + "linear_attn.");
  } else {
    w.mixer = load_full_attention(loader, p + "self_attn.");
  }
  w.gate_proj = loader.matrix(p + "mlp.gate_proj");
  w.up_proj = loader.matrix(p + "mlp.up_proj");
  w.down_proj = loader.matrix(p + "mlp.down_proj");
  return w;
}

}  // namespace

std::vector<const WeightMatrix*> ModelWeights::matrices() const {
  std::vector<const WeightMatrix*> all{&embedding};
  for (const LayerWeights& layer : layers) {
    if (const auto* linear = std::get_if<LinearAttentionWeights>(&layer.mixer)) {
      all.insert(all.end(),
                 {&linear->in_proj_qkv, &linear->in_proj_z, &linear->in_proj_b, &linear->in_proj_a, &linear->out_proj});
    } else {
      const auto& full = std::get<FullAttentionWeights>(layer.mixer);
      all.insert(all.end(), {&full.q_proj, &full.k_proj, &full.v_proj, &full.o_proj});
    }
    all.insert(all.end(), {&layer.gate_proj, &layer.up_proj, &layer.down_proj});
  }
  if (lm_head) all.push_back(&*lm_head);
  return all;
}

ModelWeights load_weights(const std::filesystem::path& folder) {
  CheckpointConfig config = read_checkpoint_config(folder);
  auto files = std::make_shared<const TensorFiles>(folder);
  if (!config.states_tying) config.model.tie_word_embeddings = files->find("lm_head.weight") == nullptr;

  Loader loader(config, *files);
  ModelWeights weights;
  weights.config = config.model;
  weights.embedding = loader.matrix("embed_tokens");
  for (std::size_t i = 0; i < config.model.layers.size(); ++i) {
    weights.layers.push_back(load_layer(loader, "layers." + std::to_string(i) + ".", config.model.layers[i]));
  }
  weights.final_norm = loader.vector("norm.weight");
  if (!config.model.tie_word_embeddings) weights.lm_head = loader.matrix("lm_head");
  loader.finish();
  weights.parameters = loader.parameters();
  weights.mapping = std::move(files);
  return weights;
}

void release_pages(const ModelWeights& weights) noexcept {
  // load_weights is the only maker of `mapping`.
  if (weights.mapping) static_cast<const TensorFiles*>(weights.mapping.get())->release_pages();
}

void release_pages(const ModelWeights& weights, const WeightMatrix& matrix) noexcept {
  if (!weights.mapping) return;
  const auto* files = static_cast<const TensorFiles*>(weights.mapping.get());
  const auto release = [&](const void* data, std::size_t bytes) {
    files->release_pages({static_cast<const std::byte*>(data), bytes});
  };
  if (const auto* affine = std::get_if<AffineMatrix>(&matrix.storage)) {
    const std::size_t quants = matrix.rows * matrix.cols * static_cast<std::size_t>(affine->bits) / 8;
    const std::size_t scales = matrix.rows * (matrix.cols / static_cast<std::size_t>(affine->group_size)) *
                               (affine->scale_type == FloatType::f32 ? 4 : 2);
    release(affine->packed, quants);
    release(affine->scales, scales);
    release(affine->biases, scales);
  } else {
    release(std::get<DenseMatrix>(matrix.storage).data, matrix.bytes());
  }
}

}  // namespace qwen35
