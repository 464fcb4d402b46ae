#include "backend/reference/reference_backend.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "backend/checks.h"
#include "backend/snapshot_bytes.h"

namespace qwen35 {
namespace {

using Vector = std::vector<float>;

/// Row-major rows × cols floats.
struct Matrix {
  std::size_t rows = 0;
  std::size_t cols = 0;
  Vector values;
};

struct LinearAttention {
  Matrix in_proj_qkv, in_proj_z, in_proj_b, in_proj_a, out_proj;
};

struct FullAttention {
  Matrix q_proj, k_proj, v_proj, o_proj;
};

struct Layer {
  std::variant<LinearAttention, FullAttention> mixer;
  Matrix gate_proj, up_proj, down_proj;
};

/// A linear layer's memory: the last conv_kernel - 1 inputs of the convolution (oldest first) and, per value head, S of
/// key_dim × value_dim.
struct LinearState {
  Vector conv;
  Vector s;
};

/// A full layer's memory: position × num_kv_heads × head_dim each.
struct AttentionState {
  Vector keys;
  Vector values;
};

using LayerState = std::variant<LinearState, AttentionState>;

std::size_t bytes_of(const std::vector<LayerState>& layers) {
  std::size_t floats = 0;
  for (const auto& layer : layers) {
    if (const auto* linear = std::get_if<LinearState>(&layer)) floats += linear->conv.size() + linear->s.size();
    if (const auto* full = std::get_if<AttentionState>(&layer))
      floats += full->keys.capacity() + full->values.capacity();
  }
  return floats * sizeof(float);
}

struct ReferenceState final : State {
  explicit ReferenceState(const StateShape& own_shape) : shape(own_shape) {}

  StateShape shape;
  std::size_t tokens = 0;
  std::vector<LayerState> layers;
  mutable std::vector<std::vector<LayerState>>
      verified;  ///< layers after each token of the last pass, if verify() was it

  [[nodiscard]] std::size_t position() const override { return tokens; }
  [[nodiscard]] std::size_t memory_bytes() const override {
    std::size_t bytes = bytes_of(layers);
    for (const auto& after : verified) bytes += bytes_of(after);
    return bytes;
  }
};

/// A copy of everything.
struct ReferenceSnapshot final : Snapshot {
  explicit ReferenceSnapshot(const StateShape& own_shape) : shape(own_shape) {}

  StateShape shape;
  std::size_t tokens = 0;
  std::vector<LayerState> layers;

