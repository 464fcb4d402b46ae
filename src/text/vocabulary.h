#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/token.h"

namespace qwen35 {

/// Token strings to ids, while a tokenizer is loaded: open addressing over views, several times quicker to fill and to
/// ask than std::unordered_map at the 248,000 entries of Qwen3.5. The strings must outlive it.
class Vocabulary {
 public:
  explicit Vocabulary(std::size_t entries);

  /// Adds strings until one is there already and returns how many it added. At most `batch` at once, and no more in all
  /// than the constructor made room for.
  std::size_t insert(std::span<const std::string_view> texts, std::span<const TokenId> ids);
  /// -1 when there is no such string.
  [[nodiscard]] TokenId find(std::string_view text) const;
  /// find() for as many strings as `ids` has room for, at most `batch`.
  void find(std::span<const std::string_view> texts, std::span<TokenId> ids) const;

  static constexpr std::size_t batch = 128;  ///< in batches the memory of many strings is waited for at once

 private:
  struct Entry {
    std::string_view text;
    TokenId id;
  };
  struct Slot {
    std::uint32_t tag = 0;    ///< some bits of the hash
    std::uint32_t entry = 0;  ///< one more than the index in entries_; 0: free
  };
  std::uint64_t hash(std::string_view text) const;
  std::size_t first_slot(std::uint64_t hash) const { return static_cast<std::size_t>(hash) & (slots_.size() - 1); }
  /// The slot that holds `text`, else the free one where it belongs.
  std::size_t slot_of(std::string_view text, std::uint64_t hash) const;

  std::vector<Slot> slots_;  ///< a power of two, at most half full
  std::vector<Entry> entries_;
  std::uint64_t seed_;  ///< random, so that no file can be made of colliding strings
};

}  // namespace qwen35
