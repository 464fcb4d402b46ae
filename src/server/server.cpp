#include "server/server.h"

#include <poll.h>
#include <qwen35/error.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace qwen35::server {
namespace {

using Clock = std::chrono::steady_clock;
/// How long a cancelled generation may take to notice, and its client to hear of it.
constexpr Milliseconds kAfterCancel{3000};

bool hurried(int hurry, Milliseconds wait) {
  pollfd polled{hurry, POLLIN, 0};  // a negative descriptor makes this a mere wait
  return poll(&polled, 1, static_cast<int>(wait.count())) > 0;
}

}  // namespace

ServiceOptions Server::with_network(ServiceOptions service, const ServerOptions& options, const Listener& listener) {
  service.loopback = listener.loopback();
  if (!service.loopback && service.keys.empty() && !options.no_auth_on_network)
    throw Error(ErrorCode::invalid_argument,
                "--host " + options.host +
                    " lets other machines in, and there is no key; give --api-key-file FILE (openssl rand -hex 24 "
                    "makes a key), or --no-auth-on-network if everyone there may use it");
  return service;
}

Server::Server(ServerOptions options)
    : options_(std::move(options)),
      listener_(options_.host, options_.port),
      service_(with_network(options_.service, options_, listener_)),
      http_(listener_, options_.http, {.refused = [this](const Connection* connection, const HeadRefusal& refusal) {
              return service_.refused(connection, refusal);
            }}) {
  service_.attach(http_);
  http_.start();
}

Server::~Server() {
  service_.close_queue();
  service_.stop_generations();
  http_.stop_accepting();
  http_.stop_now();
}

void Server::serve(std::unique_ptr<Engine> engine) { service_.set_engine(std::move(engine)); }

std::size_t Server::drain(int hurry) {
  service_.drain();
  bool now = options_.drain_delay.count() > 0 && hurried(hurry, options_.drain_delay);
  service_.close_queue();
  http_.stop_accepting();
  const Clock::time_point until = Clock::now() + options_.drain_timeout;
  while (!now && Clock::now() < until) {
    if (http_.wait_until_idle(std::min(until, Clock::now() + Milliseconds(50)))) return 0;
    now = hurried(hurry, Milliseconds(0));
  }
  const std::size_t cancelled = service_.running();
  service_.stop_generations();
  if (!now) http_.wait_until_idle(Clock::now() + kAfterCancel);
  http_.stop_now();
  return cancelled;
}

}  // namespace qwen35::server
