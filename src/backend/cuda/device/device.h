#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace qwen35::cuda {

/// Throws for anything but cudaSuccess: out_of_memory when the GPU's memory is full (the device goes on), device
/// for everything else. `what` completes "while …".
void check(cudaError_t status, const char* what);

/// Why no GPU can be used, or empty: driver, device and compute capability (8.0 or later) are looked at.
std::string why_unusable();

/// What kernels are shaped by.
struct DeviceInfo {
  std::string name;
  int index = 0;
  int major = 0, minor = 0;  ///< compute capability
  int multiprocessors = 0;
  std::size_t shared_bytes = 0;  ///< of one block at most
  std::size_t memory_bytes = 0;
  bool cooperative = false;  ///< grids whose blocks are all resident
};
/// Of the device in use. Throws device.
DeviceInfo device_info();

/// Bytes a second, read and written, of copies within the device's memory. Throws as check() does.
double copy_bandwidth();

/// A number for the life of the device's memory: after recover() every handle and pointer of before is void, and what
/// holds one of an earlier life lets go of it without freeing.
std::uint64_t device_life();
/// When the device has failed for good, begins a new life of it (cudaDeviceReset); else does nothing. For who makes a
/// new backend: all others of the process are lost then, as they were before. Throws device.
void recover();

/// Makes the CUDA backend meet faults, for tests. QWEN35_CUDA_FAULT=allocation:N or lost:N in the environment does the
/// same from the start of the process.
namespace faults {
/// The n-th allocation of device memory from now on (1: the next) is refused, once; 0: none.
void refuse_allocation(std::uint64_t n);
/// The n-th check() from now on and all after it find the device lost, until recover(); 0: none.
void lose_device(std::uint64_t n);
/// Asked before memory is allocated: cudaSuccess, or what an allocation is to be answered with.
cudaError_t before_allocation();
}  // namespace faults

/// Device memory with one owner. Throws as check() does. Freed on any thread.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  explicit DeviceMemory(std::size_t bytes);
  DeviceMemory(DeviceMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)), life_(other.life_) {}
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(life_, other.life_);
    return *this;
  }
  ~DeviceMemory();

  [[nodiscard]] void* data() const { return data_; }
  template <typename T>
  [[nodiscard]] T* as() const {
    return static_cast<T*>(data_);
  }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  /// At least `bytes`; what was in it is lost when it grows.
  void reserve(std::size_t bytes) {
    if (bytes > bytes_) {
      *this = DeviceMemory();  // the old one goes first: both may not fit
      *this = DeviceMemory(bytes);
    }
  }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  std::uint64_t life_ = 0;
};

}  // namespace qwen35::cuda
