#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/token.h"

namespace qwen35 {

/// Byte-pair encoding of one word: beginning with its bytes, the adjacent pair whose merge has the lowest rank, the
/// leftmost of equals, becomes one token until no pair has a merge (Sennrich et al. 2016). Immutable once filled.
class Bpe {
 public:
  /// Makes room for `merges` merges.
  explicit Bpe(std::size_t merges = 0);

  void set_byte_token(unsigned char byte, TokenId id) { byte_tokens_[byte] = id; }
  /// A pair given twice keeps the later rank, as in the reference. No more pairs than the constructor made room for.
  void add_merge(TokenId left, TokenId right, std::uint32_t rank, TokenId merged);

  /// Fetches the place of a pair that will be added soon.
  void prefetch(TokenId left, TokenId right) const { __builtin_prefetch(&slots_[first_slot(left, right)]); }

  /// Working memory of encode(), kept between words; not to be shared by threads.
  struct Scratch {
    struct Symbol {
      TokenId id;
      std::uint32_t rank;  ///< of the merge with the next symbol (short words)
      TokenId merged;      ///< what that merge makes (short words)
    };
    struct Link {
      TokenId id;  ///< -1: merged into its left neighbour
      std::int64_t before, after;
    };
    struct Candidate {
      std::int64_t position;
      TokenId left, right;
      std::int64_t next;  ///< the next candidate of the same rank, -1: none
    };
    std::vector<Symbol> symbols;
    std::vector<Link> links;
    std::vector<Candidate> candidates;
    std::vector<std::uint32_t> ranks;  ///< a heap, lowest first, of the ranks that have candidates
    std::unordered_map<std::uint32_t, std::int64_t> newest;  ///< of each of these ranks
    std::vector<Candidate> due;                              ///< of the rank in hand
  };

  /// Appends the tokens of `word`. O(n log n) for any word.
  void encode(std::string_view word, std::vector<TokenId>& out, Scratch& scratch) const;

  [[nodiscard]] std::size_t memory_bytes() const { return slots_.capacity() * sizeof(Slot); }

 private:
  struct Slot {
    TokenId left = -1;  ///< -1: free
    TokenId right = -1;
    std::uint32_t rank = 0;
    TokenId merged = -1;
  };
  std::size_t first_slot(TokenId left, TokenId right) const;
  std::size_t slot_of(TokenId left, TokenId right) const;
  const Slot* find(TokenId left, TokenId right) const;
  void encode_short(std::string_view word, std::vector<TokenId>& out, Scratch& scratch) const;
  void encode_long(std::string_view word, std::vector<TokenId>& out, Scratch& scratch) const;

  std::array<TokenId, 256> byte_tokens_{};
  std::vector<Slot> slots_;  ///< open addressing, a power of two, at most half full
  std::size_t mask_ = 0;
};

}  // namespace qwen35
