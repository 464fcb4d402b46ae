#pragma once

#include <qwen35/chat.h>
#include <qwen35/options.h>

#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/token.h"
#include "chat/model.h"
#include "sampling/logprobs.h"
#include "sampling/ngram_block.h"
#include "sampling/sampler.h"

namespace qwen35 {

/// From logits to the next token of a reply: what is barred, then the sampler. One object serves one reply; the model
/// must outlive it.
class TokenChooser {
 public:
  /// Throws invalid_argument naming the option.
  TokenChooser(Model& model, const GenerateOptions& options);

  /// Where in the reply the token would stand.
  struct Place {
    bool in_answer = false;  ///< not in the thinking
    bool may_think = true;   ///< <think> may come
    bool may_end = true;     ///< the end of the turn may come
    bool may_call = true;    ///< <tool_call> may come
    std::size_t room = 0;    ///< tokens of text that the answer may still take, this one included
  };

  /// The next token. `logits` is scratch afterwards; `tokens`: everything fed and sampled so far, which the repetition
  /// penalty looks back over.
  TokenId choose(std::span<float> logits, std::span<const TokenId> tokens, const Place& place);
  /// How this reply is sampled, with nothing of its tokens yet.
  [[nodiscard]] SampleRequest request() const;
  /// What a backend needs to choose() by itself, without the logits: the token behind `tokens`, then those behind each
  /// of `guesses`, as if it and all before it had been taken. `places`: theirs, one more than there are guesses. Empty
  /// when logits are needed here: for the form that the answer follows, or to report on them. Stays this object's, and
  /// valid until the next call of it.
  std::span<SampleRequest> requests(std::span<const TokenId> tokens, std::span<const TokenId> guesses,
                                    std::span<const Place> places);
  /// Whether one of the requests() is what would be asked for behind `tokens` now: guesses that turned out right may
  /// still have led elsewhere than was foreseen. True for the first until a token is taken.
  [[nodiscard]] bool stands(std::size_t request, std::span<const TokenId> tokens, const Place& place);
  /// The next token, from one of the requests() that was answered. They are taken one after the other, as they were
  /// asked for. Throws as choose() does.
  TokenId chosen(std::size_t request) { return sampler_.take(requests_.at(request)); }
  /// The reply has this token, whoever chose it.
  void take(TokenId token, const Place& place);
  /// From here on the answer follows `form`, until that must end; then it is free again. Not for a constrained one.
  void begin(Constraint form) { passing_ = std::move(form); }
  /// The answer follows a form (GenerateOptions::json_schema and its like).
  [[nodiscard]] bool constrained() const { return constraint_.has_value(); }
  /// It does, and is whole: nothing may follow.
  [[nodiscard]] bool complete() const { return constraint_ && constraint_->must_end(); }
  /// Tokens that a constrained answer takes at least; 0: not constrained.
  [[nodiscard]] std::size_t least_tokens() const { return constraint_ ? constraint_->ending_size() : 0; }
  /// What the model thought of the token that choose() gave last, if that was asked for.
  [[nodiscard]] std::optional<TokenLogprob> logprob(TokenId token);

 private:
  /// What a choice depends on beside the logits, the options and what penalties count.
  struct Past {
    std::vector<TokenId> barred;  ///< what may not come, whatever its logit
    std::vector<TokenId> recent;  ///< what the repetition penalty sees
  };
  void look_back(std::span<const TokenId> tokens, const Place& place, Past& past);
  [[nodiscard]] bool needs_logits(const Place& place) const;
  [[nodiscard]] bool counted(TokenId token) const;

  const Model& model_;
  const std::size_t window_;  ///< tokens the repetition penalty looks back over
  const bool counts_;         ///< presence or frequency penalty is on
  Sampler sampler_;
  std::optional<Constraint> constraint_;
  std::optional<Constraint> passing_;  ///< what begin() set
  std::optional<NgramBlock> ngrams_;
  std::optional<Logprobs> logprobs_;
  std::vector<TokenId> generated_;  ///< what the other penalties count
  Past past_;                       ///< scratch
  std::vector<SampleRequest> requests_;
  std::vector<Past> pasts_;               ///< of requests_, at least as many
  std::vector<TokenId> asked_generated_;  ///< what requests_ count: generated_, then guesses
  std::vector<TokenId> text_;             ///< scratch: the last tokens, then guesses
};

}  // namespace qwen35
