#include "backend/cuda/state/cuda_state.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "backend/checks.h"
#include "backend/cuda/device/device.h"

namespace qwen35::cuda {
namespace {

/// Pages of unused memory that a backend keeps.
constexpr std::size_t kKeptPages = 32;
/// Page pointers that the smallest table holds.
constexpr std::size_t kLeastTable = 64;

std::size_t pages_for(std::size_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

}  // namespace

StateMemory::StateMemory(const ModelConfig& config, const ModelSizes& model_sizes)
    : shape(config, true), sizes(model_sizes), heap(std::make_shared<DeviceHeap>()) {
  pool = std::make_shared<BlockPool>(3 * s_bytes() + 2 * ring_bytes() + kKeptPages * page_bytes(),
                                     [from = heap](std::size_t bytes) { return from->make(bytes); });
}

std::size_t StateMemory::s_bytes() const {
  return std::max<std::size_t>(1, std::size_t{sizes.linear_layers} * sizes.s_floats() * sizeof(float));
}

std::size_t StateMemory::ring_bytes() const {
  return std::max<std::size_t>(1, std::size_t{sizes.linear_layers} * kRingRows * sizes.ring_floats() * sizeof(float));
}

std::size_t StateMemory::page_bytes() const {
  return std::max<std::size_t>(
      1, strip_offset(sizes.full_layers, 0, false, sizes.kv_heads, sizes.head_dim) * sizeof(std::uint16_t));
}

std::size_t Timeline::memory_bytes() const {
  std::size_t bytes = s.fair_share() + ring.fair_share();
  for (const SharedBlock& page : pages) bytes += page.fair_share();
  return bytes;
}

std::size_t CudaState::memory_bytes() const { return now.memory_bytes() + before.fair_share() + table.fair_share(); }

CudaState::Pass CudaState::begin_pass(std::size_t count, bool verify, std::uint32_t first, cudaStream_t stream) {
  Pass pass;
  BlockPool& pool = *memory->pool;
  verified = 0;
  SharedBlock spare = std::exchange(before, SharedBlock());
  try {
    // A verification pass leaves S as it was beside what it becomes: the way back to fewer tokens.
    if (now.s && now.s.alone() && !verify)
      pass.s = now.s;
    else
      pass.s = spare && spare.alone() ? std::move(spare) : pool.make(memory->s_bytes());
    pass.ring = now.ring && now.ring.alone() ? now.ring : pool.make(memory->ring_bytes());
    claim_pages(count, pass, stream);
    if (now.tokens == 0) {
      check(cudaMemsetAsync(pass.ring.data(), 0, memory->ring_bytes(), stream), "preparing a pass");
    } else if (pass.ring.data() != now.ring.data()) {
      check(cudaMemcpyAsync(pass.ring.data(), now.ring.data(), memory->ring_bytes(), cudaMemcpyDeviceToDevice, stream),
            "preparing a pass");
    }
  } catch (...) {
    (void)cudaStreamSynchronize(stream);  // before the pass lets go of blocks that it copies
    throw;
  }
  pass.view.s_in = now.tokens == 0 ? nullptr : reinterpret_cast<const float*>(now.s.data());
  pass.view.s_out = reinterpret_cast<float*>(pass.s.data());
  pass.view.ring = reinterpret_cast<float*>(pass.ring.data());
  pass.view.pages = reinterpret_cast<std::uint16_t* const*>(table.data());
  pass.view.position = static_cast<std::uint32_t>(now.tokens);
  pass.view.first = first;
  pass.view.count = static_cast<std::uint32_t>(count);
  return pass;
}

/// Pages for all positions of the pass, of which nobody else writes the rows.
void CudaState::claim_pages(std::size_t count, Pass& pass, cudaStream_t stream) {
  const std::size_t bytes = memory->page_bytes();
  const std::size_t end = now.tokens + count;
  now.pages.resize(std::max(now.pages.size(), pages_for(end)));
  for (std::size_t position = now.tokens; position < end;) {
    const std::size_t offset = position % kPageTokens;
    const std::size_t rows = std::min(kPageTokens - offset, end - position);
    SharedBlock& page = now.pages[position / kPageTokens];
    if (!page) page = memory->pool->make(bytes);
    if (!page.claim_rows(offset, rows)) {
      SharedBlock own = memory->pool->make(bytes);
      pass.held.push_back(page);  // first: the copy reads it, whatever fails
      check(cudaMemcpyAsync(own.data(), page.data(), bytes, cudaMemcpyDeviceToDevice, stream), "copying a page");
      (void)own.claim_rows(offset, rows);  // alone: never refused
      page = std::move(own);
    } else if (offset == 0 && rows < kPageTokens) {
      // Products read whole pieces and weigh what is not yet written with 0: it must be a number.
      check(cudaMemsetAsync(page.data(), 0, bytes, stream), "preparing a page");
    }
    position += rows;
  }
  update_table(pages_for(end), pass, stream);
}

void CudaState::update_table(std::size_t pages, Pass& pass, cudaStream_t stream) {
  const std::size_t entry = sizeof(const std::byte*);
  if (!table || in_table.size() < pages) {
    const std::size_t entries = std::bit_ceil(std::max(pages, kLeastTable));
    SharedBlock larger = memory->pool->make(entries * entry);
    if (table) pass.held.push_back(table);
    table = std::move(larger);
    in_table.assign(entries, nullptr);
  }
  std::size_t begin = 0;
  while (begin < pages && in_table[begin] == now.pages[begin].data()) ++begin;
  std::size_t end = pages;
  while (end > begin && in_table[end - 1] == now.pages[end - 1].data()) --end;
  if (begin == end) return;
  for (std::size_t i = begin; i < end; ++i) in_table[i] = now.pages[i].data();
  const cudaError_t status = cudaMemcpyAsync(table.data() + begin * entry, in_table.data() + begin,
                                             (end - begin) * entry, cudaMemcpyHostToDevice, stream);
  if (status != cudaSuccess) std::fill(in_table.begin(), in_table.end(), nullptr);
  check(status, "writing the page table");
}

void CudaState::end_pass(Pass pass, std::size_t count, bool verify) {
  before = verify && now.tokens > 0 ? now.s : SharedBlock();
  now.s = std::move(pass.s);
  now.ring = std::move(pass.ring);
  now.tokens += count;
  verified = verify ? count : 0;
}

SequenceView CudaState::cut_back(std::size_t count) {
  const std::size_t start = now.tokens - verified;
  SequenceView view;
  view.s_in = start == 0 ? nullptr : reinterpret_cast<const float*>(before.data());
  view.s_out = reinterpret_cast<float*>(now.s.data());
  view.ring = reinterpret_cast<float*>(now.ring.data());
  view.pages = reinterpret_cast<std::uint16_t* const*>(table.data());
  view.position = static_cast<std::uint32_t>(start);
  view.count = static_cast<std::uint32_t>(count);
  for (std::size_t position = start + count; position < now.tokens;) {
    const std::size_t offset = position % kPageTokens;
    const std::size_t rows = std::min(kPageTokens - offset, now.tokens - position);
    now.pages[position / kPageTokens].release_rows(offset, rows);
    position += rows;
  }
  now.tokens = start + count;
  verified = 0;
  return view;
}

std::unique_ptr<CudaSnapshot> take_snapshot(const CudaState& state) {
  auto snapshot = std::make_unique<CudaSnapshot>(state.memory);
  state.verified = 0;
  snapshot->foreign = state.foreign;
  if (state.now.tokens == 0) return snapshot;
  snapshot->at.tokens = state.now.tokens;
  snapshot->at.s = state.now.s;
  snapshot->at.ring = state.now.ring;
  snapshot->at.pages.assign(state.now.pages.begin(),
                            state.now.pages.begin() + static_cast<std::ptrdiff_t>(pages_for(state.now.tokens)));
  return snapshot;
}

void restore_snapshot(CudaState& state, const CudaSnapshot& snapshot) {
  check_same_shape(state.memory->shape, snapshot.memory->shape);
  if (snapshot.at.tokens == 0) {
    reset_state(state);
    return;
  }
  state.now.pages.reserve(snapshot.at.pages.size());
  state.foreign = state.foreign || snapshot.foreign || snapshot.memory != state.memory;
  state.now.tokens = snapshot.at.tokens;
  state.now.s = snapshot.at.s;
  state.now.ring = snapshot.at.ring;
  state.before = {};
  state.verified = 0;
  std::vector<SharedBlock>& pages = state.now.pages;
  if (pages.size() < snapshot.at.pages.size()) pages.resize(snapshot.at.pages.size());
  for (std::size_t i = 0; i < pages.size(); ++i) {
    if (i < snapshot.at.pages.size())
      pages[i] = snapshot.at.pages[i];
    else if (pages[i] && !pages[i].alone())
      pages[i] = {};
  }
}

void reset_state(CudaState& state) {
  state.now.tokens = 0;
  state.verified = 0;
  state.before = {};
  if (state.now.s && !state.now.s.alone()) state.now.s = {};
  if (state.now.ring && !state.now.ring.alone()) state.now.ring = {};
  for (SharedBlock& page : state.now.pages) {
    if (page && !page.alone()) page = {};
  }
}

}  // namespace qwen35::cuda
