#include "server/listener.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <qwen35/error.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>

namespace qwen35::server {
namespace {

constexpr int kBacklog = 1024;  ///< the system cuts it to what it allows

[[noreturn]] void refuse(const std::string& host, int port, int error) {
  const std::string where = host + ":" + std::to_string(port);
  if (error == EADDRINUSE)
    throw Error(ErrorCode::invalid_argument, "cannot listen on " + where +
                                                 ": the port is in use; stop the program that has it (ss -ltnp shows "
                                                 "which), or choose another with --port (0: any free one)");
  if (error == EACCES)
    throw Error(ErrorCode::invalid_argument, "cannot listen on " + where +
                                                 ": ports below 1024 are reserved; choose a higher --port, or put a "
                                                 "proxy in front");
  if (error == EADDRNOTAVAIL)
    throw Error(ErrorCode::invalid_argument, "cannot listen on " + where +
                                                 ": this machine has no such address; --host takes one of its own, "
                                                 "127.0.0.1, or 0.0.0.0 for all");
  throw Error(ErrorCode::invalid_argument, "cannot listen on " + where + ": " + std::generic_category().message(error));
}

void set(int fd, int level, int name, int value) { setsockopt(fd, level, name, &value, sizeof value); }

bool is_loopback(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET)
    return (ntohl(reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr) >> 24U) == 127;
  return address.ss_family == AF_INET6 &&
         IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6&>(address).sin6_addr);
}

}  // namespace

Listener::Listener(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int failure = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (failure != 0)
    throw Error(ErrorCode::invalid_argument, "--host " + host + " is no address of a machine: " +
                                                 gai_strerror(failure) + "; give one like 127.0.0.1, ::1 or 0.0.0.0");
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list(found, &freeaddrinfo);

  fd_ = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, found->ai_protocol);
  if (fd_ < 0) refuse(host, port, errno);
  set(fd_, SOL_SOCKET, SO_REUSEADDR, 1);  // not SO_REUSEPORT: two servers would share the port without a word
  if (bind(fd_, found->ai_addr, found->ai_addrlen) != 0 || listen(fd_, kBacklog) != 0) {
    const int error = errno;
    close();
    refuse(host, port, error);
  }
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length);
  std::array<char, NI_MAXHOST> name{};
  std::array<char, NI_MAXSERV> service{};
  getnameinfo(reinterpret_cast<const sockaddr*>(&address), length, name.data(), name.size(), service.data(),
              service.size(), NI_NUMERICHOST | NI_NUMERICSERV);
  port_ = std::stoi(service.data());
  loopback_ = is_loopback(address);
  address_ = address.ss_family == AF_INET6 ? "[" + std::string(name.data()) + "]" : std::string(name.data());
}

Listener::~Listener() { close(); }

void Listener::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

std::string Listener::url() const { return "http://" + address_ + ":" + std::to_string(port_); }

int Listener::accept() const {
  const int client = accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (client < 0) return -1;
  set(client, IPPROTO_TCP, TCP_NODELAY, 1);  // pieces of a reply are small and should not wait for each other
  // A client whose machine went away without a word is noticed within a minute.
  set(client, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(client, IPPROTO_TCP, TCP_KEEPIDLE, 30);
  set(client, IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set(client, IPPROTO_TCP, TCP_KEEPCNT, 3);
  return client;
}

}  // namespace qwen35::server
