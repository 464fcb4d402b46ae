#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "server/request_notes.h"

namespace qwen35::server {

/// A line for one request, with its newline: time, id, peer, method, route, status, milliseconds and tokens. Nothing
/// that a client wrote is in it, but for an id made harmless, unless the notes hold a prompt.
std::string log_line(const RequestNotes& notes, std::string_view peer, std::string_view method, int status);

/// A client's X-Request-Id as far as it may be repeated: 1 to 64 letters, digits and . _ - and no other character;
/// otherwise a fresh one.
std::string request_id(std::string_view given);
/// Letters and digits that nobody can guess, `bytes` of randomness.
std::string random_hex(std::size_t bytes);

/// Text between quotes without control characters or line ends.
std::string quoted_for_log(std::string_view text);

}  // namespace qwen35::server
