#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "backend/backend.h"

namespace qwen35::cli {

/// A backend that computes everything as the one inside does and then has certain tokens win: a reply of known text at
/// the price of a real one, for measurements that need the same reply twice. Where the one inside chooses tokens, it
/// does so here too, at the same price, and its generator goes on. Threads as Backend says; the script is changed
/// between passes.
class ScriptedBackend final : public Backend {
 public:
  explicit ScriptedBackend(std::unique_ptr<Backend> inside) : inside_(std::move(inside)) {}

  /// From now on `tokens` follow, one after the other, the first `position` tokens of any state. Empty: no script.
  void script(std::size_t position, std::vector<TokenId> tokens) {
    position_ = position;
    tokens_ = std::move(tokens);
  }

  [[nodiscard]] const ModelConfig& config() const override { return inside_->config(); }
  [[nodiscard]] std::string description() const override { return inside_->description(); }
  [[nodiscard]] std::size_t memory_bytes() const override { return inside_->memory_bytes(); }
  [[nodiscard]] std::unique_ptr<State> make_state() const override { return inside_->make_state(); }
  void reset(State& state) const override { inside_->reset(state); }
  bool forward(State& state, std::span<const TokenId> tokens, LogitRows rows, std::span<float> logits,
               const Cancellation& cancelled) override {
    const std::size_t before = state.position();
    if (!inside_->forward(state, tokens, rows, logits, cancelled)) return false;
    if (rows == LogitRows::all) write(before, tokens.size(), logits);
    if (rows == LogitRows::last && !tokens.empty()) write(before + tokens.size() - 1, 1, logits);
    return true;
  }
  bool forward_batch(std::span<const Feed> feeds, const Cancellation& cancelled) override {
    std::vector<std::size_t> last;  // position of each feed's last token
    for (const Feed& feed : feeds) last.push_back(feed.state->position() + feed.tokens.size() - 1);
    if (!inside_->forward_batch(feeds, cancelled)) return false;
    for (std::size_t i = 0; i < feeds.size(); ++i) {
      const Feed& feed = feeds[i];
      if (feed.tokens.empty()) continue;
      const std::size_t rows = feed.logits.size() / config().vocab_size;
      if (rows > 0) write(last[i] + 1 - rows, rows, feed.logits);
      if (feed.sample != nullptr) choose(last[i], *feed.sample);
    }
    return true;
  }
  [[nodiscard]] std::size_t max_rows() const override { return inside_->max_rows(); }
  [[nodiscard]] bool samples(const SampleRequest& request) const override { return inside_->samples(request); }
  [[nodiscard]] std::size_t pass_tokens() const override { return inside_->pass_tokens(); }
  [[nodiscard]] std::size_t max_verify() const override { return inside_->max_verify(); }
  bool verify(State& state, std::span<const TokenId> tokens, std::span<float> logits,
              const Cancellation& cancelled) override {
    const std::size_t before = state.position();
    if (!inside_->verify(state, tokens, logits, cancelled)) return false;
    write(before, tokens.size(), logits);
    return true;
  }
  bool verify_sampled(State& state, std::span<const TokenId> tokens, std::span<SampleRequest> samples,
                      const Cancellation& cancelled) override {
    const std::size_t before = state.position();
    if (!inside_->verify_sampled(state, tokens, samples, cancelled)) return false;
    for (std::size_t i = 0; i < samples.size(); ++i) choose(before + i, samples[i]);
    return true;
  }
  void keep(State& state, std::size_t count) override { inside_->keep(state, count); }
  [[nodiscard]] std::unique_ptr<Snapshot> snapshot(const State& state) const override {
    return inside_->snapshot(state);
  }
  void restore(State& state, const Snapshot& snapshot) const override { inside_->restore(state, snapshot); }
  [[nodiscard]] std::string snapshot_format() const override { return inside_->snapshot_format(); }
  void write_snapshot(const Snapshot& snapshot,
                      const std::function<void(std::span<const std::byte>)>& sink) const override {
    inside_->write_snapshot(snapshot, sink);
  }
  [[nodiscard]] std::unique_ptr<Snapshot> read_snapshot(std::span<const std::byte> bytes) const override {
    return inside_->read_snapshot(bytes);
  }

 private:
  /// The script's token behind the one at `position`, or nullptr.
  [[nodiscard]] const TokenId* behind(std::size_t position) const {
    const std::size_t next = position + 1;
    return next < position_ || next - position_ >= tokens_.size() ? nullptr : &tokens_[next - position_];
  }
  void choose(std::size_t position, SampleRequest& request) const {
    if (const TokenId* token = behind(position)) request.token = *token;
  }
  /// `rows` of logits, the first behind the token at `position`.
  void write(std::size_t position, std::size_t rows, std::span<float> logits) const {
    constexpr float kCertain = 1e4F;
    for (std::size_t row = 0; row < rows; ++row) {
      if (const TokenId* token = behind(position + row))
        logits[row * config().vocab_size + static_cast<std::size_t>(*token)] = kCertain;
    }
  }

  std::unique_ptr<Backend> inside_;
  std::size_t position_ = 0;
  std::vector<TokenId> tokens_;
};

}  // namespace qwen35::cli
