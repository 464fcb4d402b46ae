#include "backend/cuda/sampling/sampling.h"

#include <qwen35/error.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <string>
#include <vector>

#include "backend/cuda/device/device.h"
#include "backend/cuda/sampling/sampling_kernel.h"
#include "backend/cuda/sampling/sampling_plan.h"

namespace qwen35::cuda {
namespace {

/// For one who spins.
void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// The generator after `draws`.
void advance(RandomState& random, std::uint32_t draws) {
  const auto rotl = [](std::uint64_t x, int by) { return (x << by) | (x >> (64 - by)); };
  for (std::uint32_t i = 0; i < draws; ++i) {
    const std::uint64_t shifted = random[1] << 17U;
    random[2] ^= random[0];
    random[3] ^= random[1];
    random[1] ^= random[2];
    random[0] ^= random[3];
    random[2] ^= shifted;
    random[3] = rotl(random[3], 45);
  }
}

/// Page-locked host memory that the device reads and writes.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  explicit PinnedMemory(std::size_t bytes) { reserve(bytes); }
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;
  ~PinnedMemory() { free(); }
  /// At least `bytes`; what was in it is lost when it grows.
  void reserve(std::size_t bytes) {
    if (bytes <= bytes_) return;
    free();
    void* data = nullptr;
    check(cudaHostAlloc(&data, bytes, cudaHostAllocMapped), "asking for page-locked memory");
    data_ = data;
    bytes_ = bytes;
    life_ = device_life();
  }
  [[nodiscard]] void* data() const { return data_; }

 private:
  void free() noexcept {
    if (data_ != nullptr && life_ == device_life() && cudaFreeHost(data_) != cudaSuccess) (void)cudaGetLastError();
    data_ = nullptr;
    bytes_ = 0;
  }
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  std::uint64_t life_ = 0;
};

/// Tokens that the request's lists name.
std::size_t marks_of(const SampleRequest& request) {
  return request.barred.size() + request.options->logit_bias.size() + request.history.size() + request.generated.size();
}

/// Candidates that a row of so many slices has room for.
std::uint32_t capacity_of(std::uint32_t slices) {
  return std::max(slices * kMostCandidates, SamplingLaunch::kLeastCapacity);
}

/// Of the longest row, with up to 3 floats before it.
std::uint32_t slices_of(std::span<const DeviceSampler::Row> rows) {
  std::size_t vocabulary = 0;
  for (const DeviceSampler::Row& row : rows) vocabulary = std::max(vocabulary, row.request->vocabulary);
  return static_cast<std::uint32_t>((vocabulary + 3 + kSliceLogits - 1) / kSliceLogits);
}

}  // namespace

struct DeviceSampler::Impl {
  SamplingPlan plan;
  std::vector<Row> rows;  ///< of the last enqueue(); empty behind wait()
  cudaStream_t stream = nullptr;
  DeviceMemory candidates;
  DeviceMemory counters{kMostRows * SamplingLaunch::kCounters * sizeof(std::uint32_t)};
  DeviceMemory long_plan;
  PinnedMemory staging;
  PinnedMemory results{kMostRows * sizeof(Word)};
  Word* device_results = nullptr;
};

DeviceSampler::DeviceSampler() : impl_(std::make_unique<Impl>()) {
  check(cudaMemset(impl_->counters.data(), 0, impl_->counters.bytes()), "preparing to sample");
  check(cudaStreamSynchronize(nullptr), "preparing to sample");  // other streams do not wait for this one
  std::memset(impl_->results.data(), 0, kMostRows * sizeof(Word));
  void* mapped = nullptr;
  check(cudaHostGetDevicePointer(&mapped, impl_->results.data(), 0), "preparing to sample");
  impl_->device_results = static_cast<Word*>(mapped);
}

DeviceSampler::~DeviceSampler() = default;

bool DeviceSampler::supports(const SampleRequest& request) {
  const SamplerOptions& options = *request.options;
  if (options.temperature != 0 && (options.top_k < 1 || options.top_k > static_cast<int>(kMostTopK))) return false;
  if (request.vocabulary == 0 || request.vocabulary > (1U << 30U)) return false;
  return marks_of(request) <= kMostMarks;
}