  [[nodiscard]] std::size_t position() const override { return tokens; }
  [[nodiscard]] std::size_t memory_bytes() const override { return bytes_of(layers); }
};

float sigmoid(float x) { return 1.0F / (1.0F + std::exp(-x)); }
float silu(float x) { return x * sigmoid(x); }
float softplus(float x) { return x > 20.0F ? x : std::log1p(std::exp(x)); }

Matrix dequantize(const WeightMatrix& weights) {
  Matrix matrix{weights.rows, weights.cols, Vector(weights.rows * weights.cols)};
  for (std::size_t row = 0; row < weights.rows; ++row) weights.row(row, matrix.values.data() + row * weights.cols);
  return matrix;
}

Vector multiply(const Matrix& matrix, const float* x) {
  Vector y(matrix.rows);
  for (std::size_t row = 0; row < matrix.rows; ++row) {
    const float* w = matrix.values.data() + row * matrix.cols;
    double sum = 0;
    for (std::size_t col = 0; col < matrix.cols; ++col)
      sum += static_cast<double>(w[col]) * static_cast<double>(x[col]);
    y[row] = static_cast<float>(sum);
  }
  return y;
}

/// out = x · rsqrt(mean(x²) + eps) · weight; out may be x.
void rms_norm(const float* x, const Vector& weight, float eps, float* out) {
  double sum = 0;
  for (std::size_t i = 0; i < weight.size(); ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  const double mean = sum / static_cast<double>(weight.size());
  const auto scale = static_cast<float>(1.0 / std::sqrt(mean + static_cast<double>(eps)));
  for (std::size_t i = 0; i < weight.size(); ++i) out[i] = x[i] * scale * weight[i];
}

/// x ← x · rsqrt(sum(x²) + 1e-6) · scale
void l2_norm(float* x, std::size_t n, float scale) {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  const auto factor = static_cast<float>(1.0 / std::sqrt(sum + 1e-6)) * scale;
  for (std::size_t i = 0; i < n; ++i) x[i] *= factor;
}

/// Split-half rotary embedding of the first `rotary_dim` values.
void rotate(float* x, std::size_t rotary_dim, double theta, std::size_t position) {
  const std::size_t half = rotary_dim / 2;
  for (std::size_t i = 0; i < half; ++i) {
    const double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim));
    const double angle = static_cast<double>(position) * frequency;
    const auto c = static_cast<float>(std::cos(angle));
    const auto s = static_cast<float>(std::sin(angle));
    const float a = x[i];
    const float b = x[i + half];
    x[i] = a * c - b * s;
    x[i + half] = b * c + a * s;
  }
}

class ReferenceBackend final : public Backend {
 public:
  explicit ReferenceBackend(ModelWeights weights)
      : weights_(std::move(weights)), config_(weights_.config), shape_(config_, false) {
    embedding_ = dequantize(weights_.embedding);
    if (weights_.lm_head) head_ = dequantize(*weights_.lm_head);
    for (const LayerWeights& layer : weights_.layers) {
      Layer own;
      if (const auto* linear = std::get_if<LinearAttentionWeights>(&layer.mixer)) {
        own.mixer =
            LinearAttention{dequantize(linear->in_proj_qkv), dequantize(linear->in_proj_z),
                            dequantize(linear->in_proj_b), dequantize(linear->in_proj_a), dequantize(linear->out_proj)};
      } else {
        const auto& full = std::get<FullAttentionWeights>(layer.mixer);
        own.mixer = FullAttention{dequantize(full.q_proj), dequantize(full.k_proj), dequantize(full.v_proj),
                                  dequantize(full.o_proj)};
      }
      own.gate_proj = dequantize(layer.gate_proj);
      own.up_proj = dequantize(layer.up_proj);
      own.down_proj = dequantize(layer.down_proj);
      layers_.push_back(std::move(own));
    }
    release_pages(weights_);
  }

  [[nodiscard]] const ModelConfig& config() const override { return config_; }
  [[nodiscard]] std::string description() const override { return "reference (scalar, float32, 1 thread)"; }
  [[nodiscard]] std::size_t memory_bytes() const override { return weights_.parameters * sizeof(float); }

  [[nodiscard]] std::unique_ptr<State> make_state() const override {
    auto state = std::make_unique<ReferenceState>(shape_);
    reset(*state);
    return state;
  }

  void reset(State& state) const override {
    auto& own = own_cast<ReferenceState>(state, "state");
    own.tokens = 0;
    own.layers = empty_layers();
    own.verified.clear();
  }

  bool forward(State& state, std::span<const TokenId> tokens, LogitRows rows, std::span<float> logits,
               const Cancellation& cancelled) override {
    auto& own = own_cast<ReferenceState>(state, "state");
    check_forward(config_, own.tokens, tokens, rows, logits.size());
    own.verified.clear();
    for (std::size_t t = 0; t < tokens.size(); ++t) {
      if (cancelled.requested()) return false;
      const Vector x = token(own, tokens[t]);
      const bool last = t + 1 == tokens.size();
      if (rows == LogitRows::none || (rows == LogitRows::last && !last)) continue;
      const Vector y = multiply(weights_.lm_head ? head_ : embedding_, x.data());
      std::copy(y.begin(), y.end(),
                logits.begin() + static_cast<std::ptrdiff_t>(rows == LogitRows::all ? t * y.size() : 0));
    }
    return true;
  }

  [[nodiscard]] std::size_t max_verify() const override { return 8; }

