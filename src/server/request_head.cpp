#include "server/request_head.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "server/ascii.h"

namespace qwen35::server {
namespace {

constexpr std::size_t kLibraryLine = 8000;  ///< the HTTP library gives up on longer lines
constexpr std::array<std::string_view, 7> kMethods{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
/// Acted upon by the library in ways that cost more than they help, or written by itself.
constexpr std::array<std::string_view, 7> kDropped{"range",       "if-range",   "accept-encoding", "remote_addr",
                                                   "remote_port", "local_addr", "local_port"};

bool is_token_char(char c) {
  return is_alphanumeric(c) || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool is_token(std::string_view text) { return !text.empty() && std::all_of(text.begin(), text.end(), is_token_char); }

/// Goes through the lines of one head and collects what they mean together.
class HeadReader {
 public:
  explicit HeadReader(const HttpLimits& limits) : limits_(limits) {}

  std::optional<HeadRefusal> request_line(std::string_view line) {
    const std::size_t first = line.find(' ');
    const std::size_t last = line.rfind(' ');
    if (first == std::string_view::npos || first == last)
      return bad("the request line is not \"METHOD target HTTP/1.1\"");
    const std::string_view method = line.substr(0, first);
    const std::string_view target = line.substr(first + 1, last - first - 1);
    const std::string_view version = line.substr(last + 1);
    if (!version.starts_with("HTTP/")) return bad("the request line does not end with an HTTP version");
    if (version != "HTTP/1.1" && version != "HTTP/1.0")
      return HeadRefusal{505, "http_version", "only HTTP/1.1 and HTTP/1.0 are spoken here"};
    if (target.size() > limits_.max_target_bytes) return HeadRefusal{414, "uri_too_long", "the URI is too long"};
    if (target != "*" && !target.starts_with('/')) return bad("the request's target is not a path");
    if (std::any_of(target.begin(), target.end(), [](char c) { return c <= ' ' || c > '~'; }))
      return bad("the request's target holds characters that must be escaped");
    if (std::find(kMethods.begin(), kMethods.end(), method) == kMethods.end())
      return is_token(method) ? HeadRefusal{501, "unknown_method", "this method is not known here"}
                              : *bad("the request's method is no word");
    old_ = version == "HTTP/1.0";
    head_.method = method;
    head_.text.append(line).append("\r\n");
    return std::nullopt;
  }

  std::optional<HeadRefusal> header(std::string_view line) {
    if (++count_ > limits_.max_headers)
      return HeadRefusal{431, "too_many_headers",
                         "more than " + std::to_string(limits_.max_headers) + " header lines; send fewer"};
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || !is_token(line.substr(0, colon)))
      return bad("a header line is not \"Name: value\" (folded lines and spaces before the colon are refused)");
    const std::string name = lower(line.substr(0, colon));
    const std::string_view value = trim(line.substr(colon + 1));
    if (std::any_of(value.begin(), value.end(), is_control)) return bad("a header's value holds control characters");
    if (auto refusal = understand(name, value)) return refusal;
    if (std::find(kDropped.begin(), kDropped.end(), name) != kDropped.end()) return std::nullopt;
    if (name == "connection" || name == "expect") return std::nullopt;  // written anew
    return pass_on(line.substr(0, colon), value);
  }

  std::variant<RequestHead, HeadRefusal> finish() {
    if (hosts_ != 1 && !old_) return *bad("a request needs exactly one Host header");
    if (hosts_ > 1) return *bad("a request has at most one Host header");
    if (lengths_ > 0 && head_.chunked)
      return *bad("Content-Length and Transfer-Encoding contradict each other; send one of them");
    if (head_.chunked && old_) return *bad("HTTP/1.0 knows no Transfer-Encoding");
    const bool has_body = head_.method == "POST" || head_.method == "PUT" || head_.method == "PATCH";
    if (has_body && lengths_ == 0 && !head_.chunked)
      return HeadRefusal{411, "length_required", "a request with a body needs Content-Length or a chunked body"};
    if (head_.content_length > limits_.max_body_bytes)
      return HeadRefusal{413, "body_too_large",
                         "the body has " + std::to_string(head_.content_length) + " bytes, more than the " +
                             std::to_string(limits_.max_body_bytes) + " this server takes"};
    head_.keep_alive = !close_ && !old_;  // HTTP/1.0 has no other end of an answer whose length is not known
    if (!head_.keep_alive) head_.text += "Connection: close\r\n";
    if (expect_ && !old_) head_.text += "Expect: 100-continue\r\n";
    head_.text += "\r\n";
    return std::move(head_);
  }

 private:
  static std::optional<HeadRefusal> bad(std::string message) {
    return HeadRefusal{400, "bad_request", std::move(message)};
  }

  std::optional<HeadRefusal> understand(std::string_view name, std::string_view value) {
    if (name == "host") ++hosts_;
    if (name == "content-length") {
      if (++lengths_ > 1) return bad("there is more than one Content-Length");
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), head_.content_length);
      if (value.empty() || !is_digit(value.front()) || error == std::errc::invalid_argument ||
          end != value.data() + value.size())
        return bad("Content-Length is not a number");
      if (error == std::errc::result_out_of_range)
        return HeadRefusal{413, "body_too_large", "Content-Length is larger than anything this server takes"};
    }
    if (name == "transfer-encoding") {
      if (head_.chunked || lower(value) != "chunked")
        return HeadRefusal{501, "transfer_encoding", "the only Transfer-Encoding taken here is \"chunked\", once"};
      head_.chunked = true;
    }
    if (name == "content-encoding" && !value.empty() && lower(value) != "identity")
      return HeadRefusal{415, "content_encoding", "compressed bodies are not taken; send the JSON as it is"};
    if (name == "expect") {
      if (lower(value) != "100-continue")
        return HeadRefusal{417, "expectation", "the only expectation known here is \"100-continue\""};
      expect_ = true;
    }
    if (name == "connection") close_ = close_ || lower(value).find("close") != std::string::npos;
    return std::nullopt;
  }

