#include "chat/token_chooser.h"

#include <qwen35/error.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <random>
#include <string>

namespace qwen35 {
namespace {

SamplerOptions sampler_options(const GenerateOptions& options) {
  std::uint64_t seed = 0;
  if (options.seed) {
    seed = *options.seed;
  } else {
    std::random_device device;
    seed = (static_cast<std::uint64_t>(device()) << 32) ^ device();
  }
  return {.temperature = options.temperature,
          .top_k = options.top_k,
          .top_p = options.top_p,
          .repetition_penalty = options.repetition_penalty,
          .repetition_window = options.repetition_window,
          .seed = seed,
          .min_p = options.min_p,
          .presence_penalty = options.presence_penalty,
          .frequency_penalty = options.frequency_penalty,
          .logit_bias = options.logit_bias};
}

void check_logit_bias(const std::vector<LogitBias>& biases, std::size_t vocabulary) {
  for (std::size_t i = 0; i < biases.size(); ++i) {
    if (biases[i].token >= 0 && static_cast<std::size_t>(biases[i].token) < vocabulary) continue;
    throw Error(ErrorCode::invalid_argument, "logit_bias[" + std::to_string(i) + "] names token " +
                                                 std::to_string(biases[i].token) + "; the vocabulary has tokens 0 to " +
                                                 std::to_string(vocabulary - 1));
  }
}

}  // namespace

TokenChooser::TokenChooser(Model& model, const GenerateOptions& options)
    : model_(model),
      window_(static_cast<std::size_t>(std::max(options.repetition_window, 0))),
      counts_(options.presence_penalty != 0 || options.frequency_penalty != 0),
      sampler_(sampler_options(options)),
      constraint_(
          model.grammars.constraint(options, model.tokenizer, {model.control.im_end, model.control.endoftext})) {
  check_logit_bias(options.logit_bias, model.vocabulary);
  if (options.no_repeat_ngram != 0) ngrams_.emplace(options.no_repeat_ngram);
  if (options.logprobs || options.on_logprob || options.top_logprobs != 0) logprobs_.emplace(options.top_logprobs);
}

TokenId TokenChooser::choose(std::span<float> logits, std::span<const TokenId> tokens, const Place& place) {
  if (logprobs_ && place.in_answer) logprobs_->note(logits);
  look_back(tokens, place, past_);
  for (const TokenId id : past_.barred) logits[static_cast<std::size_t>(id)] = -std::numeric_limits<float>::infinity();
  // A form decides alone what may come; it rules out control tokens, and penalties could not make them likelier.
  if (constraint_ && place.in_answer) constraint_->mask(logits, place.room);
  if (passing_ && place.in_answer) passing_->mask(logits);
  return sampler_.sample(logits, past_.recent, generated_);
}

SampleRequest TokenChooser::request() const {
  SampleRequest request = sampler_.request();
  request.vocabulary = model_.vocabulary;
  return request;
}

std::span<SampleRequest> TokenChooser::requests(std::span<const TokenId> tokens, std::span<const TokenId> guesses,
                                                std::span<const Place> places) {
  requests_.clear();
  if (std::any_of(places.begin(), places.end(), [this](const Place& place) { return needs_logits(place); })) return {};
  if (pasts_.size() < places.size()) pasts_.resize(places.size());
  requests_.reserve(places.size());
  asked_generated_ = generated_;
  std::copy_if(guesses.begin(), guesses.end(), std::back_inserter(asked_generated_),
               [this](TokenId id) { return counted(id); });
  std::span<const TokenId> text = tokens;
  if (!guesses.empty()) {
    const auto last = tokens.last(std::min(tokens.size(), window_));
    text_.assign(last.begin(), last.end());
    text_.insert(text_.end(), guesses.begin(), guesses.end());
    text = text_;
  }
  struct TakeBack {  // the guesses, from what counts n-grams, whatever happens
    std::optional<NgramBlock>& ngrams;
    std::size_t size = ngrams ? ngrams->size() : 0;
    ~TakeBack() {
      if (ngrams) ngrams->pop(ngrams->size() - size);
    }
  } const behind{ngrams_};
  std::size_t generated = generated_.size();
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (i > 0) {
      if (ngrams_) ngrams_->push(guesses[i - 1]);
      generated += counted(guesses[i - 1]) ? 1 : 0;
    }
    look_back(text.first(text.size() - guesses.size() + i), places[i], pasts_[i]);
    SampleRequest& made = requests_.emplace_back(request());
    made.barred = pasts_[i].barred;
    made.history = pasts_[i].recent;
    made.generated = std::span(asked_generated_).first(generated);
  }
  return requests_;
}

bool TokenChooser::stands(std::size_t request, std::span<const TokenId> tokens, const Place& place) {
  if (needs_logits(place)) return false;
  look_back(tokens, place, past_);
  const SampleRequest& asked = requests_.at(request);
  const auto same = [](const std::vector<TokenId>& now, std::span<const TokenId> then) {
    return std::equal(now.begin(), now.end(), then.begin(), then.end());
  };
  return same(past_.barred, asked.barred) && same(past_.recent, asked.history) && same(generated_, asked.generated);
}

/// A form decides what may come, or the logits are to be reported on.
bool TokenChooser::needs_logits(const Place& place) const {
  return place.in_answer && (logprobs_ || constraint_ || passing_);
}

/// Presence and frequency penalties count it.
bool TokenChooser::counted(TokenId token) const { return counts_ && !model_.tokenizer.is_added(token); }

/// What may not come, and what the repetition penalty sees.
void TokenChooser::look_back(std::span<const TokenId> tokens, const Place& place, Past& past) {
  const ControlTokens& control = model_.control;
  past.barred.clear();
  if (!place.may_think) past.barred.push_back(control.think);
  if (!place.may_end && !constraint_) {
    past.barred.push_back(control.im_end);
    past.barred.push_back(control.endoftext);
  }
  if (!place.may_call && control.tool_call >= 0) past.barred.push_back(control.tool_call);
  // Control tokens are exempt from every penalty: each turn ends in the same one, and it must not grow less likely.
  if (ngrams_ && !constraint_ && !passing_) {  // a form may have to repeat itself
    for (const TokenId id : ngrams_->banned()) {
      if (!model_.tokenizer.is_added(id)) past.barred.push_back(id);
    }
  }
  past.recent.clear();
  for (const TokenId id : tokens.last(std::min(tokens.size(), window_))) {
    if (!model_.tokenizer.is_added(id)) past.recent.push_back(id);
  }
}

void TokenChooser::take(TokenId token, const Place& place) {
  if (constraint_ && place.in_answer) constraint_->accept(token);
  if (passing_ && place.in_answer) {
    passing_->accept(token);
    if (passing_->must_end()) passing_.reset();
  }
  if (ngrams_) ngrams_->push(token);
  if (counted(token)) generated_.push_back(token);
}

std::optional<TokenLogprob> TokenChooser::logprob(TokenId token) {
  if (!logprobs_) return std::nullopt;
  const auto bytes = [&](TokenId id) { return std::string(model_.tokenizer.token_bytes(id)); };
  const StepLogprobs step = logprobs_->of(token);
  TokenLogprob result{token, bytes(token), step.chosen.logprob, {}};
  for (const ScoredToken& other : step.top) {
    if (static_cast<std::size_t>(other.token) < model_.vocabulary)
      result.top.push_back({other.token, bytes(other.token), other.logprob});
  }
  return result;
}

}  // namespace qwen35
