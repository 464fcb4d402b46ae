#include <qwen35/chat.h>

#include <utility>

#include "chat/chat_core.h"
#include "chat/model_locator.h"

namespace qwen35 {

std::string_view to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
    case FinishReason::tool_calls:
      return "tool_calls";
    case FinishReason::cancelled:
      return "cancelled";
  }
  return "unknown";
}

struct Chat::Impl : ChatCore {
  using ChatCore::ChatCore;
};

Chat ChatFactory::make(ModelLoader loader) { return Chat(std::make_shared<Chat::Impl>(std::move(loader))); }

Chat Chat::from_pretrained(const std::string& model, const LoadOptions& options) {
  return ChatFactory::make([folder = resolve_model(model), options] { return load_model(folder, options); });
}

Chat::Chat(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Chat::Chat(Chat&&) noexcept = default;
Chat& Chat::operator=(Chat&&) noexcept = default;
Chat::~Chat() = default;

Chat::Impl& Chat::impl() const {
  if (impl_ == nullptr) throw Error(ErrorCode::not_loaded, "this Chat was moved from; use the one it was moved to");
  return *impl_;
}

std::string Chat::generate(std::string_view prompt, const GenerateOptions& options) {
  return impl().run(impl().start(prompt, options), {}).text;
}

std::string Chat::generate(std::span<const Message> messages, const GenerateOptions& options) {
  return impl().run(impl().start(messages, options), {}).text;
}

ReplyStream Chat::stream(std::string_view prompt, const GenerateOptions& options) {
  return ReplyStream(impl().start(prompt, options));
}

ReplyStream Chat::stream(std::span<const Message> messages, const GenerateOptions& options) {
  return ReplyStream(impl().start(messages, options));
}

Reply Chat::stream(std::string_view prompt, const GenerateOptions& options, const OnPiece& on_piece) {
  return impl().run(impl().start(prompt, options), on_piece);
}

Reply Chat::stream(std::span<const Message> messages, const GenerateOptions& options, const OnPiece& on_piece) {
  return impl().run(impl().start(messages, options), on_piece);
}

const Reply& Chat::last_reply() const { return impl().last_reply(); }

void Chat::cancel() noexcept {
  if (impl_ != nullptr) impl_->cancel();
}

const std::vector<Message>& Chat::messages() const { return impl().conversation().messages(); }
void Chat::set_messages(std::vector<Message> messages) { impl().set_messages(std::move(messages)); }
void Chat::reset_conversation() { impl().reset(); }

void Chat::unload() { impl().unload(); }
void Chat::reload() { impl().reload(); }
bool Chat::is_loaded() const { return impl().is_loaded(); }
std::size_t Chat::memory_footprint() const { return impl().memory_bytes(); }
ModelInfo Chat::info() const { return impl().info(); }

ReplyStream::ReplyStream(std::shared_ptr<Engine> engine) : engine_(std::move(engine)) {}
ReplyStream::ReplyStream(ReplyStream&&) noexcept = default;

ReplyStream& ReplyStream::operator=(ReplyStream&& other) noexcept {
  std::swap(engine_, other.engine_);
  std::swap(piece_, other.piece_);
  return *this;
}

ReplyStream::~ReplyStream() {
  if (engine_ == nullptr) return;
  try {
    engine_->finish();
  } catch (...) {  // out of memory: the engine has dropped the turn, and a destructor must not throw
  }
}

ReplyStream::Iterator ReplyStream::begin() { return advance() ? Iterator(this) : Iterator(); }

bool ReplyStream::advance() { return engine_ != nullptr && engine_->advance(piece_); }

}  // namespace qwen35