  /// Token by token, with a copy of the state after each.
  bool verify(State& state, std::span<const TokenId> tokens, std::span<float> logits,
              const Cancellation& cancelled) override {
    auto& own = own_cast<ReferenceState>(state, "state");
    check_forward(config_, own.tokens, tokens, LogitRows::all, logits.size());
    check_verify(tokens.size(), max_verify());
    std::vector<std::vector<LayerState>> after;
    for (std::size_t t = 0; t < tokens.size(); ++t) {
      const std::size_t vocab = config_.vocab_size;
      if (!forward(state, tokens.subspan(t, 1), LogitRows::last, logits.subspan(t * vocab, vocab), cancelled))
        return false;
      after.push_back(own.layers);
    }
    own.verified = std::move(after);
    return true;
  }

  void keep(State& state, std::size_t count) override {
    auto& own = own_cast<ReferenceState>(state, "state");
    check_keep(count, own.verified.size());
    own.tokens -= own.verified.size() - count;
    own.layers = std::move(own.verified[count - 1]);
    own.verified.clear();
  }

  [[nodiscard]] std::unique_ptr<Snapshot> snapshot(const State& state) const override {
    const auto& own = own_cast<const ReferenceState>(state, "state");
    auto copy = std::make_unique<ReferenceSnapshot>(own.shape);
    copy->tokens = own.tokens;
    copy->layers = own.layers;
    own.verified.clear();
    return copy;
  }

  void restore(State& state, const Snapshot& snapshot) const override {
    auto& own = own_cast<ReferenceState>(state, "state");
    const auto& from = own_cast<const ReferenceSnapshot>(snapshot, "snapshot");
    check_same_shape(own.shape, from.shape);
    own.layers = from.layers;
    own.tokens = from.tokens;
    own.verified.clear();
  }

  [[nodiscard]] std::string snapshot_format() const override { return qwen35::snapshot_format("reference", shape_); }

  void write_snapshot(const Snapshot& snapshot, const ByteSink& sink) const override {
    const auto& own = own_cast<const ReferenceSnapshot>(snapshot, "snapshot");
    check_same_shape(shape_, own.shape);
    write_position({own.tokens, 0}, sink);
    for (const LayerState& layer : own.layers) {
      if (const auto* linear = std::get_if<LinearState>(&layer); linear != nullptr && own.tokens > 0) {
        sink(std::as_bytes(std::span(linear->conv)));
        sink(std::as_bytes(std::span(linear->s)));
      }
    }
    for (const LayerState& layer : own.layers) {
      if (const auto* full = std::get_if<AttentionState>(&layer)) {
        write_heads(full->keys, own.tokens, sink);
        write_heads(full->values, own.tokens, sink);
      }
    }
  }

  [[nodiscard]] std::unique_ptr<Snapshot> read_snapshot(std::span<const std::byte> bytes) const override {
    auto snapshot = std::make_unique<ReferenceSnapshot>(shape_);
    snapshot->tokens = read_position(bytes, shape_, config_.max_positions, 0).tokens;
    snapshot->layers = empty_layers();
    for (LayerState& layer : snapshot->layers) {
      if (auto* linear = std::get_if<LinearState>(&layer); linear != nullptr && snapshot->tokens > 0) {
        read_floats(bytes, linear->conv);
        read_floats(bytes, linear->s);
      }
    }
    for (LayerState& layer : snapshot->layers) {
      if (auto* full = std::get_if<AttentionState>(&layer)) {
        full->keys = read_heads(bytes, snapshot->tokens);
        full->values = read_heads(bytes, snapshot->tokens);
      }
    }
    return snapshot;
  }

 private:
  [[nodiscard]] std::vector<LayerState> empty_layers() const {
    std::vector<LayerState> layers;
    for (const LayerKind kind : config_.layers) {
      if (kind == LayerKind::full_attention)
        layers.emplace_back(AttentionState{});
      else
        layers.emplace_back(LinearState{Vector(shape_.conv_floats()), Vector(shape_.s_floats())});
    }
    return layers;
  }

  /// Rows of one head after the other: position × heads × dim as heads × position × dim, and back.
  void write_heads(const Vector& rows, std::size_t tokens, const ByteSink& sink) const {
    const std::size_t d = config_.head_dim;
    for (std::size_t head = 0; head < config_.num_kv_heads; ++head) {
      for (std::size_t t = 0; t < tokens; ++t)
        sink(std::as_bytes(std::span(rows.data() + (t * config_.num_kv_heads + head) * d, d)));
    }
  }

