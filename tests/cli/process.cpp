#include "cli/process.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <stdexcept>
#include <thread>

namespace qwen35::test {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void execute(const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {QWEN35_COMMAND};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  signal(SIGPIPE, SIG_DFL);
  execv(argv[0], argv.data());
  _exit(127);
}

std::array<int, 2> make_pipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
  return ends;
}

int exit_code(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

int wait_for(int& pid, std::chrono::seconds limit) {
  const auto end = Clock::now() + limit;
  int status = 0;
  while (waitpid(pid, &status, WNOHANG) == 0) {
    if (Clock::now() > end) {
      kill(pid, SIGKILL);
      waitpid(pid, &status, 0);
      pid = -1;
      return -1;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  pid = -1;
  return exit_code(status);
}

void end(int& pid) {
  if (pid < 0) return;
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  pid = -1;
}

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;  // the command has gone; its exit code tells
    text.remove_prefix(static_cast<std::size_t>(count));
  }
}

/// Appends what `fd` has within `limit`; false at its end.
bool read_some(int fd, std::string& text, std::chrono::milliseconds limit) {
  pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
  if (poll(&waiting, 1, static_cast<int>(limit.count())) <= 0) return true;
  std::array<char, 4096> block{};
  const ssize_t count = read(fd, block.data(), block.size());
  if (count <= 0) return count < 0 && errno == EINTR;  // a pseudo terminal ends with EIO
  text.append(block.data(), static_cast<std::size_t>(count));
  return true;
}

std::string drain(int fd) {
  std::string text;
  while (read_some(fd, text, std::chrono::minutes(10))) {
  }
  return text;
}

/// Starts the command with its standard streams on the given descriptors.
int start(const std::vector<std::string>& arguments, int in, int out, int err) {
  const int pid = fork();
  if (pid < 0) throw std::runtime_error("fork failed");
  if (pid > 0) return pid;
  dup2(in, 0);
  dup2(out, 1);
  dup2(err, 2);
  execute(arguments);
}

}  // namespace

Result run(const std::vector<std::string>& arguments, std::string_view input, std::chrono::seconds limit) {
  signal(SIGPIPE, SIG_IGN);
  const auto in = make_pipe();
  const auto out = make_pipe();
  const auto err = make_pipe();
  int pid = start(arguments, in[0], out[1], err[1]);
  close(in[0]);
  close(out[1]);
  close(err[1]);
  Result result;
  {
    const std::jthread writer([&] {
      write_all(in[1], input);
      close(in[1]);
    });
    const std::jthread errors([&] { result.err = drain(err[0]); });
    const std::jthread output([&] { result.out = drain(out[0]); });
    result.code = wait_for(pid, limit);
  }
  close(out[0]);
  close(err[0]);
  return result;
}

Result run_to(const std::string& file, const std::vector<std::string>& arguments) {
  const int out = open(file.c_str(), O_WRONLY | O_CLOEXEC);
  if (out < 0) throw std::runtime_error("cannot open " + file);
  const int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const auto err = make_pipe();
  int pid = start(arguments, in, out, err[1]);
  close(in);
  close(out);
  close(err[1]);
  Result result;
  result.err = drain(err[0]);
  close(err[0]);
  result.code = wait_for(pid, std::chrono::seconds(30));
  return result;
}

Process::Process(const std::vector<std::string>& arguments) {
  signal(SIGPIPE, SIG_IGN);
  const auto in = make_pipe();
  const auto out = make_pipe();
  const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  pid_ = start(arguments, in[0], out[1], null);
  close(in[0]);
  close(out[1]);
  close(null);
  input_ = in[1];
  output_ = out[0];
}

Process::~Process() {
  end(pid_);
  close_input();
  close(output_);
}

void Process::write(std::string_view input) const { write_all(input_, input); }

void Process::close_input() {
  if (input_ >= 0) close(input_);
  input_ = -1;
}

std::string Process::read_until(std::string_view text, std::chrono::seconds limit) const {
  std::string shown;
  const auto stop = Clock::now() + limit;
  while (shown.find(text) == std::string::npos && Clock::now() < stop) {
    if (!read_some(output_, shown, std::chrono::milliseconds(50))) break;
  }
  return shown;
}

void Process::interrupt() const { kill(pid_, SIGINT); }
int Process::wait(std::chrono::seconds limit) { return wait_for(pid_, limit); }

Terminal::Terminal(const std::vector<std::string>& arguments, const std::string& home) {
  winsize size{};
  size.ws_row = 25;
  size.ws_col = 80;
  pid_ = forkpty(&terminal_, nullptr, nullptr, &size);
  if (pid_ < 0) throw std::runtime_error("forkpty failed");
  if (pid_ > 0) return;
  setenv("HOME", home.c_str(), 1);
  setenv("XDG_STATE_HOME", home.c_str(), 1);
  setenv("TERM", "xterm", 1);
  setenv("NO_COLOR", "1", 1);
  execute(arguments);
}

Terminal::~Terminal() {
  end(pid_);
  if (terminal_ >= 0) close(terminal_);
}

void Terminal::type(std::string_view keys) const { write_all(terminal_, keys); }

std::string Terminal::read_until(std::string_view text, std::chrono::seconds limit) {
  const auto stop = Clock::now() + limit;
  std::size_t found = std::string::npos;
  while ((found = pending_.find(text)) == std::string::npos && Clock::now() < stop) {
    if (!read_some(terminal_, pending_, std::chrono::milliseconds(50))) break;
  }
  found = pending_.find(text);
  const std::size_t size = found == std::string::npos ? pending_.size() : found + text.size();
  std::string shown = pending_.substr(0, size);
  pending_.erase(0, size);
  return shown;
}

int Terminal::wait(std::chrono::seconds limit) {
  // What it still writes must be read, or it would wait for us.
  const auto stop = Clock::now() + limit;
  while (Clock::now() < stop && read_some(terminal_, pending_, std::chrono::milliseconds(50))) {
  }
  return wait_for(pid_, limit);
}

}  // namespace qwen35::test
