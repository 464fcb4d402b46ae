#pragma once

#include <qwen35/chat.h>

#include <iosfwd>
#include <string>

namespace qwen35::cli {

/// The conversation on a terminal: prompt, streamed answers, /commands. Returns the exit code.
class ChatTerminal {
 public:
  ChatTerminal(Chat& chat, GenerateOptions options);
  int run();

  /// The commands with one line each, for /help and --help.
  static std::string help();

 private:
  /// A turn of the user's; errors are shown and the conversation goes on.
  void answer(const std::string& prompt);
  /// A line that begins with '/'. False: leave.
  bool command(const std::string& line);
  void set_system(const std::string& text);
  void set_thinking(const std::string& text);
  void show_stats() const;
  void save(std::string arguments) const;
  void load(const std::string& file);
  void say(const std::string& text) const;

  Chat& chat_;
  GenerateOptions options_;
  bool colour_;
};

/// The conversation through a pipe: each line of `in` is a turn, each answer goes to standard output with a newline
/// after it, and nothing else does. Blank lines are skipped. Returns the exit code.
int run_chat_pipe(Chat& chat, const GenerateOptions& options, std::istream& in);

}  // namespace qwen35::cli
