#include "server/connection.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace qwen35::server {
namespace {

constexpr int kMostWriteWaits = 6;  ///< of write_timeout each, for one part of an answer

std::pair<std::string, int> name_of(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
    return {text.data(), ntohs(v4.sin_port)};
  }
  if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
    return {text.data(), ntohs(v6.sin6_port)};
  }
  return {"", 0};
}

}  // namespace

Connection::Connection(int fd, const HttpLimits& limits) : fd_(fd), limits_(limits) {
  get_remote_ip_and_port(peer_, peer_port_);
}

Connection::Wait Connection::wait(short events, Clock::time_point until, int stop_fd) const {
  std::array<pollfd, 2> polled{{{fd_, events, 0}, {stop_fd, POLLIN, 0}}};
  while (true) {
    const auto left = std::chrono::ceil<Milliseconds>(until - Clock::now()).count();
    if (left <= 0) return Wait::late;
    const int count = poll(polled.data(), stop_fd < 0 ? 1 : 2, static_cast<int>(std::min<long long>(left, 60000)));
    if (count < 0 && errno != EINTR) return Wait::late;
    if (count <= 0) continue;
    // What has arrived is read even when the server stops: the request may be whole.
    return polled[0].revents != 0 ? Wait::ready : Wait::stopped;
  }
}

/// 0: the client has closed; -1: late or broken.
ssize_t Connection::receive(char* out, std::size_t size, Clock::time_point until) {
  while (true) {
    const ssize_t count = recv(fd_, out, size, MSG_DONTWAIT);
    if (count >= 0) {
      broken_ = broken_ || count == 0;
      return count;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
      broken_ = true;
      return -1;
    }
    if (wait(POLLIN, until) == Wait::late) {
      timed_out_ = true;
      return -1;
    }
  }
}

Connection::Next Connection::refuse(HeadRefusal refusal) {
  refusal_ = std::move(refusal);
  return Next::refused;
}

Connection::Next Connection::next(int stop_fd, Milliseconds idle) {
  head_ = {};
  head_given_ = 0;
  body_left_ = 0;
  chunked_ = body_too_large_ = timed_out_ = false;
  if (broken_) return Next::closed;
  if (in_.empty() && wait(POLLIN, Clock::now() + idle, stop_fd) != Wait::ready) return Next::closed;
  head_began_ = Clock::now();
  notes = {};

  std::size_t searched = 0;
  while (true) {
    while (in_.starts_with("\r\n")) {  // some clients send a line end too many behind a body
      in_.erase(0, 2);
      searched = 0;
    }
    const std::size_t end = in_.find("\r\n\r\n", searched < 3 ? 0 : searched - 3);
    if (end != std::string::npos) return take_head(end + 4);
    searched = in_.size();
    if (in_.find('\n') == std::string::npos && in_.size() > limits_.max_target_bytes + 32)
      return refuse({414, "uri_too_long", "the URI is too long"});
    if (in_.size() > limits_.max_head_bytes)
      return refuse({431, "headers_too_large",
                     "the headers take more than " + std::to_string(limits_.max_head_bytes) + " bytes"});
    std::array<char, 4096> buffer;
    const ssize_t count = receive(buffer.data(), buffer.size(), head_began_ + limits_.head_timeout);
    if (count > 0) {
      in_.append(buffer.data(), static_cast<std::size_t>(count));
    } else if (timed_out_ && !in_.empty()) {
      return refuse({408, "timeout", "the request's head did not arrive in time"});
    } else {
      return Next::closed;
    }
  }
}

Connection::Next Connection::take_head(std::size_t size) {
  auto checked = check_head(std::string_view(in_).substr(0, size), limits_);
  if (auto* refusal = std::get_if<HeadRefusal>(&checked)) return refuse(std::move(*refusal));
  in_.erase(0, size);
  head_ = std::get<RequestHead>(std::move(checked));
  chunked_ = head_.chunked;
  // Chunks have lines of their own around them: a small share more, or the client sends chunks of a few bytes.
  body_left_ = chunked_ ? limits_.max_body_bytes + limits_.max_body_bytes / 4 + 1024 : head_.content_length;
  body_until_ = Clock::now() + limits_.body_timeout;
  return Next::request;
}

bool Connection::is_readable() const { return !broken_; }
bool Connection::is_writable() const { return !broken_; }

ssize_t Connection::read(char* out, std::size_t size) {
  if (head_given_ < head_.text.size()) {
    const std::size_t count = std::min(size, head_.text.size() - head_given_);
    std::memcpy(out, head_.text.data() + head_given_, count);
    head_given_ += count;
    return static_cast<ssize_t>(count);
  }
  if (body_left_ == 0 && chunked_) body_too_large_ = true;
  if (body_left_ == 0 || broken_ || timed_out_) return -1;
  std::size_t count = std::min<std::size_t>(size, body_left_);
  if (!in_.empty()) {
    count = std::min(count, in_.size());
    std::memcpy(out, in_.data(), count);
    in_.erase(0, count);
  } else {
    if (chunked_ && size == 1) {  // lines are read byte by byte
      std::array<char, 1024> buffer;
      const ssize_t got = receive(buffer.data(), buffer.size(), body_until_);
      if (got <= 0) return -1;
      in_.assign(buffer.data(), static_cast<std::size_t>(got));
      return read(out, size);
    }
    const ssize_t got = receive(out, count, body_until_);
    if (got <= 0) return -1;
    count = static_cast<std::size_t>(got);
  }
  body_left_ -= count;
  return static_cast<ssize_t>(count);
}

bool Connection::skip_body() {
  if (broken_ || timed_out_) return false;
  if (chunked_) return false;  // where it ends is not known here
  std::array<char, 16384> scrap;
  while (body_left_ > 0) {
    if (read(scrap.data(), scrap.size()) <= 0) return false;
  }
  return true;
}

ssize_t Connection::write(const char* data, std::size_t size) {
  std::size_t sent = 0;
  const Clock::time_point last = Clock::now() + kMostWriteWaits * limits_.write_timeout;
  Clock::time_point until = Clock::now() + limits_.write_timeout;
  while (sent < size && !broken_) {
    const ssize_t count = send(fd_, data + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count > 0) {
      sent += static_cast<std::size_t>(count);
      until = std::min(last, Clock::now() + limits_.write_timeout);
    } else if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      broken_ = wait(POLLOUT, until) != Wait::ready;
    } else if (errno != EINTR) {
      broken_ = true;
    }
  }
  return broken_ ? -1 : static_cast<ssize_t>(size);
}

void Connection::get_remote_ip_and_port(std::string& ip, int& port) const {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (getpeername(fd_, reinterpret_cast<sockaddr*>(&address), &length) == 0) std::tie(ip, port) = name_of(address);
}

void Connection::get_local_ip_and_port(std::string& ip, int& port) const {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length) == 0) std::tie(ip, port) = name_of(address);
}

}  // namespace qwen35::server
