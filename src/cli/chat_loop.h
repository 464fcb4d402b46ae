#pragma once

#include <qwen35/chat.h>

#include <functional>
#include <iosfwd>
#include <string>

#include "cli/conversation_files.h"

namespace qwen35::cli {

/// The conversation on a terminal: prompt, streamed answers, /commands. Returns the exit code.
class ChatTerminal {
 public:
  /// `session` is saved when the user leaves.
  ChatTerminal(Chat& chat, GenerateOptions options, StoredSession& session);
  int run();

  /// The commands with one line each, for /help and --help.
  static std::string help();

 private:
  using MakeReply = std::function<Reply(const Chat::OnPiece& on_piece)>;
  /// Shows a reply as it is made. What `make` throws passes through.
  void answer(const MakeReply& make);
  void answer(const std::string& prompt);
  void regenerate();
  void undo();
  /// False: the session could not be saved, which is said; the second time the user leaves without it.
  bool leave();
  /// A line that begins with '/'. False: leave.
  bool command(const std::string& line);
  void set_system(const std::string& text);
  void set_thinking(const std::string& text);
  void show_stats() const;
  void save(std::string arguments);
  void load(const std::string& file);
  void say(const std::string& text) const;

  Chat& chat_;
  GenerateOptions options_;
  StoredSession& session_;
  bool colour_;
  bool leaving_ = false;  ///< the user asked to, and nothing was said since
  bool failed_ = false;   ///< and left without the session being saved
};

/// The conversation through a pipe: each line of `in` is a turn, each answer goes to standard output with a newline
/// after it, and nothing else does. Blank lines are skipped; what must not go unseen (an answer that went in circles,
/// messages left out) is said on standard error. Ctrl-C should end `in`. Returns the exit code.
int run_chat_pipe(Chat& chat, const GenerateOptions& options, std::istream& in);

}  // namespace qwen35::cli
