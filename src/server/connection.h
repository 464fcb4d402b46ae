#pragma once

#include <httplib.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "server/http_limits.h"
#include "server/request_head.h"
#include "server/request_notes.h"

namespace qwen35::server {

/// One client's socket as the HTTP library sees it: every wait has an end, and a head is checked before the library
/// reads it. For one thread.
class Connection final : public httplib::Stream {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Next {
    request,  ///< a head is ready to be read
    refused,  ///< refusal() says why; nothing more can be understood
    closed,   ///< the client has gone, was idle for too long, or the server stops
  };

  /// `fd` is not blocking; it stays the caller's.
  Connection(int fd, const HttpLimits& limits);

  /// Waits for the next head, `idle` long for its first byte. `stop_fd` becomes readable when the server takes no more
  /// requests.
  Next next(int stop_fd, Milliseconds idle);
  [[nodiscard]] const HeadRefusal& refusal() const { return refusal_; }
  /// Of the present request.
  [[nodiscard]] const RequestHead& head() const { return head_; }
  RequestNotes notes;  ///< of the present request; handlers write them

  /// Reads and drops what is left of the body; false: the connection cannot be used any more.
  bool skip_body();
  /// Whether reading went past the body's limit, or its deadline.
  [[nodiscard]] bool body_too_large() const { return body_too_large_; }
  [[nodiscard]] bool timed_out() const { return timed_out_; }
  [[nodiscard]] bool broken() const { return broken_; }
  /// Whether the client may still be sending something that nobody will read.
  [[nodiscard]] bool unread() const { return chunked_ || body_left_ > 0 || !in_.empty(); }
  [[nodiscard]] const std::string& peer() const { return peer_; }

  // httplib::Stream
  bool is_readable() const override;
  bool is_writable() const override;
  /// Of the head, then of the body and no further. -1: the end, a limit or a deadline.
  ssize_t read(char* out, std::size_t size) override;
  /// All of it or -1.
  ssize_t write(const char* data, std::size_t size) override;
  using httplib::Stream::write;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return fd_; }

 private:
  enum class Wait { ready, late, stopped };
  Wait wait(short events, Clock::time_point until, int stop_fd = -1) const;
  ssize_t receive(char* out, std::size_t size, Clock::time_point until);
  Next refuse(HeadRefusal refusal);
  Next take_head(std::size_t size);

  const int fd_;
  const HttpLimits& limits_;
  std::string peer_;
  int peer_port_ = 0;

  std::string in_;  ///< received, not yet asked for: heads and pipelined requests
  RequestHead head_;
  std::size_t head_given_ = 0;  ///< of head_.text
  HeadRefusal refusal_;
  Clock::time_point head_began_;
  Clock::time_point body_until_;
  std::uint64_t body_left_ = 0;  ///< bytes of the body the library may still read; chunked: its coding included
  bool chunked_ = false;
  bool body_too_large_ = false;
  bool timed_out_ = false;
  bool broken_ = false;
};

}  // namespace qwen35::server
