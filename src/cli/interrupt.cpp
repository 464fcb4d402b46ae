#include "cli/interrupt.h"

#include <fcntl.h>
#include <poll.h>
#include <qwen35/chat.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <system_error>
#include <thread>

namespace qwen35::cli {
namespace {

// A signal handler may only touch lock-free atomics.
std::atomic<bool> interrupt_seen{false};
std::atomic<int> pollers{0};
std::array<int, 2> wake{-1, -1};  // a pipe: read end, write end; set before the handler is
std::atomic<Chat*> replying{nullptr};
std::atomic<int> cancelling{0};  // handlers that may be using what `replying` was; they run on any thread
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free &&
              std::atomic<Chat*>::is_always_lock_free);

extern "C" void on_interrupt(int /*signal*/) {
  if (pollers.load() == 0) _exit(kInterruptedExitCode);
  const int saved_errno = errno;
  interrupt_seen.store(true);
  [[maybe_unused]] const ssize_t written = write(wake[1], "", 1);  // a full pipe is readable all the same
  cancelling.fetch_add(1);
  if (Chat* chat = replying.load()) chat->cancel();
  cancelling.fetch_sub(1);
  errno = saved_errno;
}

}  // namespace

void install_interrupt_handler() {
  if (pipe(wake.data()) != 0) throw std::system_error(errno, std::generic_category(), "cannot make a pipe");
  for (const int end : wake) {
    fcntl(end, F_SETFL, O_NONBLOCK);
    fcntl(end, F_SETFD, FD_CLOEXEC);
  }
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);
  action.sa_flags = 0;  // no SA_RESTART: a blocked read must return, so that the prompt can clear its line
  sigaction(SIGINT, &action, nullptr);
}

bool interrupted() noexcept { return interrupt_seen.load(); }
int interrupt_fd() noexcept { return wake[0]; }

bool wait_for_input(int fd) noexcept {
  std::array<pollfd, 2> waiting{pollfd{fd, POLLIN, 0}, pollfd{interrupt_fd(), POLLIN, 0}};
  while (!interrupted() && poll(waiting.data(), waiting.size(), -1) < 0 && errno == EINTR) {
  }
  return !interrupted();
}

void clear_interrupt() noexcept {
  interrupt_seen.store(false);  // first: a Ctrl-C from here on counts again, even if its byte is drained
  std::array<char, 64> bytes{};
  while (read(wake[0], bytes.data(), bytes.size()) > 0) {
  }
}

PollInterrupt::PollInterrupt() noexcept { pollers.fetch_add(1); }
PollInterrupt::~PollInterrupt() { pollers.fetch_sub(1); }

CancelOnInterrupt::CancelOnInterrupt(Chat& chat) noexcept : chat_(chat) {
  replying.store(&chat);
  if (interrupted()) chat.cancel();  // pressed before the handler knew of the chat
}

CancelOnInterrupt::~CancelOnInterrupt() {
  replying.store(nullptr);
  while (cancelling.load() > 0) std::this_thread::yield();  // a few instructions on another thread
  chat_.clear_cancel();
}

}  // namespace qwen35::cli
