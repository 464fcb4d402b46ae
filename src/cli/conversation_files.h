#pragma once

#include <qwen35/chat.h>

#include <filesystem>
#include <vector>

namespace qwen35::cli {

/// Writes the conversation of `chat` to `file`: its messages as JSON when the name ends in .json, else the whole
/// session (Chat::save_session), so that nothing is computed twice after loading. `file` then holds all of it or, after
/// an error, what it held before. Throws Error: it cannot be written, exists and `overwrite` is false, or is no regular
/// file.
void save_conversation(Chat& chat, const std::filesystem::path& file, bool overwrite);

/// Goes on with what save_conversation() wrote, in either form. Throws Error; `chat` is then unchanged.
void load_conversation(Chat& chat, const std::filesystem::path& file);

/// The file of `chat --session`: taken up at the start, written at the end.
class StoredSession {
 public:
  /// Loads `file` if it exists; an empty path is no file. Throws Error naming it: also when it could not be written in
  /// the end, which had better be known before an hour of talk. `chat` must outlive this.
  StoredSession(Chat& chat, std::filesystem::path file);

  /// Messages that were there at the start.
  [[nodiscard]] std::size_t loaded() const { return saved_.size(); }
  /// Writes the conversation unless it is what the file holds. Throws Error; the file is then as it was.
  void save();

 private:
  Chat& chat_;
  std::filesystem::path file_;
  std::vector<Message> saved_;  ///< what the file holds
};

}  // namespace qwen35::cli
