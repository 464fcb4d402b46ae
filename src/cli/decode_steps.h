#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "sampling/sampler.h"

namespace qwen35::cli {

/// Steps as decode makes them, for measuring: where the backend chooses tokens, it does so greedily and one comes back
/// for each state; elsewhere the last row of logits does, and nothing is chosen.
class DecodeSteps {
 public:
  /// `backend` must outlive it; `states`: of one step at most, at least 1.
  explicit DecodeSteps(Backend& backend, std::size_t states = 1)
      : backend_(backend), vocabulary_(backend.config().vocab_size), requests_(states, greedy()) {
    samples_ = backend.samples(requests_.front());
    if (!samples_) logits_.resize(states * vocabulary_);
  }
  DecodeSteps(const DecodeSteps&) = delete;
  DecodeSteps& operator=(const DecodeSteps&) = delete;

  /// Whether the backend chooses.
  [[nodiscard]] bool samples() const { return samples_; }

  /// The share of state `i` in a step.
  [[nodiscard]] Feed share(std::size_t i, State& state, std::span<const TokenId> tokens) {
    if (samples_) return {&state, tokens, LogitRows::last, {}, &requests_[i]};
    return {&state, tokens, LogitRows::last, std::span(logits_).subspan(i * vocabulary_, vocabulary_)};
  }
  /// A step of one state.
  void feed(State& state, std::span<const TokenId> tokens) {
    const Feed feed = share(0, state, tokens);
    if (samples_)
      backend_.forward_batch({&feed, 1});
    else
      backend_.forward(state, tokens, LogitRows::last, feed.logits);
  }
  /// A pass that verifies guesses of state 0; what comes back of a step comes back of each of its tokens.
  void verify(State& state, std::span<const TokenId> tokens) {
    if (samples_) {
      guesses_.assign(tokens.size(), greedy());
      backend_.verify_sampled(state, tokens, guesses_);
    } else {
      rows_.resize(std::max(rows_.size(), tokens.size() * vocabulary_));
      backend_.verify(state, tokens, std::span(rows_).first(tokens.size() * vocabulary_));
    }
  }
  /// The token behind what feed() fed last, by the backend or from its logits here. Once a step.
  [[nodiscard]] TokenId token() {
    if (!samples_) Sampler::answer(requests_.front(), std::span(logits_).first(vocabulary_));
    return requests_.front().token;
  }

 private:
  [[nodiscard]] SampleRequest greedy() const {
    SampleRequest request = sampler_.request();
    request.vocabulary = vocabulary_;
    return request;
  }

  Backend& backend_;
  std::size_t vocabulary_;
  Sampler sampler_{SamplerOptions{.temperature = 0}};
  std::vector<SampleRequest> requests_;
  std::vector<float> logits_;
  std::vector<SampleRequest> guesses_;
  std::vector<float> rows_;
  bool samples_ = false;
};

}  // namespace qwen35::cli
