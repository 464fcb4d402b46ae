#include "chat/generation.h"

#include <qwen35/error.h>

#include <algorithm>
#include <span>
#include <utility>

#include "chat/checkpoint_marks.h"

namespace qwen35 {
namespace {

/// Tokens of a reply between two checkpoints: what a barge-in has to compute again at most.
constexpr std::size_t kDecodeSpacing = 64;

std::size_t checked(const char* option, int value, int least) {
  if (value < least) {
    throw Error(ErrorCode::invalid_argument,
                std::string(option) + " is " + std::to_string(value) + "; expected at least " + std::to_string(least));
  }
  return static_cast<std::size_t>(value);
}

}  // namespace

Generation::Generation(Model& model, Session& session, Prompt prompt, const GenerateOptions& options,
                       Cancellation cancelled)
    : model_(model),
      session_(session),
      cancelled_(std::move(cancelled)),
      tools_(std::move(prompt.tools)),
      context_(model.info.context),
      max_tokens_(checked("max_tokens", options.max_tokens, 1)),
      document_(prompt.document),
      allow_empty_(options.allow_empty),
      may_call_(options.tool_choice.kind != ToolChoice::Kind::none),
      max_tool_calls_(checked("max_tool_calls", options.max_tool_calls, 0)),
      on_tool_call_(options.on_tool_call),
      on_thinking_(options.on_thinking),
      on_logprob_(options.on_logprob),
      chooser_(model, options),
      samples_(session.samples(chooser_.request())),
      opening_(call_opening(options, tools_, model.tokenizer, model.grammars)),
      fed_{std::move(prompt.tokens), {}, 0},
      thinking_(prompt.thinking),
      answer_(tools_, StopStrings(options.stop), !document_ && may_call_ && !chooser_.constrained(), !document_),
      worked_ms_(prompt.prepare_ms) {
  const std::size_t max_thinking = checked("max_thinking_tokens", options.max_thinking_tokens, 0);
  if (fed_.tokens.size() >= context_) {
    throw Error(
        ErrorCode::context_limit,
        "the conversation takes " + std::to_string(fed_.tokens.size()) + " tokens and its limit is " +
            std::to_string(context_) +
            ", which leaves no room for a reply; shorten it, reset it, or load the model with a larger context");
  }
  // Near the limit the answer comes first: thinking gets at most what the answer and the closing tag leave.
  const std::size_t least = chooser_.least_tokens();
  const std::size_t reserve = std::max(std::min(max_tokens_, room() / 2), least) + model_.control.close_thinking.size();
  if (least > max_tokens_) {
    throw Error(ErrorCode::invalid_argument, "max_tokens is " + std::to_string(max_tokens_) +
                                                 " but the shortest answer of the form asked for takes " +
                                                 std::to_string(least) + " tokens; allow at least that many");
  }
  if (least > 0 && reserve > room()) {
    throw Error(ErrorCode::context_limit, "the conversation leaves " + std::to_string(room()) +
                                              " tokens but the shortest answer of the form asked for takes " +
                                              std::to_string(least) + "; shorten it, or reset it");
  }
  if (options.enable_thinking && !document_)
    thinking_budget_ = std::min(max_thinking, room() - std::min(room(), reserve));
  reply_.metrics.prompt_tokens = fed_.tokens.size();
  if (!thinking_) fed_.answer_begin = fed_.tokens.size();
  if (options.loop_guard) loop_guard_.emplace();
  if (options.lookup && session_.max_verify() > 1) lookup_.emplace();
}

bool Generation::advance(std::string& piece) {
  piece.clear();
  resumed_ = std::chrono::steady_clock::now();
  while (!ended_) {
    if (!compute()) {
      end(FinishReason::cancelled);
      break;
    }
    if (!ended_) {
      if (opening_ && !thinking_) {
        open_call();
      } else {
        take(choose());
      }
    }
    if (ended_) break;
    piece = answer_.take();
    if (!piece.empty()) break;
  }
  if (ended_) piece = std::exchange(rest_, {});
  if (!piece.empty()) note_text();
  worked_ms_ = elapsed_ms();
  reply_.metrics.total_ms = worked_ms_;
  return !piece.empty();
}

void Generation::stop() {
  if (ended_) return;
  resumed_ = std::chrono::steady_clock::now();
  end(FinishReason::cancelled);
  rest_.clear();
}

/// Brings the session to where it has the logits of the next token. False: cancelled.
bool Generation::compute() {
  if (cancelled_.requested()) return false;
  if (started_) return decode();
  started_ = true;
  return prefill() && !cancelled_.requested();
}

bool Generation::prefill() {
  if (thinking_ && thinking_budget_ == 0) close_thinking();
  if (ended_) return true;
  reply_.metrics.reused_tokens = session_.align(fed_.tokens);
  const double before = elapsed_ms();
  const std::vector<std::size_t> marks = checkpoint_marks(fed_.tokens, session_.position(), model_.control.im_start);
  if (!session_.feed(std::span(fed_.tokens).subspan(session_.position()), cancelled_, marks)) return false;
  reply_.metrics.prefill_ms = elapsed_ms() - before;
  // The sampler writes into the logits: those of a checkpoint are copied before it, the state, which takes longer, when
  // the first token is out.
  const std::span<const float> logits = session_.logits();
  prompt_logits_ = std::make_shared<const std::vector<float>>(logits.begin(), logits.end());
  return true;
}

bool Generation::decode() {
  // A guess that turned out right has its logits already, or the token behind it; unless that was asked for otherwise
  // than it would be now, then the guess is fed again.
  if (row_ + 1 < draft_.size() && fed_.tokens.size() == session_.position() + row_ + 2 &&
      fed_.tokens.back() == draft_[row_ + 1] && (!draft_chosen_ || chooser_.stands(row_ + 1, fed_.tokens, place()))) {
    ++row_;
    ++reply_.metrics.accepted_tokens;
    chosen_ = draft_chosen_;
    return true;
  }
  settle();
  if (prompt_logits_ != nullptr || session_.since_checkpoint() >= kDecodeSpacing)
    session_.checkpoint(std::exchange(prompt_logits_, nullptr));

  const auto pending = std::span<const TokenId>(fed_.tokens).subspan(session_.position());
  // A single token takes a few milliseconds: a cancel waits for it rather than lose the state.
  if (pending.size() > 1) return feed(pending, cancelled_);
  if (lookup_ && !session_.crowded()) {
    const std::size_t most = std::min(session_.max_verify(), room()) - 1;
    const std::span<const TokenId> guesses = lookup_->guess(fed_.tokens, most);
    if (!guesses.empty()) {
      draft_.assign(pending.begin(), pending.end());
      draft_.insert(draft_.end(), guesses.begin(), guesses.end());
      row_ = 0;
      reply_.metrics.drafted_tokens += guesses.size();
      const std::span<SampleRequest> requests = ask(guesses);
      const bool whole = session_.verify(draft_, {}, requests);
      draft_chosen_ = chosen_ = whole && !requests.empty();
      return whole;
    }
  }
  return feed(pending, {});
}

bool Generation::feed(std::span<const TokenId> pending, const Cancellation& cancelled) {
  const std::span<SampleRequest> request = pending.empty() ? std::span<SampleRequest>() : ask({});
  if (request.empty()) return session_.feed(pending, cancelled);
  chosen_ = session_.feed(pending, cancelled, {}, &request.front());
  return chosen_;
}

/// Where nothing but the choice of the next tokens wants the logits, the backend chooses if it can, and keeps them:
/// what it is to choose behind what is fed, and behind each of `guesses`. Else empty.
std::span<SampleRequest> Generation::ask(std::span<const TokenId> guesses) {
  const bool written = opening_ && !thinking_;  // the next token is not drawn
  if (!samples_ || written) return {};
  places_.assign(1, place());
  Standing standing{thinking_, thinking_budget_, has_answer_};
  for (const TokenId guess : guesses) {
    standing = behind(standing, guess);
    places_.push_back(place(standing));
  }
  const std::span<SampleRequest> requests = chooser_.requests(fed_.tokens, guesses, places_);
  const auto can = [this](const SampleRequest& request) { return session_.samples(request); };
  return std::all_of(requests.begin(), requests.end(), can) ? requests : std::span<SampleRequest>();
}

/// Where a reply stands behind a guess, as far as that token alone tells.
Generation::Standing Generation::behind(Standing standing, TokenId guess) const {
  const ControlTokens& control = model_.control;
  if (standing.thinking) {
    if (standing.thinking_budget > 0) --standing.thinking_budget;
    standing.thinking = guess != control.think_end;
  } else if (guess == control.think && !document_) {
    if (standing.thinking_budget > 0) --standing.thinking_budget;
    standing.thinking = true;
  } else if (is_text(guess)) {
    standing.has_answer = standing.has_answer || !trimmed(model_.tokenizer.token_bytes(guess)).empty();
  }
  return standing;
}

/// Leaves a verifying pass: what was right of it stays.
void Generation::settle() {
  if (draft_.empty()) return;
  session_.keep(row_ + 1);
  lookup_->learn(draft_.size() - 1, row_);
  draft_.clear();
  draft_chosen_ = false;
  row_ = 0;
}

TokenId Generation::choose() {
  if (std::exchange(chosen_, false)) return chooser_.chosen(row_);
  session_.spoil_logits();
  return chooser_.choose(session_.logits(row_).first(model_.vocabulary), fed_.tokens, place());
}

/// Where the next token stands.
TokenChooser::Place Generation::place() const { return place({thinking_, thinking_budget_, has_answer_}); }

TokenChooser::Place Generation::place(const Standing& standing) const {
  const bool thinking = standing.thinking;
  // With nothing left to think with, the tag would only be closed again.
  return {.in_answer = !thinking,
          .may_think = document_ || thinking || (standing.thinking_budget > 0 && !chooser_.constrained()),
          .may_end = thinking || ((standing.has_answer || allow_empty_) && !in_first_call_),
          .may_call = may_call_ || thinking,
          .room = closing_form_ ? chooser_.least_tokens()
                                : std::min(max_tokens_ - std::min(max_tokens_, reply_.metrics.reply_tokens), room())};
}

void Generation::take(TokenId token) {
  last_token_ms_ = elapsed_ms();
  if (++sampled_ == 1) {
    first_token_ms_ = last_token_ms_;
    reply_.metrics.time_to_first_token_ms = first_token_ms_;
  }
  chooser_.take(token, place());
  const bool thought = thinking_;
  if (thinking_) {
    take_thought(token);
  } else {
    if (auto logprob = chooser_.logprob(token); logprob && !ends_turn(token)) {
      reply_.logprobs.push_back(std::move(*logprob));
      if (on_logprob_) on_logprob_(reply_.logprobs.back());
    }
    take_answer(token);
  }
  if (loop_guard_ && !ended_) watch_for_loops(token, thought);
  if (!ended_ && room() == 0) end(FinishReason::length);
}

/// A thought that goes in circles is over; an answer that does ends the reply.
void Generation::watch_for_loops(TokenId token, bool thought) {
  if (thought != thinking_) {
    loop_guard_.emplace();
  } else if (loop_guard_->push(token) != LoopGuard::Loop::none) {
    if (thinking_) {
      close_thinking();
      loop_guard_.emplace();
    } else if (chooser_.constrained()) {
      closing_form_ = true;  // by the shortest way to its end
    } else {
      end(FinishReason::loop);
    }
  }
}

void Generation::take_thought(TokenId token) {
  ++reply_.metrics.thinking_tokens;
  if (thinking_budget_ > 0) --thinking_budget_;
  if (ends_turn(token)) {  // it forgot to answer: the end of the turn is not fed, the answer is asked for
    close_thinking();
    return;
  }
  fed_.tokens.push_back(token);
  if (token == model_.control.think_end) {
    thinking_ = false;
    thought_.close();
    tell_thought();
    // A form or a call begins right here, so what the model would write first is written for it.
    if (chooser_.constrained() || opening_) {
      const std::vector<TokenId>& blank = model_.control.blank_line;
      if (room() > blank.size()) fed_.tokens.insert(fed_.tokens.end(), blank.begin(), blank.end());
    }
    fed_.answer_begin = fed_.tokens.size();
    if (opening_) open_call();
    return;
  }
  if (!model_.tokenizer.is_added(token)) {
    thought_.push(model_.tokenizer.token_bytes(token));
    tell_thought();
  }
  if (thinking_budget_ == 0) close_thinking();
}

void Generation::take_answer(TokenId token) {
  const ControlTokens& control = model_.control;
  if (token == control.think && !document_) {
    thinking_ = true;
    fed_.tokens.push_back(token);
    ++reply_.metrics.thinking_tokens;
    if (--thinking_budget_ == 0) close_thinking();
    return;
  }
  ++reply_.metrics.reply_tokens;
  if (ends_turn(token)) {
    if (token == control.im_end) fed_.tokens.push_back(token);
    end(FinishReason::stop);
    return;
  }
  fed_.tokens.push_back(token);
  const std::size_t calls = answer_.tool_calls().size();
  if (is_text(token)) {
    const std::string_view bytes = model_.tokenizer.token_bytes(token);
    has_answer_ = has_answer_ || !trimmed(bytes).empty();
    answer_.push(bytes);
    for (const ToolCall& call : answer_.take_calls()) {
      if (on_tool_call_) on_tool_call_(call);
    }
    if (answer_.stopped_by()) {
      end(FinishReason::stop);
      return;
    }
    in_first_call_ = in_first_call_ && answer_.tool_calls().empty() && answer_.in_call();
    if (max_tool_calls_ > 0 && calls < max_tool_calls_ && answer_.tool_calls().size() >= max_tool_calls_) {
      end_after_call();
      return;
    }
  }
  if (chooser_.complete() || (closing_form_ && chooser_.least_tokens() == 0)) {
    end(closing_form_ ? FinishReason::loop : FinishReason::stop);
  } else if (reply_.metrics.reply_tokens == max_tokens_) {
    end(FinishReason::length);
  }
}

/// Feeds </think> in the model's place, with the newlines it puts around it.
void Generation::close_thinking() {
  const std::vector<TokenId>& close = thinking_close();
  if (close.size() >= room()) {  // not even one token of an answer would follow
    end(FinishReason::length);
    return;
  }
  fed_.tokens.insert(fed_.tokens.end(), close.begin(), close.end());
  reply_.metrics.thinking_tokens += close.size();
  answer_.push("\n\n");
  thinking_ = false;
  thought_.close();
  tell_thought();
  fed_.answer_begin = fed_.tokens.size();
  if (opening_) open_call();
}

/// Writes the beginning of the call that was asked for. None of it has logits, so none is drawn.
void Generation::open_call() {
  CallOpening opening = std::move(*opening_);
  opening_.reset();
  for (const TokenId token : opening.tokens) {
    chooser_.take(token, place());
    take_answer(token);
    if (!ended_ && room() == 0) end(FinishReason::length);
    if (ended_) return;
  }
  in_first_call_ = true;
  if (opening.form) chooser_.begin(std::move(*opening.form));
}

/// The last call that may be made is whole: what would close its markup is left for the next turn to feed.
void Generation::end_after_call() {
  if (fed_.tokens.back() != model_.control.tool_call_end) {
    const bool new_line = model_.tokenizer.token_bytes(fed_.tokens.back()).ends_with('\n');
    fed_.closing = model_.tokenizer.encode_with_special(new_line ? "</tool_call>" : "\n</tool_call>");
  }
  end(FinishReason::stop);
}

void Generation::tell_thought() {
  if (!on_thinking_) return;
  if (const std::string piece = thought_.take(); !piece.empty()) on_thinking_(piece);
}

void Generation::end(FinishReason reason) {
  ended_ = true;
  settle();
  session_.rest();
  if (started_ && prompt_logits_ != nullptr && session_.position() == reply_.metrics.prompt_tokens)
    session_.checkpoint(std::exchange(prompt_logits_, nullptr));
  if (thinking_) {
    fed_.closing = thinking_close();
    fed_.answer_begin = fed_.tokens.size();
  }
  if (thinking_ || fed_.tokens.back() != model_.control.im_end) fed_.closing.push_back(model_.control.im_end);

  thought_.close();
  tell_thought();
  reply_.thinking = thought_.text();
  rest_ = answer_.finish();
  reply_.text = answer_.text();
  reply_.tool_calls = answer_.tool_calls();
  if (on_tool_call_) {
    for (const ToolCall& call : answer_.take_calls()) on_tool_call_(call);
  }
  if (answer_.unfinished_call()) reply_.truncated_tool_call = answer_.unfinished_call()->text;
  const bool calls = reason == FinishReason::stop && !reply_.tool_calls.empty();
  reply_.finish_reason = calls ? FinishReason::tool_calls : reason;

  Metrics& metrics = reply_.metrics;
  const double decoding_ms = last_token_ms_ - first_token_ms_;
  if (sampled_ > 1 && decoding_ms > 0) {
    metrics.decode_tokens_per_second = static_cast<double>(sampled_ - 1) * 1000.0 / decoding_ms;
  }
  metrics.total_ms = elapsed_ms();
}

void Generation::note_text() {
  if (reply_.metrics.time_to_first_text_ms == 0) reply_.metrics.time_to_first_text_ms = elapsed_ms();
}

const std::vector<TokenId>& Generation::thinking_close() const {
  const bool new_line = model_.tokenizer.token_bytes(fed_.tokens.back()).ends_with('\n');
  return new_line ? model_.control.close_thinking_line : model_.control.close_thinking;
}

/// Of the answer. A document shows tags too, but not what only shapes a chat.
bool Generation::is_text(TokenId token) const {
  const ControlTokens& control = model_.control;
  if (!model_.tokenizer.is_added(token) || token == control.tool_call || token == control.tool_call_end) return true;
  return document_ && !model_.tokenizer.decode(std::span(&token, 1), true).empty();
}

bool Generation::ends_turn(TokenId token) const {
  return token == model_.control.im_end || token == model_.control.endoftext;
}

double Generation::elapsed_ms() const {
  return worked_ms_ + std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - resumed_).count();
}

}  // namespace qwen35
