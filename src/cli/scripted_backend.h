#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "backend/backend.h"

namespace qwen35::cli {

/// A backend that computes everything as the one inside does and then has certain tokens win: a reply of known text at
/// the price of a real one, for measurements that need the same reply twice. Threads as Backend says; the script is
/// changed between passes.
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
  [[nodiscard]] std::size_t pass_tokens() const override { return inside_->pass_tokens(); }
  [[nodiscard]] std::size_t max_verify() const override { return inside_->max_verify(); }
  bool verify(State& state, std::span<const TokenId> tokens, std::span<float> logits,
              const Cancellation& cancelled) override {
    const std::size_t before = state.position();
    if (!inside_->verify(state, tokens, logits, cancelled)) return false;
    write(before, tokens.size(), logits);
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
  /// `rows` of logits, the first behind the token at `position`.
  void write(std::size_t position, std::size_t rows, std::span<float> logits) const {
    constexpr float kCertain = 1e4F;
    for (std::size_t row = 0; row < rows; ++row) {
      const std::size_t next = position + row + 1;
      if (next < position_ || next - position_ >= tokens_.size()) continue;
      logits[row * config().vocab_size + static_cast<std::size_t>(tokens_[next - position_])] = kCertain;
    }
  }

  std::unique_ptr<Backend> inside_;
  std::size_t position_ = 0;
  std::vector<TokenId> tokens_;
};

}  // namespace qwen35::cli
