#include "backend/cpu/cpu_backend.h"

#include <qwen35/error.h>

#include <algorithm>
#include <cmath>
#include <cstring>
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
  context.pool.run(tokens, row_grain(tokens, context.pool),
                   [&](std::size_t begin, std::size_t end, std::size_t thread) {
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
        memory_(std::make_shared<BlockPool>(pool_bytes(shape_), arena_memory)),
        kernels_(select_kernels()),
        pool_(options.threads, options.pin_threads),
        arena_(float32_ ? 0 : arena_bytes(weights_)),
        context_{config_, kernels_, pool_, {}, {}, {}, {}, {}, {}, {}} {
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
    return bytes + memory_->memory_bytes() +
           (context_.wide.size() + x_.size() + out_.size() + logits_.size()) * sizeof(float);
  }

  [[nodiscard]] std::unique_ptr<State> make_state() const override {
    return std::make_unique<CpuState>(shape_, memory_);
  }

  void reset(State& state) const override { reset_state(own_cast<CpuState>(state, "state")); }

  bool forward(State& state, std::span<const TokenId> tokens, LogitRows rows, std::span<float> logits,
               const Cancellation& cancelled) override {
    auto& own = own_cast<CpuState>(state, "state");
    check_forward(config_, own.tokens, tokens, rows, logits.size());
    for (std::size_t begin = 0; begin < tokens.size(); begin += kPassTokens) {
      const auto pass = tokens.subspan(begin, std::min(kPassTokens, tokens.size() - begin));
      const bool last_pass = begin + pass.size() == tokens.size();
      begin_pass(pass.size());
      add_to_pass(own, pass, false);
      if (!run_layers(cancelled)) return false;
      if (rows == LogitRows::all)
        write_logits(x_.data(), pass.size(), logits.data() + begin * config_.vocab_size);
      else if (rows == LogitRows::last && last_pass)
        write_logits(x_.data() + (pass.size() - 1) * config_.hidden_size, 1, logits.data());
    }
    return true;
  }

  bool forward_batch(std::span<const Feed> feeds, const Cancellation& cancelled) override {
    check_feeds(config_, feeds, [](State& state) { (void)own_cast<CpuState>(state, "state"); });
    while (!feeds.empty()) {
      std::size_t count = 0;
      std::size_t tokens = 0;
      while (count < feeds.size() && tokens + feeds[count].tokens.size() <= kPassTokens)
        tokens += feeds[count++].tokens.size();
      if (count < 2) {  // what does not go with another goes as it would alone
        const Feed& feed = feeds.front();
        if (!forward(*feed.state, feed.tokens, feed.rows, feed.logits, cancelled)) return false;
        feeds = feeds.subspan(1);
        continue;
      }
      if (!run_together(feeds.first(count), cancelled)) return false;
      feeds = feeds.subspan(count);
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
    begin_pass(tokens.size());
    add_to_pass(own, tokens, true);
    if (!run_layers(cancelled)) return false;
    write_logits(x_.data(), tokens.size(), logits.data());
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

  /// Several feeds of kPassTokens tokens in all, at most, in one pass over the weights.
  bool run_together(std::span<const Feed> feeds, const Cancellation& cancelled) {
    std::size_t tokens = 0;
    for (const Feed& feed : feeds) tokens += feed.tokens.size();
    begin_pass(tokens);
    for (const Feed& feed : feeds) {
      if (!feed.tokens.empty()) add_to_pass(static_cast<CpuState&>(*feed.state), feed.tokens, false);
    }
    if (!run_layers(cancelled)) return false;
    // The rows whose logits are wanted, side by side, so that the head's weights go by once for them all.
    const std::size_t hidden = config_.hidden_size;
    std::size_t row = 0;
    wanted_.clear();
    for (const Feed& feed : feeds) {
      const std::size_t count = feed.tokens.size();
      const std::size_t rows = count == 0 || feed.rows == LogitRows::none ? 0 : feed.rows == LogitRows::all ? count : 1;
      std::memmove(out_.data() + wanted_.size() * hidden, x_.data() + (row + count - rows) * hidden,
                   rows * hidden * sizeof(float));
      for (std::size_t i = 0; i < rows; ++i) wanted_.push_back(feed.logits.data() + i * config_.vocab_size);
      row += count;
    }
    if (wanted_.empty()) return true;
    const std::size_t vocabulary = config_.vocab_size;
    logits_.reserve(wanted_.size() * vocabulary);
    write_logits(out_.data(), wanted_.size(), logits_.data());
    pool_.run(wanted_.size(), 1, [&](std::size_t i, std::size_t, std::size_t) {
      std::memcpy(wanted_[i], logits_.data() + i * vocabulary, vocabulary * sizeof(float));
    });
    return true;
  }

  /// `tokens`: as many as will be added.
  void begin_pass(std::size_t tokens) {
    reserve(tokens);
    sequences_.clear();
    tokens_ = 0;
  }

  /// Puts `tokens` behind those that are in the pass already.
  void add_to_pass(CpuState& state, std::span<const TokenId> tokens, bool verify) {
    const std::size_t hidden = config_.hidden_size;
    for (std::size_t t = 0; t < tokens.size(); ++t)
      embedding_.row(static_cast<std::size_t>(tokens[t]), x_.data() + (tokens_ + t) * hidden);
    fill_rotary(state.tokens, tokens_, tokens.size());
    sequences_.push_back({tokens_, tokens.size(), &state, state.begin_pass(verify)});
    state.verified = 0;
    tokens_ += tokens.size();
  }

  /// x += mixer(norm(x)); x += mlp(norm(x)); for each layer. False: cancelled.
  bool run_layers(const Cancellation& cancelled) {
    const std::size_t floats = tokens_ * config_.hidden_size;
    std::size_t linear = 0;
    std::size_t full = 0;
    for (const Layer& layer : layers_) {
      if (cancelled.requested()) return false;
      const std::vector<float>& norm = layer.weights->input_norm;
      if (const auto* mixer = std::get_if<LinearAttention>(&layer.mixer)) {
        mixer->forward(context_, x_.data(), norm, tokens_, sequences_, linear++, out_.data());
      } else {
        std::get<FullAttention>(layer.mixer)
            .forward(context_, x_.data(), norm, tokens_, sequences_, full++, out_.data());
      }
      kernels_.add(x_.data(), out_.data(), floats);
      if (cancelled.requested()) return false;
      layer.mlp.forward(context_, x_.data(), layer.weights->post_attention_norm, tokens_, out_.data());
      kernels_.add(x_.data(), out_.data(), floats);
    }
    for (Sequence& sequence : sequences_) sequence.state->end_pass(std::move(sequence.pass), sequence.count);
    sequences_.clear();
    return true;
  }

  /// Of `count` rows of `x`, one behind the other in `logits`.
  void write_logits(const float* x, std::size_t count, float* logits) {
    const PackedMatrix* matrices[] = {&head()};
    normalize(context_, x, count, weights_.final_norm, matrices);
    const Product product[] = {{&head(), row_major(logits, head())}};
    multiply(product, context_.activations, kernels_, pool_);
  }

  /// Angles in double: at position 200,000 a float angle would be off by a percent of a turn.
  /// `first`: the token's place in the pass.
  void fill_rotary(std::size_t position, std::size_t first, std::size_t tokens) {
    const std::size_t half = config_.rotary_dim / 2;
    context_.cosines.resize((first + tokens) * half);
    context_.sines.resize((first + tokens) * half);
    if (frequencies_.empty()) {
      for (std::size_t i = 0; i < half; ++i) {
        frequencies_.push_back(
            std::pow(config_.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(config_.rotary_dim)));
      }
    }
    for (std::size_t t = 0; t < tokens; ++t) {
      for (std::size_t i = 0; i < half; ++i) {
        const double angle = static_cast<double>(position + t) * frequencies_[i];
        context_.cosines[(first + t) * half + i] = static_cast<float>(std::cos(angle));
        context_.sines[(first + t) * half + i] = static_cast<float>(std::sin(angle));
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
  std::vector<Sequence> sequences_;  ///< of the pass
  std::size_t tokens_ = 0;           ///< of them all
  std::vector<float*> wanted_;       ///< where the logits of a pass over several states go
  AlignedArray<float> logits_;       ///< of such a pass, side by side
  AlignedArray<float> x_;            ///< tokens × hidden: the residual stream
  AlignedArray<float> out_;          ///< tokens × hidden: a sublayer's contribution
};

}  // namespace
}  // namespace qwen35::cpu

namespace qwen35 {

std::unique_ptr<Backend> make_cpu_backend(ModelWeights weights, const BackendOptions& options) {
  return std::make_unique<cpu::CpuBackend>(std::move(weights), options);
}

}  // namespace qwen35
