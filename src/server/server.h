#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "server/http_limits.h"
#include "server/http_server.h"
#include "server/listener.h"
#include "server/service.h"

namespace qwen35::server {

struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 8080;  ///< 0: any free one
  HttpLimits http;
  ServiceOptions service;           ///< `loopback` is found out by the server
  bool no_auth_on_network = false;  ///< answer other machines without a key
  Milliseconds drain_delay{0};      ///< between saying that it stops and taking no more connections
  Milliseconds drain_timeout{30000};
};

/// A server's life: it listens from the constructor on and says 503 until it has a model.
class Server {
 public:
  /// Throws Error when it cannot listen, or would be open to the network without a key.
  explicit Server(ServerOptions options);
  ~Server();

  /// Takes requests from here on.
  void serve(std::unique_ptr<Engine> engine);
  /// Says that it stops, waits drain_delay, takes no more requests, waits until those that run are done or
  /// drain_timeout has passed, and cancels the rest. `hurry` becomes readable when nothing is to be waited for any
  /// more; -1: never. Returns how many generations were cancelled.
  std::size_t drain(int hurry = -1);

  [[nodiscard]] int port() const { return listener_.port(); }
  [[nodiscard]] std::string url() const { return listener_.url(); }
  [[nodiscard]] bool loopback() const { return listener_.loopback(); }

 private:
  static ServiceOptions with_network(ServiceOptions service, const ServerOptions& options, const Listener& listener);

  const ServerOptions options_;
  Listener listener_;
  Service service_;
  HttpServer http_;
};

}  // namespace qwen35::server
