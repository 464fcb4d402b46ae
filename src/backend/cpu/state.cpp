#include "backend/cpu/state.h"

#include <cstring>

namespace qwen35::cpu {
namespace {

std::size_t bytes_of(const std::vector<LinearState>& layers) {
  std::size_t bytes = 0;
  for (const LinearState& layer : layers) bytes += (layer.conv.capacity() + layer.s.capacity()) * sizeof(float);
  return bytes;
}

}  // namespace

void KvCache::reserve(std::size_t tokens) {
  const std::size_t pages = (tokens + kPageTokens - 1) / kPageTokens;
  while (pages_.size() < pages) pages_.emplace_back(2 * heads_ * kPageTokens * dim_ * element_bytes());
}

std::byte* KvCache::at(bool value, std::size_t head, std::size_t position) const {
  const std::size_t row = ((value ? heads_ : 0) + head) * kPageTokens + position % kPageTokens;
  return pages_[position / kPageTokens].data() + row * dim_ * element_bytes();
}

void KvCache::write(std::byte* to, const float* row, const Kernels& kernels) const {
  if (f16_)
    kernels.to_f16(row, reinterpret_cast<std::uint16_t*>(to), dim_);
  else
    std::memcpy(to, row, dim_ * sizeof(float));
}

void KvCache::write_key(std::size_t head, std::size_t position, const float* row, const Kernels& kernels) {
  write(at(false, head, position), row, kernels);
}

void KvCache::write_value(std::size_t head, std::size_t position, const float* row, const Kernels& kernels) {
  write(at(true, head, position), row, kernels);
}

std::size_t KvCache::memory_bytes() const { return pages_.size() * 2 * heads_ * kPageTokens * dim_ * element_bytes(); }

std::size_t CpuState::memory_bytes() const {
  std::size_t bytes = bytes_of(linear);
  for (const KvCache& cache : full) bytes += cache.memory_bytes();
  return bytes;
}

std::size_t CpuSnapshot::memory_bytes() const { return bytes_of(linear); }

}  // namespace qwen35::cpu
