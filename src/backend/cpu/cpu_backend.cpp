#include "backend/cpu/cpu_backend.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "backend/checks.h"
#include "backend/cpu/kernels/dispatch.h"
#include "backend/cpu/layers.h"

namespace qwen35::cpu {

void normalize(Context& context, const float* x, std::size_t tokens, const std::vector<float>& weight,
               std::span<const PackedMatrix* const> matrices) {
  const std::size_t n = weight.size();
  context.activations.prepare(tokens, n, matrices, context.kernels);
  context.pool.run(tokens, 12, [&](std::size_t begin, std::size_t end, std::size_t thread) {
    float* row = context.threads[thread].floats.data();
    for (std::size_t t = begin; t < end; ++t) {
      context.kernels.rms_norm(x + t * n, weight.data(), n, context.config.rms_norm_eps, row);
      context.activations.write(t, row);
    }
  });
}

std::size_t wide_floats(const ModelConfig& c) {
  const std::size_t values = c.linear_value_heads * c.linear_value_dim;
  const std::size_t linear = c.conv_channels() + 2 * values + 2 * c.linear_value_heads;
  const std::size_t full = c.head_dim * (3 * c.num_heads + 2 * c.num_kv_heads);
  return std::max({linear, full, 2 * c.intermediate_size});
}

namespace {

std::size_t arena_bytes(const ModelWeights& weights) {
  std::size_t bytes = 0;
  for (const WeightMatrix* matrix : weights.matrices()) bytes += Arena::padded(PackedMatrix::packed_bytes(*matrix));
  return bytes;
}

class CpuBackend final : public Backend {
 public:
  CpuBackend(ModelWeights weights, const BackendOptions& options)
      : weights_(std::move(weights)),
        config_(weights_.config),
        float32_(options.float32),
        shape_(config_, !float32_),
        memory_(std::make_shared<BlockPool>(pool_bytes(shape_))),
        kernels_(select_kernels()),
        pool_(options.threads, options.pin_threads),
        arena_(float32_ ? 0 : arena_bytes(weights_)),
        context_{config_, kernels_, pool_, {}, {}, {}, {}, {}, {}} {
    const Packing packing{weights_, !float32_, kernels_, pool_, arena_};
    embedding_ = PackedMatrix(weights_.embedding, packing);
    if (weights_.lm_head) head_.emplace(*weights_.lm_head, packing);
    for (const LayerWeights& layer : weights_.layers) {
      if (const auto* linear = std::get_if<LinearAttentionWeights>(&layer.mixer)) {
        layers_.push_back({LinearAttention(*linear, config_, packing), Mlp(layer, packing), &layer});
      } else {
        layers_.push_back(
            {FullAttention(std::get<FullAttentionWeights>(layer.mixer), packing), Mlp(layer, packing), &layer});
      }
    }
    for (std::size_t i = 0; i < pool_.threads(); ++i) {
      context_.threads.push_back(
          {std::vector<float>(thread_floats(config_)), DeltaRule(config_.linear_key_dim, config_.linear_value_dim)});
    }
  }

  ~CpuBackend() override { memory_->close(); }
  CpuBackend(const CpuBackend&) = delete;
  CpuBackend& operator=(const CpuBackend&) = delete;

  [[nodiscard]] const ModelConfig& config() const override { return config_; }

  [[nodiscard]] std::string description() const override {
    return std::string("cpu (") + kernels_.name + (float32_ ? ", float32, " : ", ") + std::to_string(pool_.threads()) +
           (pool_.threads() == 1 ? " thread)" : " threads)");
  }

  [[nodiscard]] std::size_t memory_bytes() const override {
    std::size_t bytes = embedding_.memory_bytes() + (head_ ? head_->memory_bytes() : 0);
    for (const Layer& layer : layers_) {
      bytes +=
          layer.mlp.memory_bytes() + std::visit([](const auto& mixer) { return mixer.memory_bytes(); }, layer.mixer);
    }
    return bytes + memory_->memory_bytes() + (context_.wide.size() + x_.size() + out_.size()) * sizeof(float);
  }

  [[nodiscard]] std::unique_ptr<State> make_state() const override {
    return std::make_unique<CpuState>(shape_, memory_);
  }

  void reset(State& state) const override { reset_state(own_cast<CpuState>(state, "state")); }

  bool forward(State& state, std::span<const TokenId> tokens, LogitRows rows, std::span<float> logits,
               const Cancellation& cancelled) override {
    auto& own = own_cast<CpuState>(state, "state");
    check_forward(config_, own.tokens, tokens, rows, logits.size());
    reserve(std::min(tokens.size(), kPassTokens));
    for (std::size_t begin = 0; begin < tokens.size(); begin += kPassTokens) {
      const auto pass = tokens.subspan(begin, std::min(kPassTokens, tokens.size() - begin));
      if (!run_layers(own, pass, false, cancelled)) return false;
      const bool last_pass = begin + pass.size() == tokens.size();
      if (rows == LogitRows::all)
        write_logits(0, pass.size(), logits.data() + begin * config_.vocab_size);
      else if (rows == LogitRows::last && last_pass)
        write_logits(pass.size() - 1, 1, logits.data());
    }
    return true;
  }

  [[nodiscard]] std::size_t max_verify() const override { return kFewTokens; }

  bool verify(State& state, std::span<const TokenId> tokens, std::span<float> logits,
              const Cancellation& cancelled) override {
    auto& own = own_cast<CpuState>(state, "state");
    check_forward(config_, own.tokens, tokens, LogitRows::all, logits.size());
    check_verify(tokens.size(), max_verify());
    if (tokens.empty()) return true;
    reserve(tokens.size());
    if (!run_layers(own, tokens, true, cancelled)) return false;
    write_logits(0, tokens.size(), logits.data());
    return true;
  }

