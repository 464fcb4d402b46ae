#pragma once

#include <httplib.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "server/connection.h"
#include "server/hangup_watch.h"
#include "server/http_limits.h"
#include "server/listener.h"

namespace qwen35::server {

/// The HTTP library's parser and router over sockets of our own: a thread a connection, so that an answer which takes
/// its time delays no other; limits and deadlines on everything a client does. Handlers are set as the library has it,
/// before start(); they run on the connection's thread.
class HttpServer final : public httplib::Server {
 public:
  struct Hooks {
    /// The JSON to say to a client that is refused before its request is understood; `connection` null: it is one too
    /// many.
    std::function<std::string(const Connection* connection, const HeadRefusal& refusal)> refused;
  };

  /// `listener` must outlive this.
  HttpServer(Listener& listener, HttpLimits limits, Hooks hooks);
  ~HttpServer() override;

  void start();
  /// No new connections or requests; those that wait for one are closed, those being answered go on.
  void stop_accepting();
  /// Waits until all are answered; false: `until` came first.
  bool wait_until_idle(std::chrono::steady_clock::time_point until);
  /// Breaks what is left and waits for its threads. Handlers must be made to return.
  void stop_now();

  [[nodiscard]] std::size_t connections() const;
  [[nodiscard]] const HttpLimits& limits() const { return limits_; }
  [[nodiscard]] HangupWatch& watch() { return watch_; }
  /// Whose request the calling thread answers. Only in handlers.
  static Connection& current();
  /// The headers that every answer carries.
  static const std::vector<std::pair<std::string, std::string>>& common_headers();

 private:
  struct Client {
    int fd;
    std::thread thread;
  };
  void accept_all();
  void admit(int fd);
  void serve(int fd);
  void answer_refusal(Connection& connection);
  void join_finished();

  Listener& listener_;
  const HttpLimits limits_;
  const Hooks hooks_;
  HangupWatch watch_;
  int stop_fd_;  ///< readable once requests are no longer taken

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::uint64_t next_id_ = 0;
  std::map<std::uint64_t, Client> clients_;
  std::vector<std::thread> finished_;
  std::thread acceptor_;
};

}  // namespace qwen35::server
