// Heads of HTTP requests: never a crash, and what passes is what the HTTP library may read.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "server/request_head.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace qwen35::server;
  const HttpLimits limits;
  const auto result = check_head({reinterpret_cast<const char*>(data), size}, limits);
  const auto* const head = std::get_if<RequestHead>(&result);
  if (head == nullptr) {
    if (std::get<HeadRefusal>(result).status < 400 || std::get<HeadRefusal>(result).message.empty()) std::abort();
    return 0;
  }
  const std::string_view text = head->text;
  if (!text.ends_with("\r\n\r\n") || text.find("\r\n\r\n") != text.size() - 4) std::abort();
  if (text.find('\0') != std::string_view::npos || head->content_length > limits.max_body_bytes) std::abort();
  // Whoever reads the head again finds the same request. (Escapes would be escaped again, perhaps past a limit; and a
  // head that came with as many lines as allowed has one or two of ours more.)
  if (text.find('%') != std::string_view::npos) return 0;
  const auto again =
      check_head(text, {.max_head_bytes = std::size_t{1} << 20U, .max_headers = limits.max_headers + 2});
  const auto* const second = std::get_if<RequestHead>(&again);
  if (second == nullptr || second->method != head->method || second->content_length != head->content_length ||
      second->chunked != head->chunked || second->keep_alive != head->keep_alive)
    std::abort();
  return 0;
}
