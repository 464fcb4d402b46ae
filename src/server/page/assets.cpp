#include "server/page/assets.h"

#include <algorithm>
#include <span>

namespace qwen35::server {

// In the generated file; sorted as they are listed in CMakeLists.txt.
extern const std::span<const Asset> kAssets;

const std::string_view kContentSecurityPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri "
    "'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const Asset* find_asset(std::string_view path) {
  if (path == "/") {
    path = "/index.html";
  }
  const auto found = std::ranges::find(kAssets, path, &Asset::path);
  return found == kAssets.end() ? nullptr : &*found;
}

}  // namespace qwen35::server
