// What stands in for downloads in a build without libcurl or OpenSSL: the cache is still read.
#include <qwen35/error.h>
#include <qwen35/hub.h>

#include "hub/environment.h"
#include "hub/names.h"

namespace qwen35::hub {

bool can_download() noexcept { return false; }

CachedModel download(const std::string& id, const DownloadOptions& options) {
  check_repository_id(id);
  if (auto model = find(id, options)) return *model;
  throw Error(ErrorCode::unsupported,
              id + (options.variant.empty() ? "" : ":" + options.variant) + " is not in the cache " +
                  read_environment(options).cache.string() +
                  ", and this build has no downloads: it was configured without libcurl or OpenSSL (QWEN35_HUB). "
                  "Bring the files there with another tool, such as \"hf download " +
                  id + "\", or give a folder");
}

}  // namespace qwen35::hub
