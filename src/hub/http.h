#pragma once

#include <qwen35/error.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qwen35::hub {

/// Common to all requests of a download.
struct HttpSettings {
  std::string endpoint;
  std::string token;       ///< "": none
  int stall_seconds = 10;  ///< below 1 KiB/s for so long: the connection is dropped
};

/// What the headers of the last response said; lower-case where case means nothing.
struct Answer {
  long status = 0;
  std::int64_t content_length = -1;  ///< of this response's body; -1: not said
  std::string content_type;
  std::string content_range;
  std::string etag;
  std::string linked_etag;  ///< the hub's own name for the bytes, said before it redirects to a store
  std::string link;
  std::string error_code;  ///< "RepoNotFound", "GatedRepo", ...
};

/// One GET. Redirects are followed to http and https only (never from https to http) and at most 8 times; the token
/// goes to the endpoint's host, scheme and port alone.
class Exchange {
 public:
  /// Takes a part of the body; false ends the exchange. What it throws is kept for failure().
  using OnBody = std::function<bool(const Answer&, std::span<const std::byte>)>;

  /// `url` begins with the endpoint. `headers`: further lines.
  Exchange(const HttpSettings& settings, const std::string& url, const std::vector<std::string>& headers,
           OnBody on_body);
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  [[nodiscard]] const Answer& answer() const;
  [[nodiscard]] std::exception_ptr failure() const;

  struct Impl;  ///< internal
  [[nodiscard]] Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

/// How an exchange ended.
struct Outcome {
  enum class Verdict { done, try_again, give_up } verdict = Verdict::done;
  ErrorCode code = ErrorCode::network;
  std::string why;           ///< "" for done
  double wait_seconds = 0;   ///< what the server asked for
  bool unreachable = false;  ///< no connection came about
};

/// Exchanges that run side by side on the calling thread. Each must live until it is done or stopped.
class Exchanges {
 public:
  Exchanges();
  ~Exchanges();
  Exchanges(const Exchanges&) = delete;
  Exchanges& operator=(const Exchanges&) = delete;

  void start(Exchange& exchange);
  void stop(Exchange& exchange) noexcept;
  /// Moves all of them on, waiting at most so long for something to happen; those that ended.
  std::vector<std::pair<Exchange*, Outcome>> step(int timeout_ms);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qwen35::hub
