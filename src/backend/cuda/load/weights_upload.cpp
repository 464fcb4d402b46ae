#include <qwen35/error.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <utility>

#include "backend/cuda/load/pack.h"
#include "backend/cuda/load/pack_kernels.h"

namespace qwen35::cuda {
namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kStage = std::size_t{16} << 20;  // bytes of one of the two staging buffers

std::size_t aligned(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

void need(bool holds, const std::string& what, std::size_t found, const std::string& expected) {
  if (holds) return;
  throw Error(ErrorCode::unsupported, "the CUDA backend cannot run this model: its " + what + " is " +
                                          std::to_string(found) + "; " + expected + " is expected. Use --backend cpu");
}

ModelSizes sizes_of(const ModelConfig& c) {
  const std::size_t most = std::numeric_limits<std::uint32_t>::max() / 4;
  need(c.vocab_size <= most, "vocab_size", c.vocab_size, "at most " + std::to_string(most));
  need(c.max_positions <= most, "max_position_embeddings", c.max_positions, "at most " + std::to_string(most));
  need(c.hidden_size % 8 == 0, "hidden_size", c.hidden_size, "a multiple of 8");
  need(c.intermediate_size % 4 == 0, "intermediate_size", c.intermediate_size, "a multiple of 4");
  ModelSizes s;
  const auto number = [](std::size_t n) { return static_cast<std::uint32_t>(n); };
  s.hidden = number(c.hidden_size);
  s.intermediate = number(c.intermediate_size);
  s.vocabulary = number(c.vocab_size);
  s.linear_layers =
      number(static_cast<std::size_t>(std::count(c.layers.begin(), c.layers.end(), LayerKind::linear_attention)));
  s.full_layers = number(c.layers.size() - s.linear_layers);
  if (s.full_layers > 0) {
    need(c.head_dim % 32 == 0 && c.head_dim <= 256, "head_dim", c.head_dim, "a multiple of 32 up to 256");
    need(c.rotary_dim % 2 == 0 && c.rotary_dim <= c.head_dim, "rotary_dim", c.rotary_dim, "an even number");
    need(c.num_kv_heads > 0 && c.num_heads % c.num_kv_heads == 0, "num_attention_heads", c.num_heads,
         "a multiple of num_key_value_heads (" + std::to_string(c.num_kv_heads) + ")");
  }
  if (s.linear_layers > 0) {
    need(c.linear_key_dim % 32 == 0 && c.linear_key_dim <= 256, "linear_key_head_dim", c.linear_key_dim,
         "a multiple of 32 up to 256");
    need(c.linear_value_dim % 16 == 0 && c.linear_value_dim <= 256, "linear_value_head_dim", c.linear_value_dim,
         "a multiple of 16 up to 256");
    need(c.conv_kernel >= 2 && c.conv_kernel <= 8, "linear_conv_kernel_dim", c.conv_kernel, "2 to 8");
    need(c.linear_key_heads > 0 && c.linear_value_heads % c.linear_key_heads == 0, "linear_num_value_heads",
         c.linear_value_heads, "a multiple of linear_num_key_heads (" + std::to_string(c.linear_key_heads) + ")");
  }
  s.heads = number(c.num_heads);
  s.kv_heads = number(c.num_kv_heads);
  s.head_dim = number(c.head_dim);
  s.rotary_dim = number(c.rotary_dim);
  s.key_heads = number(c.linear_key_heads);
  s.value_heads = number(c.linear_value_heads);
  s.key_dim = number(c.linear_key_dim);
  s.value_dim = number(c.linear_value_dim);
  s.conv_kernel = number(c.conv_kernel);
  s.eps = c.rms_norm_eps;
  return s;
}

Stored stored(FloatType type) {
  return type == FloatType::bf16 ? Stored::bf16 : type == FloatType::f16 ? Stored::f16 : Stored::f32;
}

std::size_t stored_bytes(Stored type) { return type == Stored::f32 ? 4 : 2; }

/// Bytes of a part's values, and of its scales (biases take as much).
std::size_t raw_values(const PackPart& part, std::size_t columns) {
  return part.rows * columns * (part.group == 0 ? 8 * stored_bytes(part.stored) : part.bits) / 8;
}
std::size_t raw_scales(const PackPart& part, std::size_t columns) {
  return part.group == 0 ? 0 : part.rows * (columns / part.group) * stored_bytes(part.stored);
}

/// One packed matrix to be.
struct Plan {
  std::vector<const WeightMatrix*> parts;
  bool interleaved;
  Matrix* matrix;
};

PackSource source_of(const Plan& plan) {
  PackSource source;
  for (const WeightMatrix* part : plan.parts) source.parts[source.count++] = part_of(*part);
  source.interleaved = plan.interleaved;
  return source;
}

std::size_t packed_bytes(const Matrix& matrix) { return aligned(matrix.bytes()); }

/// Copies from the map through two pinned buffers, so that reading the files and the bus work side by side.
class Uploader {
 public:
  Uploader() {
    try {
      check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
      for (std::size_t i = 0; i < 2; ++i) {
        check(cudaMallocHost(&buffers_[i], kStage), "asking for pinned memory");
        check(cudaEventCreateWithFlags(&free_[i], cudaEventDisableTiming), "making an event");
      }
    } catch (...) {
      close();
      throw;
    }
  }
  ~Uploader() { close(); }
  Uploader(const Uploader&) = delete;
  Uploader& operator=(const Uploader&) = delete;

  void copy(void* to, const void* from, std::size_t bytes) {
    for (std::size_t done = 0; done < bytes;) {
      const std::size_t count = std::min(kStage, bytes - done);
      check(cudaEventSynchronize(free_[next_]), "uploading weights");
      std::memcpy(buffers_[next_], static_cast<const std::byte*>(from) + done, count);
      check(
          cudaMemcpyAsync(static_cast<std::byte*>(to) + done, buffers_[next_], count, cudaMemcpyHostToDevice, stream_),
          "uploading weights");
      check(cudaEventRecord(free_[next_], stream_), "uploading weights");
      next_ = 1 - next_;
      done += count;
    }
  }
  void wait() { check(cudaStreamSynchronize(stream_), "packing weights"); }
  [[nodiscard]] cudaStream_t stream() const { return stream_; }

 private:
  void close() noexcept {
    if (stream_ != nullptr) (void)cudaStreamSynchronize(stream_);
    for (std::size_t i = 0; i < 2; ++i) {
      if (free_[i] != nullptr) (void)cudaEventDestroy(free_[i]);
      if (buffers_[i] != nullptr) (void)cudaFreeHost(buffers_[i]);
    }
    if (stream_ != nullptr) (void)cudaStreamDestroy(stream_);
  }

  cudaStream_t stream_ = nullptr;
  std::array<void*, 2> buffers_{};
  std::array<cudaEvent_t, 2> free_{};
  std::size_t next_ = 0;
};

/// All small vectors side by side.
class Vectors {
 public:
  /// Where in the block it will be.
  std::size_t add(std::span<const float> values) {
    const std::size_t at = floats_.size();
    floats_.insert(floats_.end(), values.begin(), values.end());
    floats_.resize((floats_.size() + 63) / 64 * 64);
    return at;
  }
  [[nodiscard]] const std::vector<float>& floats() const { return floats_; }

 private:
  std::vector<float> floats_;
};

}  // namespace

PackPart part_of(const WeightMatrix& matrix) {
  PackPart part;
  part.rows = static_cast<std::uint32_t>(matrix.rows);
  if (const auto* dense = std::get_if<DenseMatrix>(&matrix.storage)) {
    part.stored = stored(dense->type);
    part.values = dense->data;
  } else {
    const auto& affine = std::get<AffineMatrix>(matrix.storage);
    part.bits = static_cast<std::uint32_t>(affine.bits);
    part.group = static_cast<std::uint32_t>(affine.group_size);
    part.stored = stored(affine.scale_type);
    part.values = affine.packed;
    part.scales = affine.scales;
    part.biases = affine.biases;
  }
  return part;
}

Matrix packed_form(const PackSource& source, std::uint32_t columns) {
  Matrix matrix;
  bool dense = false;
  matrix.bits = 4;
  matrix.group = kUnitColumns;
  for (std::uint32_t i = 0; i < source.count; ++i) {
    const PackPart& part = source.parts[i];
    matrix.rows += part.rows;
    dense = dense || part.group == 0;
    if (part.group == 0) continue;
    matrix.bits = std::max(matrix.bits, part.bits);
    matrix.group = std::min(matrix.group, part.group);
  }
  if (dense) {
    matrix.bits = 16;
    matrix.group = 0;
  }
  matrix.columns = columns;
  matrix.tiles = (matrix.rows + kTileRows - 1) / kTileRows;
  matrix.units = (columns + kUnitColumns - 1) / kUnitColumns;
  matrix.unit_bytes = value_bytes(matrix.bits) + scale_bytes(matrix.bits, matrix.group);
  return matrix;
}

float pack_factor(float largest) {
  if (!std::isfinite(largest) || largest == 0 || (largest >= 0.125F && largest < 32)) return 1;
  return std::ldexp(1.0F, std::clamp(std::ilogb(largest) - 3, -120, 120));
}

PackedModel::PackedModel(const ModelWeights& weights, const DeviceInfo& device) {
  const ModelConfig& config = weights.config;
  model_.sizes = sizes_of(config);
  model_.layers.resize(weights.layers.size());

  // What there will be.
  std::vector<Plan> plans{{{&weights.embedding}, false, &model_.embedding}};
  Vectors vectors;
  std::vector<std::pair<const float**, std::size_t>> places;  // a pointer of the model, and where it will point
  const auto add = [&](const float*& pointer, std::span<const float> values) {
    places.emplace_back(&pointer, vectors.add(values));
  };
  std::uint32_t linear_layers = 0;
  std::uint32_t full_layers = 0;
  for (std::size_t i = 0; i < weights.layers.size(); ++i) {
    const LayerWeights& from = weights.layers[i];
    DeviceLayer& layer = model_.layers[i];
    add(layer.input_norm, from.input_norm);
    add(layer.post_norm, from.post_attention_norm);
    if (const auto* linear = std::get_if<LinearAttentionWeights>(&from.mixer)) {
      layer.linear = true;
      layer.index = linear_layers++;
      plans.push_back(
          {{&linear->in_proj_qkv, &linear->in_proj_b, &linear->in_proj_a, &linear->in_proj_z}, false, &layer.in});
      plans.push_back({{&linear->out_proj}, false, &layer.out});
      const std::size_t channels = config.conv_channels();
      std::vector<float> conv(linear->conv.size());
      for (std::size_t tap = 0; tap < config.conv_kernel; ++tap) {
        for (std::size_t c = 0; c < channels; ++c)
          conv[tap * channels + c] = linear->conv[c * config.conv_kernel + tap];
      }
      std::vector<float> decay(linear->a_log.size());
      std::transform(linear->a_log.begin(), linear->a_log.end(), decay.begin(), [](float a) { return std::exp(a); });
      add(layer.conv, conv);
      add(layer.decay, decay);
      add(layer.dt_bias, linear->dt_bias);
      add(layer.gated_norm, linear->norm);
    } else {
      const auto& full = std::get<FullAttentionWeights>(from.mixer);
      layer.index = full_layers++;
      plans.push_back({{&full.q_proj, &full.k_proj, &full.v_proj}, false, &layer.in});
      plans.push_back({{&full.o_proj}, false, &layer.out});
      add(layer.q_norm, full.q_norm);
      add(layer.k_norm, full.k_norm);
    }
    plans.push_back({{&from.gate_proj, &from.up_proj}, true, &layer.gate_up});
    plans.push_back({{&from.down_proj}, false, &layer.down});
  }
  add(model_.final_norm, weights.final_norm);
  if (weights.lm_head) plans.push_back({{&*weights.lm_head}, false, &model_.head});

  std::size_t packed = 0;
  std::size_t raw = 0;  // of the largest matrix
  for (const Plan& plan : plans) {
    const std::size_t columns = plan.parts.front()->cols;
    const PackSource source = source_of(plan);
    *plan.matrix = packed_form(source, static_cast<std::uint32_t>(columns));
    packed += packed_bytes(*plan.matrix);
    std::size_t bytes = 0;
    for (std::uint32_t i = 0; i < source.count; ++i)
      bytes += aligned(raw_values(source.parts[i], columns)) + 2 * aligned(raw_scales(source.parts[i], columns));
    raw = std::max(raw, bytes);
  }
  std::vector<double> frequencies(config.rotary_dim / 2);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    frequencies[i] =
        std::pow(config.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(config.rotary_dim));
  }

