#include "backend/cuda/device/device.h"

#include <qwen35/error.h>

#include <atomic>
#include <cstdlib>
#include <string_view>

namespace qwen35::cuda {
namespace {

std::atomic<std::uint64_t> life{1};

/// Counts down to a fault. 0: none is set.
std::atomic<std::uint64_t> allocations_left{0};
std::atomic<std::uint64_t> checks_left{0};
std::atomic<bool> lost{false};

[[maybe_unused]] const bool from_environment = [] {
  const char* const fault = std::getenv("QWEN35_CUDA_FAULT");
  if (fault == nullptr) return false;
  const std::string_view text(fault);
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return false;
  const std::uint64_t n = std::strtoull(fault + colon + 1, nullptr, 10);
  if (text.substr(0, colon) == "allocation") faults::refuse_allocation(n);
  if (text.substr(0, colon) == "lost") faults::lose_device(n);
  return true;
}();

/// Whether this call is the one that the counter was set to.
bool comes_to_zero(std::atomic<std::uint64_t>& counter) {
  std::uint64_t left = counter.load(std::memory_order_relaxed);
  while (left > 0 && !counter.compare_exchange_weak(left, left - 1, std::memory_order_relaxed)) {
  }
  return left == 1;
}

}  // namespace

namespace faults {

void refuse_allocation(std::uint64_t n) { allocations_left = n; }
void lose_device(std::uint64_t n) {
  checks_left = n;
  lost = false;
}
cudaError_t before_allocation() { return comes_to_zero(allocations_left) ? cudaErrorMemoryAllocation : cudaSuccess; }

}  // namespace faults

std::uint64_t device_life() { return life; }

void recover() {
  const bool pretended = lost.exchange(false);
  const cudaError_t status = cudaDeviceSynchronize();
  if (status == cudaSuccess && !pretended) return;
  (void)cudaGetLastError();
  ++life;  // first: nothing of before is freed from here on
  check(cudaDeviceReset(), "starting the GPU afresh");
}

void check(cudaError_t status, const char* what) {
  if (comes_to_zero(checks_left)) lost = true;
  if (lost && status == cudaSuccess) status = cudaErrorDevicesUnavailable;
  if (status == cudaSuccess) return;
  (void)cudaGetLastError();  // what does not stick to the device is over with this report
  const std::string found = std::string(cudaGetErrorName(status)) + " (" + cudaGetErrorString(status) + ")";
  if (status == cudaErrorMemoryAllocation) {
    std::size_t free = 0;
    std::size_t total = 0;
    (void)cudaMemGetInfo(&free, &total);
    (void)cudaGetLastError();
    throw Error(ErrorCode::out_of_memory, std::string("the GPU's memory is full while ") + what + ": " +
                                              std::to_string(free >> 20U) + " of " + std::to_string(total >> 20U) +
                                              " MiB are free; end conversations, lower session memory, or use "
                                              "--backend cpu");
  }
  throw Error(ErrorCode::device, std::string("the GPU failed while ") + what + ": " + found +
                                     "; load the model again, or use --backend cpu");
}

std::string why_unusable() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    (void)cudaGetLastError();
    return std::string("no usable CUDA driver: ") + cudaGetErrorString(status);
  }
  if (count == 0) return "no CUDA device";
  int device = 0;
  int major = 0;
  int minor = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess ||
      cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) != cudaSuccess) {
    (void)cudaGetLastError();
    return "the CUDA device does not answer";
  }
  if (major < 8) {
    return "the GPU has compute capability " + std::to_string(major) + "." + std::to_string(minor) +
           "; 8.0 (Ampere) or later is needed";
  }
  return {};
}

DeviceInfo device_info() {
  DeviceInfo info;
  check(cudaGetDevice(&info.index), "asking for the device");
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, info.index), "asking for the device's properties");
  info.name = properties.name;
  info.major = properties.major;
  info.minor = properties.minor;
  info.multiprocessors = properties.multiProcessorCount;
  info.shared_bytes = properties.sharedMemPerBlockOptin;
  info.memory_bytes = properties.totalGlobalMem;
  info.cooperative = properties.cooperativeLaunch != 0;
  return info;
}

DeviceMemory::DeviceMemory(std::size_t bytes) : bytes_(bytes), life_(device_life()) {
  if (bytes == 0) return;
  const cudaError_t refused = faults::before_allocation();
  check(refused != cudaSuccess ? refused : cudaMalloc(&data_, bytes), "asking for device memory");
}

DeviceMemory::~DeviceMemory() {
  if (data_ == nullptr || life_ != device_life()) return;
  if (cudaFree(data_) != cudaSuccess) (void)cudaGetLastError();
}

double copy_bandwidth() {
  constexpr std::size_t kBytes = std::size_t{256} << 20;
  constexpr int kCopies = 32;
  const DeviceMemory from(kBytes);
  const DeviceMemory to(kBytes);
  cudaEvent_t events[2] = {nullptr, nullptr};
  float milliseconds = 0;
  cudaError_t status = cudaMemset(from.data(), 0, kBytes);
  for (cudaEvent_t& event : events) {
    if (status == cudaSuccess) status = cudaEventCreate(&event);
  }
  for (int i = -2; i < kCopies && status == cudaSuccess; ++i) {  // two that are not counted
    if (i == 0) status = cudaEventRecord(events[0], nullptr);
    if (status == cudaSuccess)
      status = cudaMemcpyAsync(to.data(), from.data(), kBytes, cudaMemcpyDeviceToDevice, nullptr);
  }
  if (status == cudaSuccess) status = cudaEventRecord(events[1], nullptr);
  if (status == cudaSuccess) status = cudaEventSynchronize(events[1]);
  if (status == cudaSuccess) status = cudaEventElapsedTime(&milliseconds, events[0], events[1]);
  for (cudaEvent_t event : events) {
    if (event != nullptr) (void)cudaEventDestroy(event);
  }
  check(status, "measuring the bandwidth");
  return 2.0 * kCopies * static_cast<double>(kBytes) / (1e-3 * static_cast<double>(milliseconds));
}

}  // namespace qwen35::cuda
