#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "chat/conversation.h"
#include "chat/model.h"
#include "chat/reply_memory.h"

namespace qwen35 {

/// A conversation on disk. Little endian:
///
///     8 bytes   "QW35SESS"
///     u32       version, 1
///     u32       0
///     u64 × 3   bytes of the description, of the tokens and of the snapshot (0: none)
///     u64       XXH3 of everything behind this header
///     u64       XXH3 of the 48 bytes before
///     description   JSON: model, fingerprint, snapshot format, messages, tools, closing, reply_begin, answer_begin
///     tokens        int32 each: everything that was fed for the messages
///     snapshot      of the state behind them, as the backend writes it
class SessionFile {
 public:
  static constexpr std::uint32_t kVersion = 1;

  struct Loaded {
    Conversation conversation;
    std::vector<TokenId> tokens;               ///< that the snapshot stands behind
    std::shared_ptr<const Snapshot> snapshot;  ///< null: the conversation was not computed yet
  };

  /// Writes `file` in one step. `snapshot` (or null) stands behind all of the conversation's tokens. Throws bad_file.
  static void save(const std::filesystem::path& file, const Model& model, const Conversation& conversation,
                   const Snapshot* snapshot);
  /// The tokens that a snapshot for save() must stand behind.
  static std::span<const TokenId> tokens(const Conversation& conversation) { return conversation.tokens_; }

  /// Throws not_found, bad_file (cut off, damaged, of another version, nonsense inside) or invalid_argument (of another
  /// model or backend).
  /// `replies`: where the conversation remembers, the replies of the file included.
  static Loaded load(const std::filesystem::path& file, const Model& model,
                     std::shared_ptr<ReplyMemory> replies = std::make_shared<ReplyMemory>());
  /// The same from memory; `name` is for messages.
  static Loaded parse(std::span<const std::byte> bytes, const std::string& name, const Model& model,
                      std::shared_ptr<ReplyMemory> replies = std::make_shared<ReplyMemory>());
  /// A file with this body, of which `description` and `tokens` bytes come first, and the header that goes with it.
  static std::vector<std::byte> with_header(std::span<const std::byte> body, std::size_t description,
                                            std::size_t tokens);

 private:
  static void remember_replies(Conversation& conversation, const Tokenizer& tokenizer);
};

}  // namespace qwen35
