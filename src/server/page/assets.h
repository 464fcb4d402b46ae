// The chat page's files, embedded in the binary by embed.cmake.
#pragma once

#include <string_view>

namespace qwen35::server {

/// One file of the page. All views last as long as the program.
struct Asset {
  std::string_view path;          ///< as in the request line, e.g. "/style.css"
  std::string_view content_type;  ///< with its charset where it is text
  std::string_view body;          ///< the bytes of the file
  std::string_view etag;          ///< strong, quoted, from the SHA-256 of the body: ready for ETag and If-None-Match
};

/// The file at a request's path ("/" is index.html), or nullptr. The path is compared whole: without query, without
/// decoding. Nothing is read from the file system. Safe from any thread.
const Asset* find_asset(std::string_view path);

/// The header that every asset is served with. It lets in only the page's own files and calls, so that text that
/// slipped through as markup would still not run; Trusted Types make the browser refuse innerHTML and its kind.
extern const std::string_view kContentSecurityPolicy;

}  // namespace qwen35::server
