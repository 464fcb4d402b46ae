#pragma once

#include <ostream>

#include "backend/backend.h"

namespace qwen35 {

/// How GoogleTest names the parameter of a test.
inline void PrintTo(const BackendOptions& options, std::ostream* out) {
  *out << options.kind << ", " << options.threads << " threads" << (options.float32 ? ", float32" : "");
}

}  // namespace qwen35
