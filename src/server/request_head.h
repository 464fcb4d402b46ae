#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "server/http_limits.h"

namespace qwen35::server {

/// A request line with its headers, found to be well-formed and of one meaning only.
struct RequestHead {
  /// What the HTTP library gets to read: the same head without the headers that it must not act upon (ranges,
  /// compression) and with every % of a value escaped, as the library would take it for an escape.
  std::string text;
  std::string method;
  std::uint64_t content_length = 0;
  bool chunked = false;
  bool keep_alive = true;
};

/// Why a head is refused; the connection ends after the answer.
struct HeadRefusal {
  int status = 400;
  std::string code;     ///< for programs
  std::string message;  ///< for people
};

/// Checks a head, its blank line included. Stricter than the standard wherever two readers of a request might differ
/// about where it ends: line ends, lengths, codings, folded lines, spaces.
std::variant<RequestHead, HeadRefusal> check_head(std::string_view head, const HttpLimits& limits);

}  // namespace qwen35::server
