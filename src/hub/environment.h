#pragma once

#include <qwen35/hub.h>

#include <filesystem>
#include <string>

namespace qwen35::hub {

/// What huggingface_hub reads from the environment, with what the caller's options say put over it.
struct Environment {
  std::string endpoint;         ///< without a '/' at the end
  std::string token;            ///< "": none
  std::filesystem::path cache;  ///< the folder that holds models--org--name; need not exist
  bool offline = false;
  bool links = true;  ///< symbolic links from snapshots to blobs; false: the files themselves stand there
  int stall_seconds = 10;
};

/// Throws invalid_argument for an endpoint that is no http(s) address, a token with control characters, options out of
/// their range, or when no folder for the cache can be told (no HOME).
Environment read_environment(const DownloadOptions& options);

}  // namespace qwen35::hub
