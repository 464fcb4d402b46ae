#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
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

/// Device memory with one owner. Throws as check() does. Freed on any thread.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  explicit DeviceMemory(std::size_t bytes);
  DeviceMemory(DeviceMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
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
};

}  // namespace qwen35::cuda
