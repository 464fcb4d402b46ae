#pragma once

#include <chrono>
#include <cstddef>

namespace qwen35::server {

using Milliseconds = std::chrono::milliseconds;

/// What one client may cost before it has said anything sensible.
struct HttpLimits {
  std::size_t max_connections = 256;       ///< beyond them a client is told 503 at once
  std::size_t max_head_bytes = 16 * 1024;  ///< request line and headers together
  std::size_t max_target_bytes = 2048;     ///< of the request line's target
  std::size_t max_headers = 64;            ///< lines
  std::size_t max_body_bytes = 4U << 20U;  ///< after the chunked coding is undone
  std::size_t max_requests = 10000;        ///< over one connection
  Milliseconds head_timeout{10000};        ///< for a whole head, from the connection or the head's first byte
  Milliseconds body_timeout{30000};        ///< for a whole body, from the end of the head
  Milliseconds idle_timeout{60000};        ///< between two requests of a connection
  Milliseconds write_timeout{10000};       ///< without a byte taken by the client; one answer's part takes six at most
  Milliseconds linger_timeout{1000};       ///< for a refused client to read why
};

}  // namespace qwen35::server
