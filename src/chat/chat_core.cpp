#include "chat/chat_core.h"

#include <qwen35/error.h>

#include <chrono>
#include <utility>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace qwen35 {
namespace {

Prompt prompt_of(const Turn& turn, double prepare_ms) {
  return {.tokens = turn.tokens, .thinking = turn.thinking, .tools = turn.tools_json, .prepare_ms = prepare_ms};
}

}  // namespace

ChatCore::ChatCore(ModelLoader loader) : loader_(std::move(loader)) { reload(); }

ChatCore::~ChatCore() {
  if (const auto active = active_.lock()) active->discard();
}

std::shared_ptr<ReplyStream::Engine> ChatCore::start(std::string_view prompt, const GenerateOptions& options) {
  return start_with(prompt, options);
}

std::shared_ptr<ReplyStream::Engine> ChatCore::start(std::span<const Message> messages,
                                                     const GenerateOptions& options) {
  return start_with(messages, options);
}

template <typename Input>
std::shared_ptr<ReplyStream::Engine> ChatCore::start_with(const Input& input, const GenerateOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  end_active();
  if (!is_loaded()) {
    throw Error(ErrorCode::not_loaded, "the model \"" + info_.name + "\" is unloaded; call reload() first");
  }
  cancelled_.store(false, std::memory_order_relaxed);
  Turn turn = conversation_.next_turn(model_->tokenizer, input, options);
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

void ChatCore::set_messages(std::vector<Message> messages) {
  end_active();
  conversation_.set_messages(std::move(messages));
}

void ChatCore::reset() {
  end_active();
  conversation_.clear();
}

void ChatCore::unload() {
  end_active();
  session_.reset();
  model_.reset();
#if defined(__GLIBC__)
  malloc_trim(0);  // freed memory would otherwise stay with the process
#endif
}

void ChatCore::reload() {
  if (is_loaded()) return;
  std::unique_ptr<Model> model = loader_();
  session_ = std::make_unique<Session>(*model->backend);
  info_ = model->info;
  model_ = std::move(model);
}

std::size_t ChatCore::memory_bytes() const {
  return is_loaded() ? model_->memory_bytes() + session_->memory_bytes() : 0;
}

void ChatCore::end_active() {
  if (const auto active = active_.lock()) active->finish();
  active_.reset();
}

ReplyStream::Engine::Engine(ChatCore& core, Turn turn, double prepare_ms, const GenerateOptions& options)
    : core_(&core),
      turn_(std::move(turn)),
      generation_(*core.model_, *core.session_, prompt_of(turn_, prepare_ms), options, core.cancelled_) {}

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

void ReplyStream::Engine::commit() {
  const Reply& reply = generation_.reply();
  Reply kept = reply;
  core_->conversation_.commit(
      std::move(turn_),
      {.role = "assistant", .content = reply.text, .thinking = reply.thinking, .tool_calls = reply.tool_calls},
      std::move(generation_.tokens()), std::move(generation_.closing()));
  core_->last_reply_ = std::move(kept);
  core_ = nullptr;
}

}  // namespace qwen35
