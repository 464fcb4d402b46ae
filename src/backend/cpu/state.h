#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/arena.h"
#include "backend/cpu/kernels/kernels.h"

namespace qwen35::cpu {

/// Keys and values of one full-attention layer, in pages so that growth copies nothing: small ones for the first
/// kSmallTokens positions, so that a short conversation takes little, then large ones that fill huge pages of memory.
/// Within a page a KV head's rows are contiguous: keys, then values, each head × tokens of the page × head_dim. Stored
/// as binary16, or float32 when the backend computes in float32.
class KvCache {
 public:
  static constexpr std::size_t kPageTokens = 256;
  static constexpr std::size_t kSmallTokens = 1024;
  static constexpr std::size_t kLargePageTokens = 1024;

  KvCache(std::size_t kv_heads, std::size_t head_dim, bool f16) : heads_(kv_heads), dim_(head_dim), f16_(f16) {}

  /// Makes room for positions [0, tokens).
  void reserve(std::size_t tokens);
  /// Writes the head_dim values of one head at one position.
  void write_key(std::size_t head, std::size_t position, const float* row, const Kernels& kernels);
  void write_value(std::size_t head, std::size_t position, const float* row, const Kernels& kernels);

  /// The stored rows of one head from `position` to the end of its page: head_dim elements each, one after the other.
  [[nodiscard]] const void* keys(std::size_t head, std::size_t position) const { return at(false, head, position); }
  [[nodiscard]] const void* values(std::size_t head, std::size_t position) const { return at(true, head, position); }
  [[nodiscard]] Element element() const { return f16_ ? Element::f16 : Element::f32; }

  [[nodiscard]] std::size_t memory_bytes() const { return bytes_; }

 private:
  [[nodiscard]] std::byte* at(bool value, std::size_t head, std::size_t position) const;
  void write(std::byte* to, const float* row, const Kernels& kernels) const;
  [[nodiscard]] std::size_t element_bytes() const { return f16_ ? 2 : 4; }

  std::size_t heads_;
  std::size_t dim_;
  bool f16_;
  std::size_t bytes_ = 0;
  std::vector<std::unique_ptr<Arena>> memory_;  ///< of one page each
  std::vector<std::byte*> pages_;
};

/// What one linear-attention layer remembers. Points into the memory of a CpuState.
struct LinearState {
  std::span<float> conv;  ///< conv_kernel - 1 rows of conv_channels inputs, oldest first
  std::span<float> s;     ///< value_heads × key_dim × value_dim
};

struct CpuState final : State {
  /// Room for the recurrent part of `linear_layers` layers, zeroed.
  CpuState(std::size_t linear_layers, std::size_t conv_floats, std::size_t s_floats);

  std::unique_ptr<Arena> memory;
  std::span<float> recurrent;  ///< everything the linear layers remember
  std::size_t tokens = 0;
  std::vector<LinearState> linear;  ///< one a linear layer, in layer order
  std::vector<KvCache> full;        ///< one a full layer, in layer order

  [[nodiscard]] std::size_t position() const override { return tokens; }
  [[nodiscard]] std::size_t memory_bytes() const override;
};

struct CpuSnapshot final : Snapshot {
  std::size_t tokens = 0;
  std::vector<float> recurrent;

  [[nodiscard]] std::size_t position() const override { return tokens; }
  [[nodiscard]] std::size_t memory_bytes() const override;
};

}  // namespace qwen35::cpu