  [[nodiscard]] Vector read_heads(std::span<const std::byte>& bytes, std::size_t tokens) const {
    const std::size_t d = config_.head_dim;
    Vector rows(tokens * config_.num_kv_heads * d);
    for (std::size_t head = 0; head < config_.num_kv_heads; ++head) {
      for (std::size_t t = 0; t < tokens; ++t)
        read_floats(bytes, {rows.data() + (t * config_.num_kv_heads + head) * d, d});
    }
    return rows;
  }

  /// Feeds one token; returns the final hidden state, normalised.
  Vector token(ReferenceState& state, TokenId id) const {
    const float* row = embedding_.values.data() + static_cast<std::size_t>(id) * config_.hidden_size;
    Vector x(row, row + config_.hidden_size);
    Vector h(config_.hidden_size);
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const LayerWeights& w = weights_.layers[i];
      rms_norm(x.data(), w.input_norm, config_.rms_norm_eps, h.data());
      add(x, std::holds_alternative<LinearAttention>(layers_[i].mixer)
                 ? linear_attention(i, h, std::get<LinearState>(state.layers[i]))
                 : full_attention(i, h, std::get<AttentionState>(state.layers[i]), state.tokens));
      rms_norm(x.data(), w.post_attention_norm, config_.rms_norm_eps, h.data());
      add(x, mlp(layers_[i], h));
    }
    state.tokens += 1;
    rms_norm(x.data(), weights_.final_norm, config_.rms_norm_eps, x.data());
    return x;
  }