void DeviceSampler::reserve(std::span<const Row> rows) {
  std::size_t bytes = rows.size() * sizeof(RowPlan);
  for (const Row& row : rows) bytes += marks_of(*row.request) * sizeof(LogitChange);
  impl_->candidates.reserve(rows.size() * capacity_of(slices_of(rows)) * sizeof(Word));
  if (bytes <= SamplingLaunch::kInlineBytes) return;
  impl_->staging.reserve(bytes);
  impl_->long_plan.reserve(bytes);
}

void DeviceSampler::enqueue(std::span<const Row> rows, cudaStream_t stream) {
  Impl& own = *impl_;
  if (!own.rows.empty()) throw Error(ErrorCode::internal, "tokens were asked for before the last were waited for");
  if (rows.empty() || rows.size() > kMostRows) {
    throw Error(ErrorCode::invalid_argument, "tokens of " + std::to_string(rows.size()) +
                                                 " rows of logits were asked for at once; expected 1 to " +
                                                 std::to_string(kMostRows));
  }
  if (rows.front().follows)
    throw Error(ErrorCode::invalid_argument, "the first of the rows to be sampled follows a row before it");
  own.plan.clear();
  for (const Row& row : rows) {
    if (!supports(*row.request)) {
      throw Error(ErrorCode::invalid_argument, "these sampling options are not for the GPU; ask supports() before");
    }
    own.plan.add(row.logits, *row.request, row.follows);
  }

  const std::uint32_t slices = slices_of(rows);
  SamplingLaunch plan;
  plan.device = nullptr;
  plan.rows = static_cast<std::uint32_t>(rows.size());
  plan.capacity = capacity_of(slices);
  reserve(rows);
  plan.candidates = own.candidates.as<Word>();
  plan.counters = own.counters.as<std::uint32_t>();
  plan.results = own.device_results;
  const std::size_t row_bytes = rows.size() * sizeof(RowPlan);
  const std::size_t change_bytes = own.plan.changes().size() * sizeof(LogitChange);
  unsigned char* bytes = plan.bytes;
  if (row_bytes + change_bytes > SamplingLaunch::kInlineBytes) {
    bytes = static_cast<unsigned char*>(own.staging.data());
    plan.device = own.long_plan.as<unsigned char>();
  }
  std::memcpy(bytes, own.plan.rows().data(), row_bytes);
  if (change_bytes > 0) std::memcpy(bytes + row_bytes, own.plan.changes().data(), change_bytes);
  own.rows.reserve(rows.size());
  if (plan.device != nullptr) {
    check(cudaMemcpyAsync(own.long_plan.data(), bytes, row_bytes + change_bytes, cudaMemcpyHostToDevice, stream),
          "sending what is to be sampled");
  }
  std::memset(own.results.data(), 0, rows.size() * sizeof(Word));
  launch_sampling(plan, slices, stream);
  own.stream = stream;
  own.rows.assign(rows.begin(), rows.end());
}

void DeviceSampler::wait() {
  using Clock = std::chrono::steady_clock;
  struct Forget {  // whatever happens
    std::vector<Row>& rows;
    ~Forget() { rows.clear(); }
  };
  // Longer than a decode pass: behind a long prompt the thread sleeps.
  constexpr auto kSpin = std::chrono::milliseconds(3);
  const std::vector<Row>& rows = impl_->rows;
  const Forget behind{impl_->rows};
  auto* results = static_cast<std::uint64_t*>(impl_->results.data());
  const auto result = [&](std::size_t i) { return std::atomic_ref(results[i]).load(std::memory_order_acquire); };
  const Clock::time_point begin = Clock::now();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::uint32_t turn = 1; result(i) == 0; ++turn) {
      relax();
      if (turn % 64 != 0 || Clock::now() - begin < kSpin) continue;
      check(cudaStreamSynchronize(impl_->stream), "sampling");
      if (result(i) != 0) break;
      throw Error(ErrorCode::device,
                  "the GPU finished without a sampled token; load the model again, or use "
                  "--backend cpu");
    }
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    SampleRequest& request = *rows[i].request;
    if (rows[i].follows) request.random = rows[i - 1].request->random;
    request.token = static_cast<TokenId>(static_cast<std::uint32_t>(result(i) >> 32U));
    advance(request.random, static_cast<std::uint32_t>(result(i)) >> 1U);
  }
}

void DeviceSampler::forget() noexcept { impl_->rows.clear(); }

std::size_t DeviceSampler::memory_bytes() const {
  return impl_->candidates.bytes() + impl_->counters.bytes() + impl_->long_plan.bytes();
}

}  // namespace qwen35::cuda
