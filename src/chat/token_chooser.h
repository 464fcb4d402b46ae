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
  const Model& model_;
  const std::size_t window_;  ///< tokens the repetition penalty looks back over
  const bool counts_;         ///< presence or frequency penalty is on
  Sampler sampler_;
  std::optional<Constraint> constraint_;
  std::optional<Constraint> passing_;  ///< what begin() set
  std::optional<NgramBlock> ngrams_;
  std::optional<Logprobs> logprobs_;
  std::vector<TokenId> recent_;     ///< scratch: what the repetition penalty sees
  std::vector<TokenId> generated_;  ///< what the other penalties count
};

}  // namespace qwen35
