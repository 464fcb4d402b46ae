#include <qwen35/chat.h>

#include <utility>

#include "chat/chat_core.h"
#include "chat/model_locator.h"
#include "text/utf8.h"

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
    case FinishReason::loop:
      return "loop";
  }
  return "unknown";
}

struct Chat::Impl : ChatCore {
  using ChatCore::ChatCore;
};

Chat ChatFactory::make(ModelLoader loader, std::size_t session_memory) {
  return Chat(std::make_shared<Chat::Impl>(std::make_shared<SharedModel>(std::move(loader), session_memory)));
}

Chat Chat::from_pretrained(const std::string& model, const LoadOptions& options) {
  return ChatFactory::make([folder = resolve_model(model, options), options] { return load_model(folder, options); },
                           options.session_memory);
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

std::string Chat::regenerate(const GenerateOptions& options) { return impl().run(impl().restart(options), {}).text; }

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

Reply Chat::complete(std::string_view text, const GenerateOptions& options, const OnPiece& on_piece) {
  return impl().complete(tokenize(text), options, on_piece);
}

Reply Chat::complete(std::span<const std::int32_t> tokens, const GenerateOptions& options, const OnPiece& on_piece) {
  return impl().complete({tokens.begin(), tokens.end()}, options, on_piece);
}

std::vector<std::int32_t> Chat::tokenize(std::string_view text, bool control_tokens) const {
  const Tokenizer& tokenizer = impl().tokenizer();
  return control_tokens ? tokenizer.encode_with_special(text) : tokenizer.encode(text);
}

std::string Chat::detokenize(std::span<const std::int32_t> tokens) const {
  return to_valid_utf8(impl().tokenizer().decode(tokens));
}

std::size_t Chat::count_tokens(std::span<const Message> messages, const GenerateOptions& options) const {
  return impl().count_tokens(messages, options);
}

const Reply& Chat::last_reply() const { return impl().last_reply(); }

void Chat::cancel() noexcept {
  if (impl_ != nullptr) impl_->cancel();
}

bool Chat::clear_cancel() noexcept { return impl_ != nullptr && impl_->clear_cancel(); }

void Chat::truncate_reply(std::string_view heard) { impl().truncate_reply(heard); }
void Chat::truncate_reply(std::size_t answer_tokens) { impl().truncate_reply(answer_tokens); }

std::size_t Chat::prefill(std::string_view partial_prompt, const GenerateOptions& options) {
  return impl().prefill(partial_prompt, options);
}

void Chat::set_tools(std::string tools) { impl().set_tools(std::move(tools)); }

Chat Chat::fork() {
  auto shared = impl().share();
  return Chat(std::make_shared<Impl>(std::move(shared), impl().conversation()));
}

void Chat::release_state() { impl().release_state(); }

void Chat::save_session(const std::filesystem::path& file) { impl().save_session(file); }
void Chat::load_session(const std::filesystem::path& file) { impl().load_session(file); }

const std::vector<Message>& Chat::messages() const { return impl().conversation().messages(); }
void Chat::set_messages(std::vector<Message> messages) { impl().set_messages(std::move(messages)); }
void Chat::reset_conversation() { impl().reset(); }

void Chat::unload(const UnloadOptions& options) { impl().unload(options); }
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
