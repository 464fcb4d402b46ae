#pragma once

namespace qwen35 {
class Chat;
}

namespace qwen35::cli {

/// The exit code of a command that Ctrl-C ended: 128 + SIGINT, as shells report it.
constexpr int kInterruptedExitCode = 130;

/// Installs the process's SIGINT handler (main() does, once; throws std::system_error). Until a PollInterrupt or
/// CancelOnInterrupt lives, Ctrl-C ends the process at once with kInterruptedExitCode; while one does, it only makes
/// interrupted() true.
void install_interrupt_handler();

/// Whether Ctrl-C was pressed since the start or the last clear_interrupt(). Safe from any thread.
bool interrupted() noexcept;
void clear_interrupt() noexcept;

/// A descriptor that is readable while interrupted() is true, so that a wait for input can be a wait for Ctrl-C too: a
/// signal alone may come just before the wait, or to another thread.
int interrupt_fd() noexcept;
/// Waits until `fd` has something to read; false once Ctrl-C was pressed, whenever that was.
bool wait_for_input(int fd) noexcept;

/// For work that must clean up: it asks interrupted() now and then, removes what is half done and returns
/// kInterruptedExitCode. May be nested.
class PollInterrupt {
 public:
  PollInterrupt() noexcept;
  ~PollInterrupt();
  PollInterrupt(const PollInterrupt&) = delete;
  PollInterrupt& operator=(const PollInterrupt&) = delete;
};

/// A PollInterrupt during which Ctrl-C also cancels the reply `chat` is making, or is about to make: one pressed since
/// the last clear_interrupt() counts. None outlives it: a Ctrl-C that came too late for this reply does not cancel the
/// next. One at a time; `chat` outlives it.
class CancelOnInterrupt {
 public:
  explicit CancelOnInterrupt(Chat& chat) noexcept;
  ~CancelOnInterrupt();
  CancelOnInterrupt(const CancelOnInterrupt&) = delete;
  CancelOnInterrupt& operator=(const CancelOnInterrupt&) = delete;

 private:
  Chat& chat_;
  PollInterrupt poll_;
};

}  // namespace qwen35::cli
