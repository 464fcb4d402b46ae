#include "chat/chat_core.h"

#include <qwen35/error.h>

#include <chrono>
#include <utility>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "chat/checkpoint_marks.h"
#include "chat/session_file.h"

namespace qwen35 {
namespace {

/// Tokens of an unfinished turn between two checkpoints: what a corrected word costs at most.
constexpr std::size_t kPartialSpacing = 4;

Prompt prompt_of(const Turn& turn, double prepare_ms) {
  return {.tokens = turn.tokens,
          .thinking = turn.thinking,
          .document = false,
          .tools = turn.tools_json,
          .prepare_ms = prepare_ms};
}

}  // namespace

ChatCore::ChatCore(std::shared_ptr<SharedModel> shared) : ChatCore(shared, Conversation(shared->replies())) {}

ChatCore::ChatCore(std::shared_ptr<SharedModel> shared, Conversation conversation)
    : shared_(std::move(shared)), conversation_(std::move(conversation)) {
  reload();
}

ChatCore::~ChatCore() {
  if (const auto active = active_.lock()) active->discard();
}

std::shared_ptr<ReplyStream::Engine> ChatCore::start(std::string_view prompt, const GenerateOptions& options) {
  return start_with([&] { return conversation_.next_turn(model_->tokenizer, prompt, options, model_->info.context); },
                    options);
}

std::shared_ptr<ReplyStream::Engine> ChatCore::start(std::span<const Message> messages,
                                                     const GenerateOptions& options) {
  return start_with([&] { return conversation_.next_turn(model_->tokenizer, messages, options, model_->info.context); },
                    options);
}

std::shared_ptr<ReplyStream::Engine> ChatCore::restart(const GenerateOptions& options) {
  return start_with([&] { return conversation_.same_turn(model_->tokenizer, options, model_->info.context); }, options);
}

template <typename MakeTurn>
std::shared_ptr<ReplyStream::Engine> ChatCore::start_with(const MakeTurn& make_turn, const GenerateOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  end_active();
  require_loaded();
  Turn turn = make_turn();
  const std::chrono::duration<double, std::milli> prepared = std::chrono::steady_clock::now() - begin;
  auto reply = std::make_shared<ReplyStream::Engine>(*this, std::move(turn), prepared.count(), options);
  active_ = reply;
  return reply;
}

Reply ChatCore::run(std::shared_ptr<ReplyStream::Engine> reply, const Chat::OnPiece& on_piece) {
  // An exception, the callback's own included, drops `reply` unfinished and with it the turn.
  std::string piece;
  while (reply->advance(piece)) {
    if (on_piece && !on_piece(piece)) {
      reply->finish();
      break;
    }
  }
  return reply->reply();
}

Reply ChatCore::complete(std::vector<TokenId> tokens, const GenerateOptions& options, const Chat::OnPiece& on_piece) {
  end_active();
  require_loaded();
  if (tokens.empty()) {
    throw Error(ErrorCode::invalid_argument, "the prompt is empty; expected at least one token to go on from");
  }
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= 0 && static_cast<std::size_t>(tokens[i]) < model_->vocabulary) continue;
    throw Error(ErrorCode::invalid_argument, "token " + std::to_string(i) + " of the prompt is " +
                                                 std::to_string(tokens[i]) + "; the vocabulary has tokens 0 to " +
                                                 std::to_string(model_->vocabulary - 1));
  }
  GenerateOptions plain = options;
  plain.tool_choice = {};
  plain.max_tool_calls = 0;
  Prompt prompt{.tokens = std::move(tokens), .thinking = false, .document = true, .tools = nullptr, .prepare_ms = 0};
  Generation generation(*model_, session(), std::move(prompt), plain, Cancellation(cancelled_, options.cancel));
  try {
    std::string piece;
    while (generation.advance(piece)) {
      if (on_piece && !on_piece(piece)) {
        generation.stop();
        break;
      }
    }
  } catch (...) {
    session_->rest();
    throw;
  }
  clear_cancel();
  session_->checkpoint();
  return std::move(generation.reply());
}

const Tokenizer& ChatCore::tokenizer() const {
  require_loaded();
  return model_->tokenizer;
}

std::size_t ChatCore::count_tokens(std::span<const Message> messages, const GenerateOptions& options) const {
  return conversation_.count_tokens(tokenizer(), messages, options, model_->info.context);
}

void ChatCore::set_messages(std::vector<Message> messages) {
  end_active();
  conversation_.set_messages(std::move(messages));
}

void ChatCore::set_tools(std::string tools) {
  end_active();
  conversation_.set_tools(std::move(tools));
}

void ChatCore::reset() {
  end_active();
  conversation_.clear();
}

void ChatCore::truncate_reply(std::string_view heard) {
  end_active();
  require_loaded();
  conversation_.truncate_reply(model_->tokenizer, heard);
}

void ChatCore::truncate_reply(std::size_t answer_tokens) {
  end_active();
  require_loaded();
  conversation_.truncate_reply(model_->tokenizer, answer_tokens);
}

