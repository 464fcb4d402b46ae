#include "server/http_server.h"

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

thread_local Connection* t_current = nullptr;

/// A whole answer without the library: its text of a refusal.
std::string refusal_text(int status, const std::string& body) {
  static const std::map<int, std::string> kReasons{{400, "Bad Request"},
                                                   {408, "Request Timeout"},
                                                   {411, "Length Required"},
                                                   {413, "Payload Too Large"},
                                                   {414, "URI Too Long"},
                                                   {415, "Unsupported Media Type"},
                                                   {417, "Expectation Failed"},
                                                   {431, "Request Header Fields Too Large"},
                                                   {501, "Not Implemented"},
                                                   {503, "Service Unavailable"},
                                                   {505, "HTTP Version Not Supported"}};
  const auto reason = kReasons.find(status);
  std::string text =
      "HTTP/1.1 " + std::to_string(status) + " " + (reason == kReasons.end() ? "Error" : reason->second) + "\r\n";
  for (const auto& [name, value] : HttpServer::common_headers()) text.append(name).append(": ").append(value) += "\r\n";
  if (status == 503) text += "Retry-After: 1\r\n";
  return text +
         "Connection: close\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

}  // namespace

const std::vector<std::pair<std::string, std::string>>& HttpServer::common_headers() {
  static const std::vector<std::pair<std::string, std::string>> kHeaders{
      {"X-Content-Type-Options", "nosniff"},
      {"X-Frame-Options", "DENY"},
      {"Referrer-Policy", "no-referrer"},
      {"Cross-Origin-Resource-Policy", "same-origin"},
  };
  return kHeaders;
}

HttpServer::HttpServer(Listener& listener, HttpLimits limits, Hooks hooks)
    : listener_(listener), limits_(limits), hooks_(std::move(hooks)), stop_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (stop_fd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
  svr_sock_ = listener.fd();  // the library ends streams when it has none
  keep_alive_timeout_sec_ = std::chrono::ceil<std::chrono::seconds>(limits.idle_timeout).count();
  keep_alive_max_count_ = limits.max_requests;
  payload_max_length_ = limits.max_body_bytes;
}

HttpServer::~HttpServer() {
  stop_accepting();
  stop_now();
  close(stop_fd_);
}

void HttpServer::start() {
  acceptor_ = std::thread([this] { accept_all(); });
}

Connection& HttpServer::current() { return *t_current; }

std::size_t HttpServer::connections() const {
  const std::lock_guard hold(mutex_);
  return clients_.size();
}

void HttpServer::stop_accepting() {
  {
    const std::lock_guard hold(mutex_);
    stopping_ = true;
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = write(stop_fd_, &one, sizeof one);
  if (acceptor_.joinable()) acceptor_.join();
  listener_.close();
}

bool HttpServer::wait_until_idle(std::chrono::steady_clock::time_point until) {
  std::unique_lock hold(mutex_);
  return changed_.wait_until(hold, until, [this] { return clients_.empty(); });
}

void HttpServer::stop_now() {
  std::unique_lock hold(mutex_);
  for (const auto& [id, client] : clients_) shutdown(client.fd, SHUT_RDWR);
  changed_.wait(hold, [this] { return clients_.empty(); });
  hold.unlock();
  join_finished();
}

void HttpServer::join_finished() {
  std::vector<std::thread> finished;
  {
    const std::lock_guard hold(mutex_);
    finished.swap(finished_);
  }
  for (std::thread& thread : finished) thread.join();
}

void HttpServer::accept_all() {
  std::array<pollfd, 2> polled{{{listener_.fd(), POLLIN, 0}, {stop_fd_, POLLIN, 0}}};
  while (true) {
    if (poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) return;
    if (polled[1].revents != 0) return;
    if (polled[0].revents == 0) continue;
    const int fd = listener_.accept();
    if (fd >= 0) {
      admit(fd);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      std::this_thread::sleep_for(Milliseconds(50));  // others will close theirs
    }
    join_finished();
  }
}

void HttpServer::admit(int fd) {
  std::unique_lock hold(mutex_);
  if (clients_.size() < limits_.max_connections) {
    const std::uint64_t id = next_id_++;
    Client& client = clients_[id];
    client.fd = fd;
    try {
      client.thread = std::thread([this, id, fd] {
        serve(fd);
        const std::lock_guard ended(mutex_);
        const auto self = clients_.find(id);
        finished_.push_back(std::move(self->second.thread));
        clients_.erase(self);
        changed_.notify_all();
      });
      return;
    } catch (const std::system_error&) {  // no thread to be had
      clients_.erase(id);
    }
  }
  hold.unlock();
  const HeadRefusal refusal{503, "too_many_connections", "the server has as many connections as it takes; try again"};
  const std::string text = refusal_text(refusal.status, hooks_.refused(nullptr, refusal));
  [[maybe_unused]] const auto sent = send(fd, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  watch_.linger(fd, limits_.linger_timeout);
}

void HttpServer::answer_refusal(Connection& connection) {
  const std::string text = refusal_text(connection.refusal().status, hooks_.refused(&connection, connection.refusal()));
  connection.write(text.data(), text.size());
}

void HttpServer::serve(int fd) {
  Connection connection(fd, limits_);
  t_current = &connection;
  bool unread = false;
  for (std::size_t requests = 1;; ++requests) {
    bool crowded = false;
    {
      const std::lock_guard hold(mutex_);
      crowded = clients_.size() * 4 > limits_.max_connections * 3;
    }
    // Where places are few, nobody keeps one for a request that may come some day.
    Milliseconds idle = requests == 1 ? std::min(limits_.head_timeout, limits_.idle_timeout) : limits_.idle_timeout;
    if (crowded && requests > 1) idle = std::min(idle, Milliseconds(1000));
    const Connection::Next next = connection.next(stop_fd_, idle);
    if (next == Connection::Next::closed) break;
    if (next == Connection::Next::refused) {
      answer_refusal(connection);
      unread = true;
      break;
    }
    bool stopping = false;
    {
      const std::lock_guard hold(mutex_);
      stopping = stopping_;
    }
    const bool last =
        stopping || !connection.head().keep_alive || connection.head().chunked || requests >= limits_.max_requests;
    bool closed = last;
    bool whole = false;
    try {
      whole = process_request(connection, last, closed, nullptr);
    } catch (...) {  // out of memory, most likely: this connection ends, the others go on
    }
    if (!whole || closed || last || !connection.skip_body()) {
      unread = connection.unread();
      break;
    }
  }
  t_current = nullptr;
  if (unread && !connection.broken()) {
    // stop_now() must not touch a descriptor that is somebody else's by then.
    const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy >= 0) watch_.linger(copy, limits_.linger_timeout);
  }
  const std::lock_guard hold(mutex_);  // stop_now() goes through the descriptors under it
  for (auto& [id, client] : clients_) {
    if (client.fd == fd) client.fd = -1;
  }
  shutdown(fd, SHUT_WR);  // close() says so only when no poll of the watch holds the connection any more
  close(fd);
}

}  // namespace qwen35::server
