#include "backend/backend.h"

#include <qwen35/error.h>

#include <utility>

#include "backend/cpu/cpu_backend.h"
#include "backend/reference/reference_backend.h"

namespace qwen35 {

bool Backend::forward_batch(std::span<const Feed> feeds, const Cancellation& cancelled) {
  for (const Feed& feed : feeds) {
    if (!forward(*feed.state, feed.tokens, feed.rows, feed.logits, cancelled)) return false;
  }
  return true;
}

std::unique_ptr<Backend> make_backend(ModelWeights weights, const BackendOptions& options) {
  if (options.threads < 0 || options.threads > 1024) {
    throw Error(ErrorCode::invalid_argument,
                "threads is " + std::to_string(options.threads) + "; expected 1 to 1024, or 0 for every usable core");
  }
  if (options.kind == "auto" || options.kind == "cpu") return make_cpu_backend(std::move(weights), options);
  if (options.kind == "reference") return make_reference_backend(std::move(weights));
  throw Error(ErrorCode::invalid_argument, "unknown backend \"" + options.kind + "\"; expected auto, cpu or reference");
}

}  // namespace qwen35