std::size_t ChatCore::prefill(std::string_view partial_prompt, const GenerateOptions& options) {
  end_active();
  require_loaded();
  const std::vector<TokenId> tokens = conversation_.beginning(model_->tokenizer, partial_prompt, options);
  if (tokens.empty() || tokens.size() >= model_->info.context) return 0;
  // The timeline may be ahead of what is known now; all but the last token of it are then enough.
  Session& session = this->session();
  const std::size_t before = session.align(tokens);
  const std::vector<std::size_t> marks = checkpoint_marks(tokens, before, model_->control.im_start);
  const Cancellation cancelled(cancelled_, options.cancel);
  const bool whole = session.feed(std::span(tokens).subspan(before), cancelled, marks);
  session.rest();
  if (!whole) return 0;
  // The next transcript may take back any of these words.
  if (session.since_checkpoint() >= kPartialSpacing) session.checkpoint();
  return tokens.size() - before;
}

std::shared_ptr<SharedModel> ChatCore::share() {
  end_active();
  require_loaded();
  if (session_ != nullptr) session_->checkpoint();
  return shared_;
}

void ChatCore::save_session(const std::filesystem::path& file) {
  end_active();
  require_loaded();
  const std::span<const TokenId> tokens = SessionFile::tokens(conversation_);
  std::unique_ptr<Snapshot> snapshot;
  if (!tokens.empty()) {
    const std::size_t kept = session().align(tokens);
    session_->feed(tokens.subspan(kept), {});
    session_->rest();
    snapshot = session_->snapshot();
  }
  SessionFile::save(file, *model_, conversation_, snapshot.get());
}

void ChatCore::load_session(const std::filesystem::path& file) {
  end_active();
  require_loaded();
  SessionFile::Loaded loaded = SessionFile::load(file, *model_, shared_->replies());
  if (loaded.snapshot != nullptr) session().take_over(loaded.tokens, loaded.snapshot);
  conversation_ = std::move(loaded.conversation);
}

void ChatCore::unload(const UnloadOptions& options) {
  end_active();
  if (!is_loaded()) return;
  if (options.keep_session > 0 && session_ != nullptr) session_->checkpoint();
  session_.reset();
  model_.reset();
  if (!shared_->in_use()) shared_->checkpoints().shrink_to(options.keep_session);
#if defined(__GLIBC__)
  malloc_trim(0);  // freed memory would otherwise stay with the process
#endif
}

void ChatCore::reload() {
  if (is_loaded()) return;
  std::shared_ptr<Model> model = shared_->acquire();
  info_ = model->info;
  model_ = std::move(model);
}

void ChatCore::release_state() {
  end_active();
  if (session_ == nullptr) return;
  session_->checkpoint();
  session_.reset();
}

/// Made when it is first needed: a conversation that is only listed or waits in a pool holds no state.
Session& ChatCore::session() {
  if (session_ == nullptr)
    session_ = std::make_unique<Session>(*model_->backend, model_->batcher, shared_->checkpoints());
  return *session_;
}

std::size_t ChatCore::memory_bytes() const {
  const std::size_t kept = shared_->checkpoints().memory_bytes();
  const std::size_t state = session_ != nullptr ? session_->memory_bytes() : 0;
  return is_loaded() ? model_->memory_bytes() + state + kept : kept;
}

void ChatCore::end_active() {
  if (const auto active = active_.lock()) active->finish();
  active_.reset();
}

void ChatCore::require_loaded() const {
  if (is_loaded()) return;
  throw Error(ErrorCode::not_loaded, "the model \"" + info_.name + "\" is unloaded; call reload() first");
}

ReplyStream::Engine::Engine(ChatCore& core, Turn turn, double prepare_ms, const GenerateOptions& options)
    : core_(&core),
      turn_(std::move(turn)),
      generation_(*core.model_, core.session(), prompt_of(turn_, prepare_ms), options,
                  Cancellation(core.cancelled_, options.cancel)) {}

bool ReplyStream::Engine::advance(std::string& piece) {
  piece.clear();
  if (core_ == nullptr) return false;
  try {
    const bool has_piece = generation_.advance(piece);
    if (generation_.ended()) commit();
    return has_piece;
  } catch (...) {
    discard();
    throw;
  }
}

void ReplyStream::Engine::finish() {
  if (core_ == nullptr) return;
  try {
    generation_.stop();
    commit();
  } catch (...) {
    discard();
    throw;
  }
}

void ReplyStream::Engine::discard() noexcept {
  if (core_ != nullptr && core_->session_ != nullptr) core_->session_->rest();
  core_ = nullptr;
}

void ReplyStream::Engine::commit() {
  core_->clear_cancel();  // it has stopped this reply, or come too late for it
  core_->session_->checkpoint();
  Reply& reply = generation_.reply();
  reply.dropped_messages = turn_.dropped;
  Reply kept = reply;
  if (reply.finish_reason == FinishReason::cancelled && reply.text.empty() && reply.tool_calls.empty()) {
    // Nothing was said, and an empty reply would teach the model to say nothing.
    core_->conversation_.commit_unanswered(std::move(turn_), std::move(generation_.fed()));
    core_->last_reply_ = std::move(kept);
    core_ = nullptr;
    return;
  }
  core_->conversation_.commit(
      core_->model_->tokenizer, std::move(turn_),
      {.role = "assistant", .content = reply.text, .thinking = reply.thinking, .tool_calls = reply.tool_calls},
      std::move(generation_.fed()));
  if (generation_.stopped_by_string() && kept.tool_calls.empty())
    core_->conversation_.cut_reply_to_text(core_->model_->tokenizer);
  core_->last_reply_ = std::move(kept);
  core_ = nullptr;
}

}  // namespace qwen35