  void keep(State& state, std::size_t count) override {
    auto& own = own_cast<CpuState>(state, "state");
    check_keep(count, own.verified);
    own.keep(count);
  }

  [[nodiscard]] std::unique_ptr<Snapshot> snapshot(const State& state) const override {
    return take_snapshot(own_cast<const CpuState>(state, "state"));
  }

  void restore(State& state, const Snapshot& snapshot) const override {
    restore_snapshot(own_cast<CpuState>(state, "state"), own_cast<const CpuSnapshot>(snapshot, "snapshot"));
  }

  [[nodiscard]] std::string snapshot_format() const override { return qwen35::snapshot_format("cpu", shape_); }

  void write_snapshot(const Snapshot& snapshot, const ByteSink& sink) const override {
    const auto& own = own_cast<const CpuSnapshot>(snapshot, "snapshot");
    check_same_shape(shape_, own.shape);
    cpu::write_snapshot(own, sink);
  }

  [[nodiscard]] std::unique_ptr<Snapshot> read_snapshot(std::span<const std::byte> bytes) const override {
    return cpu::read_snapshot(bytes, shape_, config_.max_positions, *memory_);
  }

 private:
  [[nodiscard]] const PackedMatrix& head() const { return head_ ? *head_ : embedding_; }

  /// x += mixer(norm(x)); x += mlp(norm(x)); for each layer. False: cancelled.
  bool run_layers(CpuState& state, std::span<const TokenId> tokens, bool verify, const Cancellation& cancelled) {
    const std::size_t hidden = config_.hidden_size;
    const std::size_t n = tokens.size();
    for (std::size_t t = 0; t < n; ++t) embedding_.row(static_cast<std::size_t>(tokens[t]), x_.data() + t * hidden);
    fill_rotary(state.tokens, n);
    CpuState::Pass pass = state.begin_pass(verify);
    state.verified = 0;
    std::size_t linear = 0;
    std::size_t full = 0;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      if (cancelled.requested()) return false;
      const Layer& layer = layers_[i];
      const std::vector<float>& norm = layer.weights->input_norm;
      if (const auto* mixer = std::get_if<LinearAttention>(&layer.mixer)) {
        mixer->forward(context_, x_.data(), norm, n, state.linear(linear++, pass), out_.data());
      } else {
        std::get<FullAttention>(layer.mixer)
            .forward(context_, x_.data(), norm, n, state.tokens, state.full[full++], *state.memory, out_.data());
      }
      kernels_.add(x_.data(), out_.data(), n * hidden);
      if (cancelled.requested()) return false;
      layer.mlp.forward(context_, x_.data(), layer.weights->post_attention_norm, n, out_.data());
      kernels_.add(x_.data(), out_.data(), n * hidden);
    }
    state.end_pass(std::move(pass), n);
    return true;
  }

  void write_logits(std::size_t first, std::size_t count, float* logits) {
    const std::size_t hidden = config_.hidden_size;
    const PackedMatrix* matrices[] = {&head()};
    normalize(context_, x_.data() + first * hidden, count, weights_.final_norm, matrices);
    const Product product[] = {{&head(), row_major(logits, head())}};
    multiply(product, context_.activations, kernels_, pool_);
  }

  /// Angles in double: at position 200,000 a float angle would be off by a percent of a turn.
  void fill_rotary(std::size_t position, std::size_t tokens) {
    const std::size_t half = config_.rotary_dim / 2;
    context_.cosines.resize(tokens * half);
    context_.sines.resize(tokens * half);
    if (frequencies_.empty()) {
      for (std::size_t i = 0; i < half; ++i) {
        frequencies_.push_back(
            std::pow(config_.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(config_.rotary_dim)));
      }
    }
    for (std::size_t t = 0; t < tokens; ++t) {
      for (std::size_t i = 0; i < half; ++i) {
        const double angle = static_cast<double>(position + t) * frequencies_[i];
        context_.cosines[t * half + i] = static_cast<float>(std::cos(angle));
        context_.sines[t * half + i] = static_cast<float>(std::sin(angle));
      }
    }
  }

  /// Buffers for a pass of `tokens`; they grow to kPassTokens at most.
  void reserve(std::size_t tokens) {
    x_.reserve(tokens * config_.hidden_size);
    out_.reserve(tokens * config_.hidden_size);
    context_.wide.reserve(tokens * wide_floats(config_));
  }

  ModelWeights weights_;
  ModelConfig config_;
  bool float32_;
  StateShape shape_;
  std::shared_ptr<BlockPool> memory_;  ///< of states and snapshots, which outlive this backend
  const Kernels& kernels_;
  ThreadPool pool_;
  Arena arena_;
  Context context_;
  PackedMatrix embedding_;
  std::optional<PackedMatrix> head_;
  std::vector<Layer> layers_;
  std::vector<double> frequencies_;
  AlignedArray<float> x_;    ///< tokens × hidden: the residual stream
  AlignedArray<float> out_;  ///< tokens × hidden: a sublayer's contribution
};

}  // namespace
}  // namespace qwen35::cpu

namespace qwen35 {

std::unique_ptr<Backend> make_cpu_backend(ModelWeights weights, const BackendOptions& options) {
  return std::make_unique<cpu::CpuBackend>(std::move(weights), options);
}

}  // namespace qwen35
