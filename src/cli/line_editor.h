#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace qwen35::cli {

/// Where the history of `qwen35 chat` lies: $XDG_STATE_HOME/qwen35/history, else ~/.local/state/qwen35/history. Empty
/// when neither variable says where.
std::filesystem::path history_file();

/// A line with editing and history on the terminal (libedit). One at a time; not thread-safe.
class LineEditor {
 public:
  enum class Status { line, interrupted, end };
  struct Result {
    Status status = Status::end;
    std::string line;  ///< UTF-8, without the newline
  };

  /// `history`: read now and written by save_history(), mode 0600; empty: none is kept. One that cannot be read or
  /// written is no error: the conversation matters more.
  LineEditor(std::string prompt, bool colour, std::filesystem::path history);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  /// Waits for a line. Ctrl-C gives `interrupted` (the caller holds a PollInterrupt and clears the flag), Ctrl-D on an
  /// empty line `end`.
  Result read();
  void save_history() noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qwen35::cli
