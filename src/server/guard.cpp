#include "server/guard.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <qwen35/error.h>

#include <algorithm>
#include <new>
#include <utility>

#include "server/ascii.h"

namespace qwen35::server {
namespace {

constexpr std::size_t kLeastKey = 8;

std::array<unsigned char, 32> digest_of(std::string_view text) {
  std::array<unsigned char, 32> digest{};
  unsigned int size = 0;
  if (EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1 || size != digest.size())
    throw std::bad_alloc();
  return digest;
}

ApiError forbidden(std::string code, std::string message) {
  return {403, "permission_error", std::move(code), "", std::move(message)};
}

/// A Host header's name, lower case, without the port and a final dot.
std::string host_name(std::string_view host) {
  if (host.starts_with('[')) {
    const std::size_t end = host.find(']');
    return lower(host.substr(0, end == std::string_view::npos ? host.size() : end + 1));
  }
  host = host.substr(0, host.find(':'));
  if (host.ends_with('.')) host.remove_suffix(1);
  return lower(host);
}

}  // namespace

void KeyRing::add(std::string_view key) {
  if (key.size() < kLeastKey)
    throw Error(ErrorCode::invalid_argument, "an API key has " + std::to_string(key.size()) + " characters; use " +
                                                 std::to_string(kLeastKey) + " or more (openssl rand -hex 24)");
  if (std::any_of(key.begin(), key.end(), [](char c) { return c <= ' ' || c > '~'; }))
    throw Error(ErrorCode::invalid_argument,
                "an API key holds spaces or characters beyond ASCII; headers carry letters, digits and signs");
  digests_.push_back(digest_of(key));
}

std::optional<ApiError> KeyRing::check(std::string_view authorization) const {
  if (empty()) return std::nullopt;
  constexpr std::string_view kScheme = "bearer ";
  if (authorization.empty()) return missing_key();
  if (lower(authorization.substr(0, kScheme.size())) != kScheme) return wrong_key();
  const Digest shown = digest_of(trim(authorization.substr(kScheme.size())));
  int matches = 0;  // all are compared, whichever fits
  for (const Digest& digest : digests_)
    matches += CRYPTO_memcmp(shown.data(), digest.data(), digest.size()) == 0 ? 1 : 0;
  if (matches == 0) return wrong_key();
  return std::nullopt;
}

OriginGuard::OriginGuard(bool loopback, std::vector<std::string> allowed_hosts, std::string cors_origin)
    : loopback_(loopback), hosts_(std::move(allowed_hosts)), cors_origin_(std::move(cors_origin)) {
  for (std::string& host : hosts_) host = host_name(host);
  if (loopback_) hosts_.insert(hosts_.end(), {"localhost", "127.0.0.1", "[::1]"});
}

std::optional<ApiError> OriginGuard::check(std::string_view host, std::string_view origin, bool changes) const {
  if (!hosts_.empty() && std::find(hosts_.begin(), hosts_.end(), host_name(host)) == hosts_.end())
    return forbidden(
        "host_not_allowed",
        "this server does not answer to that host name; the one who runs it can allow it (--allowed-host)");
  if (!changes || origin.empty() || shares_with(origin)) return std::nullopt;
  // Behind a proxy that speaks TLS the schemes differ; names and ports do not.
  const std::size_t scheme = origin.find("://");
  const bool web = origin.starts_with("http://") || origin.starts_with("https://");
  if (web && lower(origin.substr(scheme + 3)) == lower(host)) return std::nullopt;
  return forbidden("origin_not_allowed",
                   "pages of other sites may not use this server; the one who runs it can allow one (--cors-origin)");
}

}  // namespace qwen35::server
