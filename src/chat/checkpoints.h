#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "base/token.h"

namespace qwen35 {

/// A point of some timeline that can be returned to.
struct Checkpoint {
  std::size_t position = 0;  ///< tokens before it
  std::shared_ptr<const Snapshot> snapshot;
  std::shared_ptr<const std::vector<float>> logits;  ///< of the last of them; null: not kept
};

/// Snapshots of everything that the conversations over one model have computed, found by their tokens: what makes
/// edits, regenerated replies, interruptions, switches, forks and shared system prompts cheap. Bounded in bytes; what
/// is old and quickly computed again from what remains goes first. Thread-safe.
class Checkpoints {
 public:
  /// Of more than this many, the least useful go even when memory is left: a search looks at all of them.
  static constexpr std::size_t kMost = 256;

  /// `budget`: bytes for snapshots and live states together.
  explicit Checkpoints(std::size_t budget) : budget_(budget) {}

  /// The longest checkpoint that `tokens` begin with; one of exactly these tokens counts when its logits were kept.
  [[nodiscard]] std::optional<Checkpoint> find(std::span<const TokenId> tokens);
  /// Whether there is one of exactly these tokens, with logits if asked for.
  [[nodiscard]] bool contains(std::span<const TokenId> tokens, bool with_logits = false) const;
  /// Keeps a snapshot of the state that `tokens` lead to. It may not survive the budget.
  void add(std::span<const TokenId> tokens, std::shared_ptr<const Snapshot> snapshot,
           std::shared_ptr<const std::vector<float>> logits = nullptr);

  /// The bytes of a live state went from `before` to `now`: they are taken from what snapshots may use.
  void account_live(std::size_t before, std::size_t now);
  /// Drops the least useful until at most `bytes` are held.
  void shrink_to(std::size_t bytes);
  void clear() { shrink_to(0); }
  [[nodiscard]] std::size_t memory_bytes() const;
  [[nodiscard]] std::size_t count() const;

 private:
  struct Entry {
    std::vector<TokenId> tokens;
    std::shared_ptr<const Snapshot> snapshot;
    std::shared_ptr<const std::vector<float>> logits;
    std::uint64_t used = 0;  ///< when it was last added or found
    std::size_t parent = 0;  ///< position of the longest other checkpoint on the way to it; 0: none
  };

  [[nodiscard]] std::size_t held() const;
  void fit(std::size_t bytes, std::size_t most);
  void drop(std::size_t index);
  [[nodiscard]] std::size_t parent_of(const Entry& entry) const;

  mutable std::mutex mutex_;
  std::size_t budget_;
  std::size_t live_ = 0;
  std::uint64_t clock_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace qwen35
