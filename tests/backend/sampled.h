#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "sampling/sampler.h"

namespace qwen35 {

/// A reply that is sampled: its options and the tokens that penalties see, drawn at random; and two requests for the
/// same draw, one that the backend answers, one that is answered from the logits of the same step.
class SampledReply {
 public:
  SampledReply(std::size_t vocabulary, unsigned seed) : vocabulary_(vocabulary), engine_(seed) {
    SamplerOptions options;
    const auto draw = [&](unsigned n) { return static_cast<unsigned>(engine_() % n); };
    options.temperature = draw(4) == 0 ? 0.0F : 0.1F + 0.3F * static_cast<float>(draw(6));
    options.top_k = static_cast<int>(1 + draw(256));
    options.top_p = draw(2) == 0 ? 1.0F : 0.9F;
    options.min_p = draw(3) == 0 ? 0.05F : 0.0F;
    options.repetition_penalty = draw(2) == 0 ? 1.0F : 1.3F;
    options.presence_penalty = draw(2) == 0 ? 0.0F : 0.5F;
    options.frequency_penalty = draw(2) == 0 ? 0.0F : 0.25F;
    options.seed = seed;
    for (unsigned i = draw(4); i > 0; --i) {
      options.logit_bias.push_back({static_cast<TokenId>(draw(static_cast<unsigned>(vocabulary))), 2.0F});
    }
    sampler_ = std::make_unique<Sampler>(options);
  }

  /// For the backend to answer. Valid until the next.
  SampleRequest* ask() {
    request_ = sampler_->request();
    request_.vocabulary = vocabulary_;
    request_.barred = barred_;
    request_.history = tokens_;
    request_.generated = tokens_;
    want_ = request_;
    return &request_;
  }
  /// For the backend to answer behind each token of a verification pass, each from lists of its own. Valid until the
  /// next.
  std::span<SampleRequest> ask_all(std::size_t count) {
    asked_.clear();
    for (std::size_t i = 0; i < count; ++i) {
      SampleRequest& request = asked_.emplace_back(sampler_->request());
      request.vocabulary = vocabulary_;
      request.barred = std::span(barred_).first(barred_.size() * i / count);
      request.history = std::span(tokens_).first(tokens_.size() * (i + 1) / count);
      request.generated = std::span(tokens_).last(tokens_.size() * (i + 1) / count);
    }
    wanted_ = asked_;
    for (std::size_t i = 1; i < count; ++i) asked_[i].random = {1, 2, 3, i};  // nothing may depend on it
    return asked_;
  }
  /// Those requests against the rows of logits behind the tokens that are kept, the first ones.
  void check_all(std::span<const std::vector<float>> rows) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      std::vector<float> logits = rows[i];
      wanted_[i].random = sampler_->request().random;
      Sampler::answer(wanted_[i], logits);
      EXPECT_EQ(asked_[i].token, wanted_[i].token) << "row " << i << " of " << asked_.size();
      EXPECT_EQ(asked_[i].random, wanted_[i].random) << "row " << i << " of " << asked_.size();
      (void)sampler_->take(wanted_[i]);
    }
    for (std::size_t i = 0; i < rows.size(); ++i) tokens_.push_back(wanted_[i].token);
  }
  /// That request against `logits`, which are scratch afterwards; the token joins the reply.
  TokenId check(std::span<float> logits) {
    Sampler::answer(want_, logits);
    EXPECT_EQ(request_.token, want_.token) << "token " << tokens_.size() << " of the reply";
    EXPECT_EQ(request_.random, want_.random) << "token " << tokens_.size() << " of the reply";
    const TokenId token = sampler_->take(want_);
    tokens_.push_back(token);
    if (tokens_.size() % 3 == 0) barred_.push_back(token);
    return token;
  }

 private:
  std::size_t vocabulary_;
  std::mt19937 engine_;
  std::unique_ptr<Sampler> sampler_;
  std::vector<TokenId> tokens_;
  std::vector<TokenId> barred_;
  SampleRequest request_;
  SampleRequest want_;
  std::vector<SampleRequest> asked_;
  std::vector<SampleRequest> wanted_;
};

/// Whether a backend answers requests at all.
inline bool samples(const Backend& backend) {
  const Sampler greedy(SamplerOptions{.temperature = 0});
  SampleRequest request = greedy.request();
  request.vocabulary = backend.config().vocab_size;
  return backend.samples(request);
}

}  // namespace qwen35
