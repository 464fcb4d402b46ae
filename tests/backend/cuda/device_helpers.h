#pragma once

// What all tests of kernels share: skipped where there is no GPU, memory there and back.

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "backend/cuda/device/device.h"

namespace qwen35::cuda {

/// Runs on a GPU, or not at all.
class GpuTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_unusable(); !why.empty()) GTEST_SKIP() << why;
  }
};

template <typename T>
DeviceMemory upload(const std::vector<T>& values) {
  DeviceMemory memory(values.size() * sizeof(T));
  check(cudaMemcpy(memory.data(), values.data(), memory.bytes(), cudaMemcpyHostToDevice), "uploading");
  return memory;
}

template <typename T>
std::vector<T> download(const void* from, std::size_t count) {
  std::vector<T> values(count);
  check(cudaMemcpy(values.data(), from, count * sizeof(T), cudaMemcpyDeviceToHost), "downloading");
  return values;
}
template <typename T>
std::vector<T> download(const DeviceMemory& memory) {
  return download<T>(memory.data(), memory.bytes() / sizeof(T));
}

/// Bytes 0xff: not a number as a float and as a half, so that what was not written is seen.
inline DeviceMemory poisoned(std::size_t bytes) {
  DeviceMemory memory(bytes);
  check(cudaMemset(memory.data(), 0xff, bytes), "poisoning");
  return memory;
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

}  // namespace qwen35::cuda
