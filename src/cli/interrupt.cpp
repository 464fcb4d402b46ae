#include "cli/interrupt.h"

#include <qwen35/chat.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace qwen35::cli {
namespace {

// A signal handler may only touch lock-free atomics.
std::atomic<bool> interrupt_seen{false};
std::atomic<int> pollers{0};
std::atomic<Chat*> replying{nullptr};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free &&
              std::atomic<Chat*>::is_always_lock_free);

extern "C" void on_interrupt(int /*signal*/) {
  if (pollers.load() == 0) _exit(kInterruptedExitCode);
  const int saved_errno = errno;
  interrupt_seen.store(true);
  if (Chat* chat = replying.load()) chat->cancel();
  errno = saved_errno;
}

}  // namespace

void install_interrupt_handler() {
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);
  action.sa_flags = 0;  // no SA_RESTART: a blocked read must return, so that the prompt can clear its line
  sigaction(SIGINT, &action, nullptr);
}

bool interrupted() noexcept { return interrupt_seen.load(); }
void clear_interrupt() noexcept { interrupt_seen.store(false); }

PollInterrupt::PollInterrupt() noexcept { pollers.fetch_add(1); }
PollInterrupt::~PollInterrupt() { pollers.fetch_sub(1); }

CancelOnInterrupt::CancelOnInterrupt(Chat& chat) noexcept { replying.store(&chat); }
CancelOnInterrupt::~CancelOnInterrupt() { replying.store(nullptr); }

}  // namespace qwen35::cli