  if (packed + raw > device.memory_bytes) {
    throw Error(ErrorCode::out_of_memory, "the model's weights take " + std::to_string(packed >> 20U) +
                                              " MiB of GPU memory, and " + std::to_string(raw >> 20U) +
                                              " more while they are loaded; the " + device.name + " has " +
                                              std::to_string(device.memory_bytes >> 20U) + " MiB. Use --backend cpu");
  }
  DeviceMemory matrices(packed);
  DeviceMemory small(vectors.floats().size() * sizeof(float) + frequencies.size() * sizeof(double));
  DeviceMemory scratch(raw);
  DeviceMemory largest_found(sizeof(std::uint32_t));
  Uploader uploader;

  const std::size_t float_bytes = vectors.floats().size() * sizeof(float);
  uploader.copy(small.data(), vectors.floats().data(), float_bytes);
  uploader.copy(small.as<std::byte>() + float_bytes, frequencies.data(), frequencies.size() * sizeof(double));
  for (const auto& [pointer, place] : places) *pointer = small.as<float>() + place;
  model_.frequencies = reinterpret_cast<const double*>(small.as<std::byte>() + float_bytes);

  auto* to = matrices.as<std::uint8_t>();
  for (const Plan& plan : plans) {
    const std::size_t columns = plan.parts.front()->cols;
    PackSource source = source_of(plan);
    auto* at = scratch.as<std::byte>();
    const auto upload = [&](const void*& pointer, std::size_t bytes) {
      uploader.copy(at, pointer, bytes);
      pointer = at;
      at += aligned(bytes);
    };
    check(cudaMemsetAsync(largest_found.data(), 0, sizeof(std::uint32_t), uploader.stream()), "packing weights");
    for (std::uint32_t i = 0; i < source.count; ++i) {
      PackPart& part = source.parts[i];
      upload(part.values, raw_values(part, columns));
      if (part.group > 0) {
        upload(part.scales, raw_scales(part, columns));
        upload(part.biases, raw_scales(part, columns));
      }
      find_largest(part, static_cast<std::uint32_t>(columns), largest_found.as<std::uint32_t>(), uploader.stream());
    }
    float largest = 0;
    check(cudaMemcpyAsync(&largest, largest_found.data(), sizeof(largest), cudaMemcpyDeviceToHost, uploader.stream()),
          "packing weights");
    uploader.wait();
    plan.matrix->factor = pack_factor(largest);
    plan.matrix->data = to;
    pack_matrix(source, *plan.matrix, to, uploader.stream());
    to += packed_bytes(*plan.matrix);
    for (const WeightMatrix* part : plan.parts) release_pages(weights, *part);
  }
  uploader.wait();
  if (!weights.lm_head) model_.head = model_.embedding;
  memory_.push_back(std::move(matrices));
  memory_.push_back(std::move(small));
}

std::size_t PackedModel::memory_bytes() const {
  std::size_t bytes = 0;
  for (const DeviceMemory& memory : memory_) bytes += memory.bytes();
  return bytes;
}

}  // namespace qwen35::cuda