  static void add(Vector& x, const Vector& y) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  }

  static Vector mlp(const Layer& layer, const Vector& h) {
    Vector gate = multiply(layer.gate_proj, h.data());
    const Vector up = multiply(layer.up_proj, h.data());
    for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = silu(gate[i]) * up[i];
    return multiply(layer.down_proj, gate.data());
  }

  Vector linear_attention(std::size_t index, const Vector& h, LinearState& state) const {
    const auto& m = std::get<LinearAttention>(layers_[index].mixer);
    const auto& w = std::get<LinearAttentionWeights>(weights_.layers[index].mixer);
    const std::size_t dk = config_.linear_key_dim;
    const std::size_t dv = config_.linear_value_dim;
    const std::size_t keys = config_.linear_key_heads;
    const std::size_t values = config_.linear_value_heads;

    Vector qkv = causal_convolution(multiply(m.in_proj_qkv, h.data()), w.conv, state.conv);
    const Vector z = multiply(m.in_proj_z, h.data());
    const Vector b = multiply(m.in_proj_b, h.data());
    const Vector a = multiply(m.in_proj_a, h.data());
    float* q = qkv.data();
    float* k = q + keys * dk;
    const float* v = k + keys * dk;
    for (std::size_t head = 0; head < keys; ++head) {
      l2_norm(q + head * dk, dk, 1.0F / std::sqrt(static_cast<float>(dk)));
      l2_norm(k + head * dk, dk, 1.0F);
    }
    Vector y(values * dv);
    for (std::size_t head = 0; head < values; ++head) {
      const std::size_t key_head = head / (values / keys);  // a key head serves neighbouring value heads
      const float beta = sigmoid(b[head]);
      const float g = std::exp(-std::exp(w.a_log[head]) * softplus(a[head] + w.dt_bias[head]));
      float* out = y.data() + head * dv;
      delta_rule(state.s.data() + head * dk * dv, q + key_head * dk, k + key_head * dk, v + head * dv, g, beta, out);
      rms_norm(out, w.norm, config_.rms_norm_eps, out);
      for (std::size_t i = 0; i < dv; ++i) out[i] *= silu(z[head * dv + i]);
    }
    return multiply(m.out_proj, y.data());
  }

  /// Depthwise causal convolution and SiLU of one new input; `past` holds conv_kernel - 1 inputs and moves on by one.
  Vector causal_convolution(const Vector& input, const Vector& weight, Vector& past) const {
    const std::size_t channels = input.size();
    const std::size_t taps = config_.conv_kernel;
    past.insert(past.end(), input.begin(), input.end());
    Vector out(channels);
    for (std::size_t c = 0; c < channels; ++c) {
      float sum = 0;
      for (std::size_t tap = 0; tap < taps; ++tap) sum += past[tap * channels + c] * weight[c * taps + tap];
      out[c] = silu(sum);
    }
    past.erase(past.begin(), past.begin() + static_cast<std::ptrdiff_t>(channels));
    return out;
  }

  /// S ← g S; S ← S + k ⊗ beta (v − kᵀS); y = qᵀS. S is key_dim × value_dim.
  void delta_rule(float* s, const float* q, const float* k, const float* v, float g, float beta, float* y) const {
    const std::size_t dk = config_.linear_key_dim;
    const std::size_t dv = config_.linear_value_dim;
    for (std::size_t j = 0; j < dv; ++j) {
      float memory = 0;
      for (std::size_t i = 0; i < dk; ++i) {
        s[i * dv + j] *= g;
        memory += k[i] * s[i * dv + j];
      }
      const float change = beta * (v[j] - memory);
      float out = 0;
      for (std::size_t i = 0; i < dk; ++i) {
        s[i * dv + j] += k[i] * change;
        out += q[i] * s[i * dv + j];
      }
      y[j] = out;
    }
  }

  Vector full_attention(std::size_t index, const Vector& h, AttentionState& state, std::size_t position) const {
    const auto& m = std::get<FullAttention>(layers_[index].mixer);
    const auto& w = std::get<FullAttentionWeights>(weights_.layers[index].mixer);
    const std::size_t d = config_.head_dim;
    Vector qg = multiply(m.q_proj, h.data());
    Vector k = multiply(m.k_proj, h.data());
    const Vector v = multiply(m.v_proj, h.data());
    for (std::size_t head = 0; head < config_.num_kv_heads; ++head) {
      rms_norm(k.data() + head * d, w.k_norm, config_.rms_norm_eps, k.data() + head * d);
      rotate(k.data() + head * d, config_.rotary_dim, config_.rope_theta, position);
    }
    state.keys.insert(state.keys.end(), k.begin(), k.end());
    state.values.insert(state.values.end(), v.begin(), v.end());

    const std::size_t stride = config_.num_kv_heads * d;
    const float scale = 1.0F / std::sqrt(static_cast<float>(d));
    Vector y(config_.num_heads * d);
    Vector scores(position + 1);
    for (std::size_t head = 0; head < config_.num_heads; ++head) {
      float* q = qg.data() + head * 2 * d;
      const float* gate = q + d;
      rms_norm(q, w.q_norm, config_.rms_norm_eps, q);
      rotate(q, config_.rotary_dim, config_.rope_theta, position);
      const std::size_t offset = head / (config_.num_heads / config_.num_kv_heads) * d;
      for (std::size_t t = 0; t <= position; ++t) {
        const float* key = state.keys.data() + t * stride + offset;
        double sum = 0;
        for (std::size_t i = 0; i < d; ++i) sum += static_cast<double>(q[i]) * static_cast<double>(key[i]);
        scores[t] = static_cast<float>(sum) * scale;
      }
      const float highest = *std::max_element(scores.begin(), scores.end());
      double total = 0;
      for (float& score : scores) {
        score = std::exp(score - highest);
        total += static_cast<double>(score);
      }
      for (std::size_t i = 0; i < d; ++i) {
        double sum = 0;
        for (std::size_t t = 0; t <= position; ++t) {
          sum += static_cast<double>(scores[t]) * static_cast<double>(state.values[t * stride + offset + i]);
        }
        y[head * d + i] = static_cast<float>(sum / total) * sigmoid(gate[i]);
      }
    }
    return multiply(m.o_proj, y.data());
  }

  ModelWeights weights_;
  ModelConfig config_;
  StateShape shape_;
  Matrix embedding_;
  Matrix head_;
  std::vector<Layer> layers_;
};

}  // namespace

std::unique_ptr<Backend> make_reference_backend(ModelWeights weights) {
  return std::make_unique<ReferenceBackend>(std::move(weights));
}

}  // namespace qwen35
