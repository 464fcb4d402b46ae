#include "backend/backend.h"

#include <qwen35/error.h>

#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "backend/checks.h"
#include "backend/cpu/cpu_backend.h"
#include "backend/reference/reference_backend.h"
#include "sampling/sampler.h"

#if defined(QWEN35_WITH_CUDA)
#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/device/device.h"
#endif

namespace qwen35 {
namespace {

/// "cpu" or "cuda" for "auto".
std::string usual_kind(const BackendOptions& options) {
  const char* const tested = std::getenv("QWEN35_TEST_BACKEND");
  if (tested != nullptr && *tested != '\0' && !options.float32) return tested;
  return options.float32 || !why_no_gpu().empty() ? "cpu" : "cuda";
}

std::unique_ptr<Backend> make_gpu_backend(const ModelWeights& weights, const BackendOptions& options) {
  if (options.float32) {
    throw Error(ErrorCode::unsupported,
                "float32 arithmetic is the CPU backend's alone; use --backend cpu, or leave float32 out");
  }
  if (const std::string why = why_no_gpu(); !why.empty())
    throw Error(ErrorCode::unsupported, "the CUDA backend cannot be used: " + why + ". Use --backend cpu or auto");
#if defined(QWEN35_WITH_CUDA)
  return make_cuda_backend(weights);
#else
  (void)weights;
  return nullptr;  // there is always a reason why not
#endif
}

}  // namespace

std::string why_no_gpu() {
#if defined(QWEN35_WITH_CUDA)
  return cuda::why_unusable();
#else
  return "this build has no CUDA backend (-DQWEN35_CUDA=ON builds it, with the CUDA toolkit)";
#endif
}

double gpu_copy_bandwidth() {
  if (const std::string why = why_no_gpu(); !why.empty())
    throw Error(ErrorCode::unsupported, "the CUDA backend cannot be used: " + why);
#if defined(QWEN35_WITH_CUDA)
  return cuda::copy_bandwidth();
#else
  return 0;  // there is always a reason why not
#endif
}

bool Backend::forward_batch(std::span<const Feed> feeds, const Cancellation& cancelled) {
  for (const Feed& feed : feeds) {
    if (!forward(*feed.state, feed.tokens, feed.rows, feed.logits, cancelled)) return false;
  }
  return true;
}

bool Backend::verify_sampled(State& state, std::span<const TokenId> tokens, std::span<SampleRequest> samples,
                             const Cancellation& cancelled) {
  const std::size_t vocabulary = config().vocab_size;
  check_samples(vocabulary, tokens.size(), samples);
  check_verify(tokens.size(), max_verify());
  std::vector<float> logits(tokens.size() * vocabulary);
  if (!verify(state, tokens, logits, cancelled)) return false;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    if (i > 0) samples[i].random = samples[i - 1].random;
    Sampler::answer(samples[i], std::span(logits).subspan(i * vocabulary, vocabulary));
  }
  return true;
}

std::unique_ptr<Backend> make_backend(ModelWeights weights, const BackendOptions& options) {
  if (options.threads < 0 || options.threads > 1024) {
    throw Error(ErrorCode::invalid_argument,
                "threads is " + std::to_string(options.threads) + "; expected 1 to 1024, or 0 for every usable core");
  }
  const std::string kind = options.kind == "auto" ? usual_kind(options) : options.kind;
  if (kind == "cuda" && options.kind == "auto" && std::getenv("QWEN35_TEST_BACKEND") == nullptr) {
    try {
      return make_gpu_backend(weights, options);
    } catch (const Error& error) {
      const bool of_the_gpu = error.code() == ErrorCode::out_of_memory || error.code() == ErrorCode::device ||
                              error.code() == ErrorCode::unsupported;
      if (!of_the_gpu) throw;
      std::fprintf(stderr, "qwen35: using the CPU: %s\n", error.what());
      return make_cpu_backend(std::move(weights), options);
    }
  }
  if (kind == "cuda") return make_gpu_backend(weights, options);
  if (kind == "cpu") return make_cpu_backend(std::move(weights), options);
  if (kind == "reference") return make_reference_backend(std::move(weights));
  throw Error(ErrorCode::invalid_argument, "unknown backend \"" + kind + "\"; expected auto, cpu, cuda or reference");
}

}  // namespace qwen35
