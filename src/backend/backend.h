#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/token.h"
#include "checkpoint/weights.h"

namespace qwen35 {

/// Where one conversation stands inside the model: conv inputs and S of every linear layer, keys and values of every
/// full one. Belongs to the backend that made it. Not thread-safe; different states of one backend may not run at once
/// either.
class State {
 public:
  virtual ~State() = default;
  /// Tokens fed so far.
  [[nodiscard]] virtual std::size_t position() const = 0;
  /// Bytes really held.
  [[nodiscard]] virtual std::size_t memory_bytes() const = 0;
};

/// A copy of what cannot be cut back (S and conv inputs) at one position. Keys and values stay in the State.
class Snapshot {
 public:
  virtual ~Snapshot() = default;
  [[nodiscard]] virtual std::size_t position() const = 0;
  [[nodiscard]] virtual std::size_t memory_bytes() const = 0;
};

/// Which rows of logits a forward pass writes.
enum class LogitRows { none, last, all };

/// One loaded model. A backend runs the whole forward pass (model page, section 2), not single operators.
/// One call at a time per backend; the backend must outlive its states.
class Backend {
 public:
  virtual ~Backend() = default;
  [[nodiscard]] virtual const ModelConfig& config() const = 0;
  /// For people: kind, instruction set, threads.
  [[nodiscard]] virtual std::string description() const = 0;
  /// Bytes of weights held, packed copies and mapped pages in use.
  [[nodiscard]] virtual std::size_t memory_bytes() const = 0;

  [[nodiscard]] virtual std::unique_ptr<State> make_state() const = 0;
  /// Empties a state: position 0, its memory kept for reuse.
  virtual void reset(State& state) const = 0;

  /// Feeds `tokens` (each in [0, vocab_size)) to `state` and writes 0, vocab_size or tokens.size() · vocab_size logits,
  /// row-major. Throws invalid_argument for a bad id, a wrong logits size or a state of another backend, context_limit
  /// past max_positions; the state is then unchanged. An empty `tokens` does nothing.
  virtual void forward(State& state, std::span<const TokenId> tokens, LogitRows rows, std::span<float> logits) = 0;

  [[nodiscard]] virtual std::unique_ptr<Snapshot> snapshot(const State& state) const = 0;
  /// Takes `state` back to `snapshot`, which must come from the same state's past (same tokens before it).
  virtual void restore(State& state, const Snapshot& snapshot) const = 0;
};

struct BackendOptions {
  std::string kind = "auto";  ///< "auto", "cpu", "reference"
  int threads = 0;            ///< 0: one for each core this process may use
  bool float32 = false;       ///< cpu: float32 arithmetic on the stored weights
  bool pin_threads = false;   ///< cpu: each thread stays on a core of its own, the one that makes the backend too
};

/// Throws invalid_argument for an unknown kind. The weights are moved in; the backend keeps what it needs of them.
std::unique_ptr<Backend> make_backend(ModelWeights weights, const BackendOptions& options);

}  // namespace qwen35
