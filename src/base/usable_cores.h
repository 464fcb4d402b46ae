#pragma once

#include <vector>

namespace qwen35 {

/// The cores that the calling thread may use, lowest first; never empty. Where the system does not say: as many as it
/// has.
std::vector<int> usable_cores();

}  // namespace qwen35
