#include "backend/checks.h"

#include <qwen35/error.h>

namespace qwen35 {

void check_forward(const ModelConfig& config, std::size_t position, std::span<const TokenId> tokens, LogitRows rows,
                   std::size_t logits_size) {
  for (const TokenId id : tokens) {
    if (id < 0 || static_cast<std::size_t>(id) >= config.vocab_size) {
      throw Error(ErrorCode::invalid_argument, "token id " + std::to_string(id) + " is outside the vocabulary of " +
                                                   std::to_string(config.vocab_size));
    }
  }
  if (tokens.size() > config.max_positions || position > config.max_positions - tokens.size()) {
    throw Error(ErrorCode::context_limit, std::to_string(tokens.size()) + " tokens after " + std::to_string(position) +
                                              " exceed the model's limit of " + std::to_string(config.max_positions) +
                                              " positions; shorten the conversation");
  }
  const std::size_t wanted = rows == LogitRows::none ? 0 : rows == LogitRows::last ? 1 : tokens.size();
  const std::size_t expected = tokens.empty() ? logits_size : wanted * config.vocab_size;
  if (logits_size != expected) {
    throw Error(ErrorCode::invalid_argument, "the logits buffer holds " + std::to_string(logits_size) + " floats; " +
                                                 std::to_string(expected) + " are needed");
  }
}

namespace {

void check_sample(const Feed& feed, const std::function<bool(const SampleRequest&)>& samples) {
  if (feed.tokens.empty() || feed.rows != LogitRows::last || !feed.logits.empty())
    throw Error(ErrorCode::invalid_argument,
                "a token is to be sampled; expected tokens, the last row of logits, and no buffer for it");
  if (!samples || feed.sample->options == nullptr || !samples(*feed.sample))
    throw Error(ErrorCode::invalid_argument, "this backend cannot sample as it is asked to; ask samples() before");
}

}  // namespace

void check_feeds(const ModelConfig& config, std::span<const Feed> feeds, const std::function<void(State&)>& check_own,
                 const std::function<bool(const SampleRequest&)>& samples) {
  for (std::size_t i = 0; i < feeds.size(); ++i) {
    const Feed& feed = feeds[i];
    try {
      if (feed.state == nullptr) throw Error(ErrorCode::invalid_argument, "it has no state");
      check_own(*feed.state);
      if (feed.sample != nullptr) check_sample(feed, samples);
      check_forward(config, feed.state->position(), feed.tokens, feed.sample != nullptr ? LogitRows::none : feed.rows,
                    feed.logits.size());
      for (const Feed& other : feeds.first(i)) {
        if (other.state == feed.state) throw Error(ErrorCode::invalid_argument, "its state was named before");
      }
    } catch (const Error& error) {
      throw Error(error.code(),
                  "feed " + std::to_string(i) + " of " + std::to_string(feeds.size()) + ": " + error.what());
    }
  }
}

void check_samples(std::size_t vocabulary, std::size_t tokens, std::span<const SampleRequest> samples,
                   const std::function<bool(const SampleRequest&)>& allows) {
  if (samples.size() != tokens) {
    throw Error(ErrorCode::invalid_argument, "a verification pass of " + std::to_string(tokens) + " tokens with " +
                                                 std::to_string(samples.size()) + " to be sampled; expected as many");
  }
  for (const SampleRequest& request : samples) {
    if (request.options == nullptr || request.vocabulary > vocabulary || (allows && !allows(request)))
      throw Error(ErrorCode::invalid_argument, "this backend cannot sample as it is asked to; ask samples() before");
  }
}

void check_verify(std::size_t tokens, std::size_t max_verify) {
  if (tokens > max_verify) {
    throw Error(ErrorCode::invalid_argument, "a verification pass of " + std::to_string(tokens) +
                                                 " tokens; this backend takes at most " + std::to_string(max_verify));
  }
}

void check_keep(std::size_t count, std::size_t verified) {
  if (verified == 0)
    throw Error(ErrorCode::invalid_argument, "keep() is only for a state that comes straight out of verify()");
  if (count == 0 || count > verified) {
    throw Error(ErrorCode::invalid_argument, "keep() of " + std::to_string(count) + " tokens; expected 1 to the " +
                                                 std::to_string(verified) + " that were verified");
  }
}

void check_same_shape(const StateShape& state, const StateShape& snapshot) {
  if (state != snapshot) {
    throw Error(ErrorCode::invalid_argument,
                "the snapshot is of a model of another shape, or of other arithmetic, than the state");
  }
}

}  // namespace qwen35
