#pragma once

#include <string>

namespace qwen35::server {

/// A listening TCP socket.
class Listener {
 public:
  /// `host`: an address or a name, `port`: 0 takes a free one. Throws Error: invalid_argument for a host that is no
  /// address of this machine, a port in use or one that is reserved, each with the remedy.
  Listener(const std::string& host, int port);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] int port() const { return port_; }
  [[nodiscard]] bool loopback() const { return loopback_; }  ///< only this machine can connect
  [[nodiscard]] std::string url() const;                     ///< "http://127.0.0.1:8080"

  /// The next client, not blocking; -1: none just now, or this process has no descriptor left.
  [[nodiscard]] int accept() const;
  void close();

 private:
  int fd_ = -1;
  int port_ = 0;
  bool loopback_ = false;
  std::string address_;  ///< numeric, [] around an IPv6 one
};

}  // namespace qwen35::server
