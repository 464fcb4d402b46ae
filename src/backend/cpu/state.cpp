#include "backend/cpu/state.h"

#include <algorithm>
#include <cstring>

namespace qwen35::cpu {
namespace {

/// The page that holds a position, the position's place in it and how many it holds.
struct Place {
  std::size_t page;
  std::size_t offset;
  std::size_t tokens;
};

Place place(std::size_t position) {
  if (position < KvCache::kSmallTokens)
    return {position / KvCache::kPageTokens, position % KvCache::kPageTokens, KvCache::kPageTokens};
  const std::size_t beyond = position - KvCache::kSmallTokens;
  return {KvCache::kSmallTokens / KvCache::kPageTokens + beyond / KvCache::kLargePageTokens,
          beyond % KvCache::kLargePageTokens, KvCache::kLargePageTokens};
}

}  // namespace

void KvCache::reserve(std::size_t tokens) {
  if (tokens == 0) return;
  const std::size_t pages = place(tokens - 1).page + 1;
  while (pages_.size() < pages) {
    const bool small = pages_.size() < kSmallTokens / kPageTokens;
    const std::size_t bytes = 2 * heads_ * (small ? kPageTokens : kLargePageTokens) * dim_ * element_bytes();
    memory_.push_back(std::make_unique<Arena>(Arena::padded(bytes)));
    pages_.push_back(reinterpret_cast<std::byte*>(memory_.back()->take(bytes)));
    bytes_ += bytes;
  }
}

std::byte* KvCache::at(bool value, std::size_t head, std::size_t position) const {
  const Place where = place(position);
  const std::size_t row = ((value ? heads_ : 0) + head) * where.tokens + where.offset;
  return pages_[where.page] + row * dim_ * element_bytes();
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

CpuState::CpuState(std::size_t linear_layers, std::size_t conv_floats, std::size_t s_floats) {
  const std::size_t floats = linear_layers * (conv_floats + s_floats);
  const std::size_t bytes = Arena::padded(floats * sizeof(float));
  memory = std::make_unique<Arena>(bytes);
  recurrent = {reinterpret_cast<float*>(memory->take(bytes)), floats};
  std::fill(recurrent.begin(), recurrent.end(), 0.0F);
  // All S first: they begin at whole cache lines and, with the usual shapes, at whole pages.
  for (std::size_t i = 0; i < linear_layers; ++i) {
    linear.push_back({recurrent.subspan(linear_layers * s_floats + i * conv_floats, conv_floats),
                      recurrent.subspan(i * s_floats, s_floats)});
  }
}

std::size_t CpuState::memory_bytes() const {
  std::size_t bytes = recurrent.size_bytes();
  for (const KvCache& cache : full) bytes += cache.memory_bytes();
  return bytes;
}

std::size_t CpuSnapshot::memory_bytes() const { return recurrent.capacity() * sizeof(float); }

}  // namespace qwen35::cpu
