#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/openai/errors.h"

namespace qwen35::server {

/// The keys that clients may show. Only their SHA-256 is kept, and how long a comparison takes says nothing about them.
class KeyRing {
 public:
  /// Throws Error (invalid_argument) for a key that no header can hold, or that is shorter than 8 characters.
  void add(std::string_view key);
  [[nodiscard]] bool empty() const { return digests_.empty(); }
  /// What is wrong with a request's Authorization header; "": it has none. Nothing when there are no keys.
  [[nodiscard]] std::optional<ApiError> check(std::string_view authorization) const;

 private:
  using Digest = std::array<unsigned char, 32>;
  std::vector<Digest> digests_;
};

/// Keeps web pages of other sites away from a server that their visitor's browser can reach: by the name the browser
/// believes it talks to (DNS rebinding), and by the page that asks.
class OriginGuard {
 public:
  /// `loopback`: only requests to localhost, 127.0.0.1 and [::1] are for us; else to anything. `allowed_hosts`: further
  /// names, without a port; on a network they become the only ones. `cors_origin`: the one other site whose pages may
  /// ask, e.g. "https://app.example"; "": none.
  OriginGuard(bool loopback, std::vector<std::string> allowed_hosts, std::string cors_origin);

  /// `changes`: the request is no mere GET or HEAD. What is wrong; 403.
  [[nodiscard]] std::optional<ApiError> check(std::string_view host, std::string_view origin, bool changes) const;
  /// Whether answers may be read by pages of `origin`, another site's.
  [[nodiscard]] bool shares_with(std::string_view origin) const { return !origin.empty() && origin == cors_origin_; }

 private:
  bool loopback_;
  std::vector<std::string> hosts_;
  std::string cors_origin_;
};

}  // namespace qwen35::server
