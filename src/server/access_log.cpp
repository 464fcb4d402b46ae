#include "server/access_log.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <random>

#include "server/ascii.h"

namespace qwen35::server {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";

std::string now_text() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  std::array<char, 40> text{};
  const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &utc);
  std::snprintf(text.data() + size, text.size() - size, ".%03dZ", static_cast<int>(ms));
  return text.data();
}

std::string whole(double value) { return std::to_string(static_cast<long long>(value + 0.5)); }

}  // namespace

std::string random_hex(std::size_t bytes) {
  std::string out;
  std::array<unsigned char, 32> random{};
  bytes = std::min(bytes, random.size());
  if (getrandom(random.data(), bytes, 0) != static_cast<ssize_t>(bytes)) {
    std::random_device device;
    for (unsigned char& byte : random) byte = static_cast<unsigned char>(device());
  }
  for (std::size_t i = 0; i < bytes; ++i) {
    out += kHex[random[i] >> 4U];
    out += kHex[random[i] & 15U];
  }
  return out;
}

std::string request_id(std::string_view given) {
  const bool harmless = !given.empty() && given.size() <= 64 && std::all_of(given.begin(), given.end(), [](char c) {
    return is_alphanumeric(c) || c == '.' || c == '_' || c == '-';
  });
  return harmless ? std::string(given) : "req-" + random_hex(8);
}

std::string quoted_for_log(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (c == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte >= 0x7F) {  // escape sequences of terminals, and what looks like other text
      out += "\\x";
      out += kHex[byte >> 4U];
      out += kHex[byte & 15U];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string log_line(const RequestNotes& notes, std::string_view peer, std::string_view method, int status) {
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - notes.began;
  std::string line = now_text();
  line.append(" id=").append(notes.id).append(" peer=").append(peer).append(" ").append(method).append(" ");
  line.append(notes.route).append(" status=").append(std::to_string(status)).append(" ms=").append(whole(took.count()));
  if (!notes.outcome.empty()) {
    line.append(" outcome=").append(notes.outcome).append(" queue_ms=").append(whole(notes.queue_ms));
    line.append(" first_token_ms=").append(whole(notes.first_token_ms));
    line.append(" prompt_tokens=").append(std::to_string(notes.prompt_tokens));
    line.append(" reused_tokens=").append(std::to_string(notes.reused_tokens));
    line.append(" generated_tokens=").append(std::to_string(notes.generated_tokens));
  }
  if (!notes.prompt.empty()) line.append(" prompt=").append(quoted_for_log(notes.prompt));
  return line + "\n";
}

}  // namespace qwen35::server
