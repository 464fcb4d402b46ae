#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/shared_block.h"

namespace qwen35::cpu {

/// One region of memory for what a token reads once, in that order: packed weights, keys and values, recurrent states.
/// On Linux in huge pages where the system gives them: with small pages the walks through page tables (two of them in a
/// virtual machine) and the prefetchers' stops at their ends cost a good part of the bandwidth.
class Arena {
 public:
  /// Reserves `bytes`; memory is used only as it is written. Throws std::bad_alloc.
  explicit Arena(std::size_t bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// The next `bytes`, aligned to a cache line, uninitialised. The sum of all requests, each rounded up by padded(),
  /// must stay within what was reserved; throws std::bad_alloc otherwise.
  std::uint8_t* take(std::size_t bytes);
  static std::size_t padded(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

 private:
  std::uint8_t* base_ = nullptr;  ///< what was allocated
  std::size_t reserved_ = 0;
  std::uint8_t* next_ = nullptr;
  std::uint8_t* end_ = nullptr;
};

/// Blocks that are an arena each. Throws std::bad_alloc.
std::unique_ptr<BlockMemory> arena_memory(std::size_t bytes);

}  // namespace qwen35::cpu
