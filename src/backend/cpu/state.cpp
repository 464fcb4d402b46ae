#include "backend/cpu/state.h"

#include <utility>

#include "backend/checks.h"

namespace qwen35::cpu {

CpuState::CpuState(const StateShape& own_shape, std::shared_ptr<BlockPool> pool)
    : shape(own_shape),
      memory(std::move(pool)),
      full(own_shape.full_layers, KvCache(own_shape.kv_heads, own_shape.head_dim, own_shape.f16)) {}

SharedBlock CpuState::next_recurrent() {
  if (recurrent && recurrent.alone()) return recurrent;
  return memory->make(shape.recurrent_floats() * sizeof(float));
}

LinearState CpuState::linear(std::size_t layer, const SharedBlock& next) const {
  const std::size_t s = s_offset(shape, layer);
  const std::size_t conv = conv_offset(shape, layer);
  auto* to = reinterpret_cast<float*>(next.data());
  const float* from = tokens == 0 ? nullptr : reinterpret_cast<const float*>(recurrent.data());
  return {from == nullptr ? nullptr : from + conv, from == nullptr ? nullptr : from + s, to + conv, to + s};
}

std::size_t CpuState::memory_bytes() const {
  std::size_t bytes = recurrent.fair_share();
  for (const KvCache& cache : full) bytes += cache.memory_bytes();
  return bytes;
}

std::size_t CpuSnapshot::memory_bytes() const {
  std::size_t bytes = recurrent.fair_share();
  for (const KvCache& cache : full) bytes += cache.memory_bytes();
  return bytes;
}

std::size_t pool_bytes(const StateShape& shape) {
  const KvCache cache(shape.kv_heads, shape.head_dim, shape.f16);
  return 2 * shape.recurrent_floats() * sizeof(float) + shape.full_layers * cache.page_bytes();
}

std::unique_ptr<CpuSnapshot> take_snapshot(const CpuState& state) {
  auto snapshot = std::make_unique<CpuSnapshot>(state.shape);
  snapshot->tokens = state.tokens;
  if (state.tokens > 0) snapshot->recurrent = state.recurrent;
  for (const KvCache& cache : state.full) snapshot->full.push_back(cache.prefix(state.tokens));
  return snapshot;
}

void write_snapshot(const CpuSnapshot& snapshot, const ByteSink& sink) {
  const StateShape& shape = snapshot.shape;
  write_position(snapshot.tokens, sink);
  if (snapshot.tokens == 0) return;
  const auto* recurrent = reinterpret_cast<const float*>(snapshot.recurrent.data());
  for (std::size_t layer = 0; layer < shape.linear_layers; ++layer) {
    sink(std::as_bytes(std::span(recurrent + conv_offset(shape, layer), shape.conv_floats())));
    sink(std::as_bytes(std::span(recurrent + s_offset(shape, layer), shape.s_floats())));
  }
  for (const KvCache& cache : snapshot.full) cache.store(snapshot.tokens, sink);
}

std::unique_ptr<CpuSnapshot> read_snapshot(std::span<const std::byte> bytes, const StateShape& shape,
                                           std::size_t max_positions, BlockPool& memory) {
  auto snapshot = std::make_unique<CpuSnapshot>(shape);
  snapshot->tokens = read_position(bytes, shape, max_positions);
  snapshot->full.resize(shape.full_layers, KvCache(shape.kv_heads, shape.head_dim, shape.f16));
  if (snapshot->tokens == 0) return snapshot;
  bytes = bytes.subspan(sizeof(std::uint64_t));
  snapshot->recurrent = memory.make(shape.recurrent_floats() * sizeof(float));
  auto* recurrent = reinterpret_cast<float*>(snapshot->recurrent.data());
  for (std::size_t layer = 0; layer < shape.linear_layers; ++layer) {
    read_floats(bytes, {recurrent + conv_offset(shape, layer), shape.conv_floats()});
    read_floats(bytes, {recurrent + s_offset(shape, layer), shape.s_floats()});
  }
  for (KvCache& cache : snapshot->full) cache.load(snapshot->tokens, bytes, memory);
  return snapshot;
}

void restore_snapshot(CpuState& state, const CpuSnapshot& snapshot) {
  check_same_shape(state.shape, snapshot.shape);
  state.tokens = snapshot.tokens;
  state.recurrent = snapshot.recurrent;
  for (std::size_t i = 0; i < state.full.size(); ++i) state.full[i].become(snapshot.full[i]);
}

void reset_state(CpuState& state) {
  state.tokens = 0;
  if (state.recurrent && !state.recurrent.alone()) state.recurrent = {};
  for (KvCache& cache : state.full) cache.become(cache.prefix(0));
}

}  // namespace qwen35::cpu
