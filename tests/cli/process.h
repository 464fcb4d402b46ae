#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace qwen35::test {

/// What a run of the command gave.
struct Result {
  int code = -1;  ///< exit code; 128 + signal if one ended it; -1: it ran past the time limit and was killed
  std::string out;
  std::string err;
};

/// Runs the qwen35 command that the build made, with `input` on standard input (then its end). No terminal.
Result run(const std::vector<std::string>& arguments, std::string_view input = {},
           std::chrono::seconds limit = std::chrono::seconds(60));

/// The same with standard output going to `file`.
Result run_to(const std::string& file, const std::vector<std::string>& arguments);

/// A running command: for what happens meanwhile.
class Process {
 public:
  explicit Process(const std::vector<std::string>& arguments);
  ~Process();  ///< kills it if it still runs
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void write(std::string_view input) const;
  void close_input();
  /// What standard output brings until `text` is in it or the time is up.
  std::string read_until(std::string_view text, std::chrono::seconds limit = std::chrono::seconds(30)) const;
  void interrupt() const;  ///< SIGINT
  /// The exit code as in Result.
  int wait(std::chrono::seconds limit = std::chrono::seconds(30));

 private:
  int pid_ = -1;
  int input_ = -1;
  int output_ = -1;
};

/// A run of the command on a pseudo terminal of 80 columns, with its own home folder.
class Terminal {
 public:
  Terminal(const std::vector<std::string>& arguments, const std::string& home);
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void type(std::string_view keys) const;
  /// Everything shown since the last call, up to where `text` appears or the time is up.
  std::string read_until(std::string_view text, std::chrono::seconds limit = std::chrono::seconds(30));
  int wait(std::chrono::seconds limit = std::chrono::seconds(30));

 private:
  int pid_ = -1;
  int terminal_ = -1;
  std::string pending_;
};

}  // namespace qwen35::test
