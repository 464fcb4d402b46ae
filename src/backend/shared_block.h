#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace qwen35 {

class BlockPool;

/// The memory of one block, freed with it: an arena's, or a GPU's. Destroyed on any thread.
class BlockMemory {
 public:
  virtual ~BlockMemory() = default;
  BlockMemory(const BlockMemory&) = delete;
  BlockMemory& operator=(const BlockMemory&) = delete;
  [[nodiscard]] std::byte* data() const { return data_; }

 protected:
  BlockMemory() = default;
  std::byte* data_ = nullptr;
};

/// Where blocks come from: uninitialised memory of as many bytes. Thread-safe. Throws std::bad_alloc, or what its kind
/// of memory throws.
using MemorySource = std::function<std::unique_ptr<BlockMemory>(std::size_t bytes)>;

/// A piece of memory that states and snapshots hold together: a page of keys and values, or what the linear layers
/// remember. Its last holder gives it back to the pool, on whatever thread that is. A holder may write only where
/// nobody else reads: anywhere while it is alone(), else in rows that it has claimed.
class SharedBlock {
 public:
  SharedBlock() = default;
  SharedBlock(const SharedBlock& other) noexcept : block_(other.block_) {
    if (block_ != nullptr) block_->holders.fetch_add(1, std::memory_order_relaxed);
  }
  SharedBlock(SharedBlock&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  SharedBlock& operator=(SharedBlock other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~SharedBlock();

  explicit operator bool() const { return block_ != nullptr; }
  [[nodiscard]] std::byte* data() const { return block_->data; }
  /// Nobody else holds it, and whatever others did with it has happened before.
  [[nodiscard]] bool alone() const { return block_->holders.load(std::memory_order_acquire) == 1; }
  /// This holder's part of the bytes: the sum over all holders is what is used, but for rounding. 0 when empty.
  [[nodiscard]] std::size_t fair_share() const {
    return block_ == nullptr ? 0 : block_->bytes / block_->holders.load(std::memory_order_relaxed);
  }

  /// Of a page, whose rows [0, written) may matter to some holder: takes rows [first, first + count) for the caller to
  /// write. False: another holder has written at or past `first`.
  [[nodiscard]] bool claim_rows(std::size_t first, std::size_t count) const;
  /// Undoes a claim of this holder, unless another holder has gone on since. Nobody may have been given the rows.
  void release_rows(std::size_t first, std::size_t count) const;

 private:
  friend class BlockPool;
  struct Block {
    Block(std::unique_ptr<BlockMemory> from, std::size_t n) : memory(std::move(from)), data(memory->data()), bytes(n) {}
    std::unique_ptr<BlockMemory> memory;
    std::byte* data;
    std::size_t bytes;
    std::atomic<std::size_t> holders{1};
    std::atomic<std::size_t> written{0};
    std::shared_ptr<BlockPool> pool;  ///< empty while the block lies in the pool
  };
  explicit SharedBlock(Block* block) : block_(block) {}

  Block* block_ = nullptr;
};

/// Makes blocks, and keeps some that were given up: new memory faults in page by page (or asks a driver), which for
/// the 19 MB of recurrent state costs more than a token. Thread-safe; held by the blocks too, so that they may outlive
/// the backend.
class BlockPool : public std::enable_shared_from_this<BlockPool> {
 public:
  /// Keeps at most `kept_bytes` of unused blocks.
  BlockPool(std::size_t kept_bytes, MemorySource source);

  /// A block of `bytes`, uninitialised, which the caller holds alone. Throws as the source does.
  [[nodiscard]] SharedBlock make(std::size_t bytes);
  /// Frees what is kept and keeps nothing from now on.
  void close();
  /// Of unused blocks.
  [[nodiscard]] std::size_t memory_bytes() const;

 private:
  friend class SharedBlock;
  void take_back(std::unique_ptr<SharedBlock::Block> block) noexcept;

  MemorySource source_;
  mutable std::mutex mutex_;
  std::size_t limit_;
  std::size_t bytes_ = 0;
  std::vector<std::unique_ptr<SharedBlock::Block>> unused_;
};

}  // namespace qwen35
