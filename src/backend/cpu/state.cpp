#include "backend/cpu/state.h"

#include <utility>

#include "backend/checks.h"

namespace qwen35::cpu {

CpuState::CpuState(const StateShape& own_shape, std::shared_ptr<BlockPool> pool)
    : shape(own_shape),
      memory(std::move(pool)),
      full(own_shape.full_layers, KvCache(own_shape.kv_heads, own_shape.head_dim, own_shape.f16)) {}

namespace {

/// `block` itself if nobody else holds it, else another one.
SharedBlock writable(const SharedBlock& block, std::size_t floats, BlockPool& memory) {
  return block && block.alone() ? block : memory.make(floats * sizeof(float));
}

const float* floats_of(const SharedBlock& block) { return reinterpret_cast<const float*>(block.data()); }

}  // namespace

CpuState::Pass CpuState::begin_pass(bool verify) {
  Pass pass{writable(recurrent, shape.recurrent_floats(), *memory), {}};
  if (verify) pass.inputs = writable(inputs, shape.linear_layers * kFewTokens * shape.input_floats(), *memory);
  return pass;
}

LinearState CpuState::linear(std::size_t layer, const Pass& pass) const {
  const std::size_t s = s_offset(shape, layer);
  const std::size_t conv = conv_offset(shape, layer);
  const std::size_t first_input = layer * kFewTokens * shape.input_floats();
  auto* to = reinterpret_cast<float*>(pass.recurrent.data());
  LinearState state{nullptr, nullptr, to + conv, to + s, nullptr, late, nullptr};
  if (tokens > late) {
    state.conv_before = floats_of(recurrent) + conv;
    state.s_before = floats_of(recurrent) + s;
  }
  if (late > 0) state.late = floats_of(inputs) + first_input;
  if (pass.inputs) state.verified = reinterpret_cast<float*>(pass.inputs.data()) + first_input;
  return state;
}

void CpuState::end_pass(Pass pass, std::size_t pass_tokens) {
  recurrent = std::move(pass.recurrent);
  tokens += pass_tokens;
  late = verified = pass.inputs ? pass_tokens : 0;
  if (pass.inputs) inputs = std::move(pass.inputs);
}

void CpuState::keep(std::size_t count) {
  for (KvCache& cache : full) cache.cut_back(tokens, tokens - verified + count);
  tokens -= verified - count;
  late = count;
  verified = 0;
}

std::size_t CpuState::memory_bytes() const {
  std::size_t bytes = recurrent.fair_share() + inputs.fair_share();
  for (const KvCache& cache : full) bytes += cache.memory_bytes();
  return bytes;
}

std::size_t CpuSnapshot::memory_bytes() const {
  std::size_t bytes = recurrent.fair_share() + inputs.fair_share();
  for (const KvCache& cache : full) bytes += cache.memory_bytes();
  return bytes;
}

std::size_t pool_bytes(const StateShape& shape) {
  const KvCache cache(shape.kv_heads, shape.head_dim, shape.f16);
  return 2 * (shape.recurrent_floats() * sizeof(float) + shape.full_layers * cache.page_bytes());
}

std::unique_ptr<CpuSnapshot> take_snapshot(const CpuState& state) {
  auto snapshot = std::make_unique<CpuSnapshot>(state.shape);
  snapshot->tokens = state.tokens;
  snapshot->late = state.late;
  if (state.tokens > state.late) snapshot->recurrent = state.recurrent;
  if (state.late > 0) snapshot->inputs = state.inputs;
  state.verified = 0;
  for (const KvCache& cache : state.full) snapshot->full.push_back(cache.prefix(state.tokens));
  return snapshot;
}

void write_snapshot(const CpuSnapshot& snapshot, const ByteSink& sink) {
  const StateShape& shape = snapshot.shape;
  write_position({snapshot.tokens, snapshot.late}, sink);
  for (std::size_t layer = 0; layer < shape.linear_layers; ++layer) {
    if (snapshot.tokens > snapshot.late) {
      const float* recurrent = floats_of(snapshot.recurrent);
      sink(std::as_bytes(std::span(recurrent + conv_offset(shape, layer), shape.conv_floats())));
      sink(std::as_bytes(std::span(recurrent + s_offset(shape, layer), shape.s_floats())));
    }
    if (snapshot.late > 0) {
      const float* inputs = floats_of(snapshot.inputs) + layer * kFewTokens * shape.input_floats();
      sink(std::as_bytes(std::span(inputs, snapshot.late * shape.input_floats())));
    }
  }
  for (const KvCache& cache : snapshot.full) cache.store(snapshot.tokens, sink);
}

std::unique_ptr<CpuSnapshot> read_snapshot(std::span<const std::byte> bytes, const StateShape& shape,
                                           std::size_t max_positions, BlockPool& memory) {
  auto snapshot = std::make_unique<CpuSnapshot>(shape);
  const StoredPosition position = read_position(bytes, shape, max_positions, kFewTokens);
  snapshot->tokens = position.tokens;
  snapshot->late = position.late;
  if (position.tokens > position.late) snapshot->recurrent = memory.make(shape.recurrent_floats() * sizeof(float));
  if (position.late > 0)
    snapshot->inputs = memory.make(shape.linear_layers * kFewTokens * shape.input_floats() * sizeof(float));
  for (std::size_t layer = 0; layer < shape.linear_layers; ++layer) {
    if (snapshot->recurrent) {
      auto* recurrent = reinterpret_cast<float*>(snapshot->recurrent.data());
      read_floats(bytes, {recurrent + conv_offset(shape, layer), shape.conv_floats()});
      read_floats(bytes, {recurrent + s_offset(shape, layer), shape.s_floats()});
    }
    if (snapshot->inputs) {
      auto* inputs = reinterpret_cast<float*>(snapshot->inputs.data()) + layer * kFewTokens * shape.input_floats();
      read_floats(bytes, {inputs, position.late * shape.input_floats()});
    }
  }
  snapshot->full.resize(shape.full_layers, KvCache(shape.kv_heads, shape.head_dim, shape.f16));
  for (KvCache& cache : snapshot->full) cache.load(snapshot->tokens, bytes, memory);
  return snapshot;
}

void restore_snapshot(CpuState& state, const CpuSnapshot& snapshot) {
  check_same_shape(state.shape, snapshot.shape);
  state.tokens = snapshot.tokens;
  state.late = snapshot.late;
  state.verified = 0;
  state.recurrent = snapshot.recurrent;
  if (snapshot.inputs || (state.inputs && !state.inputs.alone())) state.inputs = snapshot.inputs;
  for (std::size_t i = 0; i < state.full.size(); ++i) state.full[i].become(snapshot.full[i]);
}

void reset_state(CpuState& state) {
  state.tokens = state.late = state.verified = 0;
  if (state.recurrent && !state.recurrent.alone()) state.recurrent = {};
  if (state.inputs && !state.inputs.alone()) state.inputs = {};
  for (KvCache& cache : state.full) cache.become(cache.prefix(0));
}

}  // namespace qwen35::cpu
