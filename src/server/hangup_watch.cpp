#include "server/hangup_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

namespace qwen35::server {
namespace {

constexpr std::size_t kMostLingering = 256;  ///< of more, the oldest is closed at once

}  // namespace

HangupWatch::HangupWatch() : wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (wake_fd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
  thread_ = std::thread([this] { run(); });
}

HangupWatch::~HangupWatch() {
  {
    const std::lock_guard hold(mutex_);
    stopping_ = true;
  }
  wake();
  thread_.join();
  for (const Lingering& lingering : lingering_) close(lingering.fd);
  close(wake_fd_);
}

HangupWatch::Watch HangupWatch::watch(int fd, std::function<void()> gone) {
  std::uint64_t id = 0;
  {
    const std::lock_guard hold(mutex_);
    id = next_id_++;
    watched_.push_back({id, fd, std::move(gone)});
  }
  wake();
  return Watch(*this, id);
}

void HangupWatch::forget(std::uint64_t id) {
  {
    const std::lock_guard hold(mutex_);
    std::erase_if(watched_, [id](const Watched& watched) { return watched.id == id; });
  }
  wake();  // a poll that waits keeps the connection open past its close()
}

void HangupWatch::linger(int fd, Milliseconds limit) {
  shutdown(fd, SHUT_WR);
  {
    const std::lock_guard hold(mutex_);
    if (lingering_.size() >= kMostLingering) {
      close(lingering_.front().fd);
      lingering_.erase(lingering_.begin());
    }
    lingering_.push_back({fd, Clock::now() + limit});
  }
  wake();
}

void HangupWatch::wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = write(wake_fd_, &one, sizeof one);  // full: it will wake anyway
}

/// Whether this one is to be closed.
bool HangupWatch::drained(const Lingering& lingering, bool readable) const {
  if (Clock::now() >= lingering.until) return true;
  if (!readable) return false;
  std::array<char, 16384> scrap;
  for (int reads = 0; reads < 16; ++reads) {
    const ssize_t count = recv(lingering.fd, scrap.data(), scrap.size(), MSG_DONTWAIT);
    if (count > 0) continue;
    return count == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
  }
  return false;
}

void HangupWatch::run() {
  std::vector<pollfd> polled;
  std::vector<std::uint64_t> ids;  ///< of the watched ones among them, which come first
  while (true) {
    int timeout = -1;
    {
      const std::lock_guard hold(mutex_);
      if (stopping_) return;
      polled.assign(1, {wake_fd_, POLLIN, 0});
      ids.clear();
      for (const Watched& watched : watched_) {
        polled.push_back({watched.fd, POLLRDHUP, 0});
        ids.push_back(watched.id);
      }
      for (const Lingering& lingering : lingering_) {
        polled.push_back({lingering.fd, POLLIN, 0});
        const auto left = std::chrono::ceil<Milliseconds>(lingering.until - Clock::now()).count();
        const int wait = static_cast<int>(std::clamp<long long>(left, 0, 60000));
        timeout = timeout < 0 ? wait : std::min(timeout, wait);
      }
    }
    if (poll(polled.data(), polled.size(), timeout) < 0 && errno != EINTR) return;
    if (polled.front().revents != 0) {
      std::uint64_t count = 0;
      [[maybe_unused]] const auto got = read(wake_fd_, &count, sizeof count);
    }

    // Descriptors may have been closed and used anew meanwhile: only ids that are still there count.
    const std::lock_guard hold(mutex_);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (polled[1 + i].revents == 0) continue;
      const auto found =
          std::find_if(watched_.begin(), watched_.end(), [&](const Watched& watched) { return watched.id == ids[i]; });
      if (found == watched_.end()) continue;
      const std::function<void()> gone = std::move(found->gone);
      watched_.erase(found);
      gone();
    }
    std::erase_if(lingering_, [&](const Lingering& lingering) {
      const bool readable = std::any_of(polled.begin() + 1 + static_cast<std::ptrdiff_t>(ids.size()), polled.end(),
                                        [&](const pollfd& p) { return p.fd == lingering.fd && p.revents != 0; });
      if (!drained(lingering, readable)) return false;
      close(lingering.fd);
      return true;
    });
  }
}

}  // namespace qwen35::server
