#include "backend/cuda/device.h"

#include <qwen35/error.h>

namespace qwen35::cuda {

void check(cudaError_t status, const char* what) {
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

DeviceMemory::DeviceMemory(std::size_t bytes) : bytes_(bytes) {
  if (bytes > 0) check(cudaMalloc(&data_, bytes), "asking for device memory");
}

DeviceMemory::~DeviceMemory() {
  if (data_ != nullptr) (void)cudaFree(data_);
}

}  // namespace qwen35::cuda
