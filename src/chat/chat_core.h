#pragma once

#include <qwen35/chat.h>

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "chat/conversation.h"
#include "chat/generation.h"
#include "chat/model.h"
#include "chat/session.h"
#include "chat/shared_model.h"

namespace qwen35 {

/// What a Chat is made of: a model that can be unloaded, its session, the conversation, and the reply in progress.
class ChatCore {
 public:
  explicit ChatCore(std::shared_ptr<SharedModel> shared);
  /// `conversation` must remember its replies where those of `shared` are.
  ChatCore(std::shared_ptr<SharedModel> shared, Conversation conversation);
  ChatCore(const ChatCore&) = delete;
  ChatCore& operator=(const ChatCore&) = delete;
  ~ChatCore();

  /// Begins a reply; computes nothing yet. A reply still in progress is ended first.
  std::shared_ptr<ReplyStream::Engine> start(std::string_view prompt, const GenerateOptions& options);
  std::shared_ptr<ReplyStream::Engine> start(std::span<const Message> messages, const GenerateOptions& options);
  /// Begins the last reply anew.
  std::shared_ptr<ReplyStream::Engine> restart(const GenerateOptions& options);
  /// Computes a whole reply. `on_piece` may be empty.
  static Reply run(std::shared_ptr<ReplyStream::Engine> reply, const Chat::OnPiece& on_piece);
  /// Computes what follows `tokens`, which are no chat; see Chat::complete.
  Reply complete(std::vector<TokenId> tokens, const GenerateOptions& options, const Chat::OnPiece& on_piece);
  void cancel() noexcept { cancelled_.store(true, std::memory_order_relaxed); }

  bool clear_cancel() noexcept { return cancelled_.exchange(false, std::memory_order_relaxed); }

  void truncate_reply(std::string_view heard);
  void truncate_reply(std::size_t answer_tokens);
  std::size_t prefill(std::string_view partial_prompt, const GenerateOptions& options);
  /// The model and its checkpoints, the present state among them, for another conversation.
  std::shared_ptr<SharedModel> share();
  void save_session(const std::filesystem::path& file);
  void load_session(const std::filesystem::path& file);

  [[nodiscard]] const Conversation& conversation() const { return conversation_; }
  [[nodiscard]] const Reply& last_reply() const { return last_reply_; }
  /// Throws not_loaded.
  [[nodiscard]] const Tokenizer& tokenizer() const;
  [[nodiscard]] std::size_t count_tokens(std::span<const Message> messages, const GenerateOptions& options) const;
  void set_messages(std::vector<Message> messages);
  void set_tools(std::string tools);
  void reset();

  void unload(const UnloadOptions& options);
  void reload();
  void release_state();
  [[nodiscard]] bool is_loaded() const { return model_ != nullptr; }
  [[nodiscard]] std::size_t memory_bytes() const;
  [[nodiscard]] const ModelInfo& info() const { return info_; }

 private:
  friend class ReplyStream::Engine;
  template <typename MakeTurn>
  std::shared_ptr<ReplyStream::Engine> start_with(const MakeTurn& make_turn, const GenerateOptions& options);
  void end_active();
  void require_loaded() const;
  Session& session();

  std::shared_ptr<SharedModel> shared_;
  std::shared_ptr<Model> model_;      ///< null: unloaded
  std::unique_ptr<Session> session_;  ///< null until something is computed; freed before the model
  ModelInfo info_;
  Conversation conversation_;
  Reply last_reply_;
  std::weak_ptr<ReplyStream::Engine> active_;
  std::atomic<bool> cancelled_{false};
  static_assert(std::atomic<bool>::is_always_lock_free, "cancel() must be safe in a signal handler");
};

/// A reply in progress and the turn it belongs to. The conversation changes once, when the reply has ended.
class ReplyStream::Engine {
 public:
  Engine(ChatCore& core, Turn turn, double prepare_ms, const GenerateOptions& options);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine() { discard(); }

  /// The next piece; false: there is none. After an exception the turn is dropped.
  bool advance(std::string& piece);
  /// Ends the reply here and keeps it. Nothing when it has ended.
  void finish();
  /// Forgets the turn: the conversation stays as it was.
  void discard() noexcept;
  /// After the end.
  [[nodiscard]] const Reply& reply() const { return generation_.reply(); }

 private:
  void commit();

  ChatCore* core_;  ///< null: committed or discarded
  Turn turn_;
  Generation generation_;
};

/// Builds a Chat from parts, for from_pretrained() and for tests with doubles.
struct ChatFactory {
  static Chat make(ModelLoader loader, std::size_t session_memory = LoadOptions{}.session_memory);
};

}  // namespace qwen35