  std::optional<HeadRefusal> pass_on(std::string_view name, std::string_view value) {
    const std::size_t before = head_.text.size();
    head_.text.append(name).append(": ");
    for (const char c : value) {
      head_.text += c;
      if (c == '%') head_.text += "25";
    }
    head_.text += "\r\n";
    if (head_.text.size() - before > kLibraryLine)
      return HeadRefusal{431, "header_too_large", "a header line is too long"};
    return std::nullopt;
  }

  const HttpLimits& limits_;
  RequestHead head_;
  std::size_t count_ = 0;
  std::size_t hosts_ = 0;
  std::size_t lengths_ = 0;
  bool old_ = false;  ///< HTTP/1.0
  bool close_ = false;
  bool expect_ = false;
};

}  // namespace

std::variant<RequestHead, HeadRefusal> check_head(std::string_view head, const HttpLimits& limits) {
  if (head.size() > limits.max_head_bytes)
    return HeadRefusal{431, "headers_too_large",
                       "the headers take more than " + std::to_string(limits.max_head_bytes) + " bytes"};
  HeadReader reader(limits);
  for (bool first = true; !head.empty(); first = false) {
    const std::size_t end = head.find('\n');
    if (end == std::string_view::npos || end == 0 || head[end - 1] != '\r')
      return HeadRefusal{400, "bad_request", "a line of the request does not end with CR LF"};
    const std::string_view line = head.substr(0, end - 1);
    head.remove_prefix(end + 1);
    if (line.empty()) {
      if (first || !head.empty()) return HeadRefusal{400, "bad_request", "the request's head has a blank line in it"};
      return reader.finish();
    }
    if (auto refusal = first ? reader.request_line(line) : reader.header(line)) return *std::move(refusal);
  }
  return HeadRefusal{400, "bad_request", "the request's head has no blank line at its end"};
}

}  // namespace qwen35::server
