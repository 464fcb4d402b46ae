#include "backend/shared_block.h"

#include <algorithm>

namespace qwen35 {
namespace {

/// More blocks than this are not kept, so that giving one back never needs memory.
constexpr std::size_t kMostKept = 64;

}  // namespace

SharedBlock::~SharedBlock() {
  if (block_ == nullptr || block_->holders.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  const std::shared_ptr<BlockPool> pool = std::move(block_->pool);
  pool->take_back(std::unique_ptr<Block>(block_));
}

bool SharedBlock::claim_rows(std::size_t first, std::size_t count) const {
  if (alone()) {
    block_->written.store(first + count, std::memory_order_relaxed);
    return true;
  }
  std::size_t written = block_->written.load(std::memory_order_relaxed);
  while (written <= first) {
    if (block_->written.compare_exchange_weak(written, first + count, std::memory_order_relaxed)) return true;
  }
  return false;
}

void SharedBlock::release_rows(std::size_t first, std::size_t count) const {
  std::size_t written = first + count;
  block_->written.compare_exchange_strong(written, first, std::memory_order_relaxed);
}

BlockPool::BlockPool(std::size_t kept_bytes, MemorySource source) : source_(std::move(source)), limit_(kept_bytes) {
  unused_.reserve(kMostKept);
}

SharedBlock BlockPool::make(std::size_t bytes) {
  std::unique_ptr<SharedBlock::Block> block;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(unused_.begin(), unused_.end(), [&](const auto& b) { return b->bytes == bytes; });
    if (found != unused_.end()) {
      block = std::move(*found);
      unused_.erase(found);
      bytes_ -= bytes;
    }
  }
  if (block == nullptr) block = std::make_unique<SharedBlock::Block>(source_(bytes), bytes);
  block->holders.store(1, std::memory_order_relaxed);
  block->written.store(0, std::memory_order_relaxed);
  block->pool = shared_from_this();
  return SharedBlock(block.release());
}

void BlockPool::take_back(std::unique_ptr<SharedBlock::Block> block) noexcept {
  const std::lock_guard lock(mutex_);
  if (unused_.size() == kMostKept || bytes_ + block->bytes > limit_) return;
  bytes_ += block->bytes;
  unused_.push_back(std::move(block));
}

void BlockPool::close() {
  const std::lock_guard lock(mutex_);
  limit_ = 0;
  bytes_ = 0;
  unused_.clear();
}

std::size_t BlockPool::memory_bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace qwen35
