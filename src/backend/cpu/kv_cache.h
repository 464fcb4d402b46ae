#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "backend/cpu/kernels/kernels.h"
#include "backend/shared_block.h"
#include "backend/cpu/thread_pool.h"

namespace qwen35::cpu {

/// Keys and values of one full-attention layer, in pages so that growth copies nothing: small ones for the first
/// kSmallTokens positions, so that a short conversation takes little, then large ones that fill huge pages of memory.
/// Within a page a KV head's rows are contiguous: keys, then values, each head × tokens of the page × head_dim. Stored
/// as binary16, or float32 when the backend computes in float32.
///
/// States and snapshots share pages. A row is written once for all who hold the page: whoever comes to a row that
/// somebody has already written goes on in a copy (make_writable).
class KvCache {
 public:
  static constexpr std::size_t kPageTokens = 256;
  static constexpr std::size_t kSmallTokens = 1024;
  static constexpr std::size_t kLargePageTokens = 1024;

  KvCache(std::size_t kv_heads, std::size_t head_dim, bool f16) : heads_(kv_heads), dim_(head_dim), f16_(f16) {}

  /// Bytes of a large page.
  [[nodiscard]] std::size_t page_bytes() const { return page_bytes(kSmallTokens / kPageTokens); }

  /// Makes positions [position, position + tokens) writable; those before `position` stay, those after have no meaning.
  /// Copies the rows before `position` of a page where another holder has gone on.
  void make_writable(std::size_t position, std::size_t tokens, BlockPool& memory, ThreadPool& threads);
  /// Makes nothing of positions [to, from), the last ones made writable, so that the rows are free again for everyone.
  /// Only while no other cache can have become these positions.
  void cut_back(std::size_t from, std::size_t to);
  /// Writes the head_dim values of one head at one position.
  void write_key(std::size_t head, std::size_t position, const float* row, const Kernels& kernels);
  void write_value(std::size_t head, std::size_t position, const float* row, const Kernels& kernels);

  /// The stored rows of one head from `position` to the end of its page: head_dim elements each, one after the other.
  [[nodiscard]] const void* keys(std::size_t head, std::size_t position) const { return at(false, head, position); }
  [[nodiscard]] const void* values(std::size_t head, std::size_t position) const { return at(true, head, position); }
  [[nodiscard]] Element element() const { return f16_ ? Element::f16 : Element::f32; }

  /// The same first `tokens` positions, sharing their pages.
  [[nodiscard]] KvCache prefix(std::size_t tokens) const;
  /// Becomes `prefix`, which has the same shape. Pages after it that only this cache holds are kept for reuse.
  void become(const KvCache& prefix);

  /// The first `tokens` positions as bytes: keys (head × tokens × head_dim), then values.
  void store(std::size_t tokens, const std::function<void(std::span<const std::byte>)>& sink) const;
  /// Becomes the `tokens` positions that store() gave, the first bytes of `bytes`, which moves on.
  void load(std::size_t tokens, std::span<const std::byte>& bytes, BlockPool& memory);

  /// Its fair share of shared pages included.
  [[nodiscard]] std::size_t memory_bytes() const;

 private:
  [[nodiscard]] std::byte* at(bool value, std::size_t head, std::size_t position) const;
  [[nodiscard]] std::size_t page_bytes(std::size_t page) const;
  void write(std::byte* to, const float* row, const Kernels& kernels) const;
  [[nodiscard]] std::size_t element_bytes() const { return f16_ ? 2 : 4; }

  std::size_t heads_;
  std::size_t dim_;
  bool f16_;
  std::vector<SharedBlock> pages_;  ///< empty ones are made when they are needed
};

}  // namespace qwen35::cpu
