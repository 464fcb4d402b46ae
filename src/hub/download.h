#pragma once

#include <qwen35/hub.h>

#include <string>

#include "hub/partial_file.h"

namespace qwen35::hub {

/// As the public download(), on a disk of the caller's. `disk` outlives the call.
CachedModel download_onto(const std::string& id, const DownloadOptions& options, const Disk& disk);

}  // namespace qwen35::hub
