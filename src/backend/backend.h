#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/cancellation.h"
#include "base/token.h"
#include "checkpoint/weights.h"
#include "sampling/sample_request.h"

namespace qwen35 {

/// Where one conversation stands inside the model: conv inputs and S of every linear layer, keys and values of every
/// full one. Belongs to the backend that made it.
///
/// Threads: each state and each snapshot is used by one thread at a time, and a backend runs one forward pass at a
/// time, whatever the state. Beyond that states and snapshots may be made, restored, asked and destroyed on different
/// threads at once, also while another state of the backend is in a forward pass: what they share looks after itself.
class State {
 public:
  virtual ~State() = default;
  /// Tokens fed so far.
  [[nodiscard]] virtual std::size_t position() const = 0;
  /// Bytes really held.
  [[nodiscard]] virtual std::size_t memory_bytes() const = 0;
};

/// One point of a timeline, whole in itself: S, conv inputs, and a share in the keys and values before it. It outlives
/// the state it was taken from, and the backend too: any state of a backend of the same kind and the same checkpoint
/// can be taken to it. Immutable.
class Snapshot {
 public:
  virtual ~Snapshot() = default;
  [[nodiscard]] virtual std::size_t position() const = 0;
  /// Bytes held; of pages that states and other snapshots hold too, this one's fair share, so that the sum over all
  /// holders is what is really used.
  [[nodiscard]] virtual std::size_t memory_bytes() const = 0;
};

/// Which rows of logits a forward pass writes.
enum class LogitRows { none, last, all };

/// One state's share of a pass over several: what Backend::forward() takes.
struct Feed {
  State* state = nullptr;
  std::span<const TokenId> tokens;
  LogitRows rows = LogitRows::last;
  std::span<float> logits;
  /// With LogitRows::last and no `logits`, where Backend::samples() allows it: the token behind the last one is chosen
  /// by the backend and put there. Untouched when the pass throws or is cancelled.
  SampleRequest* sample = nullptr;
};

/// One loaded model. A backend runs the whole forward pass (model page, section 2), not single operators.
/// One forward pass at a time per backend (more under State); the backend must outlive its states.
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
  /// Returns false when `cancelled` was seen, which is asked for between the parts of a layer: nothing is written, and
  /// the state must be reset or restored before it is used again.
  virtual bool forward(State& state, std::span<const TokenId> tokens, LogitRows rows, std::span<float> logits,
                       const Cancellation& cancelled = {}) = 0;

  /// forward() for several states, each named once, in as few passes over the weights as possible. Every state and row
  /// of logits is to the bit what a forward() of its own would give, whatever else is in `feeds`. Throws as forward()
  /// does, naming the feed, before anything is computed; when memory runs out in the middle of it, or when it returns
  /// false, none of the states is of use. This default feeds one after the other.
  virtual bool forward_batch(std::span<const Feed> feeds, const Cancellation& cancelled = {});

  /// Tokens of a long text that one call should be given, where somebody may cancel it or others wait: a whole number
  /// of 64.
  [[nodiscard]] virtual std::size_t pass_tokens() const { return kUsualPass; }
  static constexpr std::size_t kUsualPass = 256;

  /// Tokens of different states, slices of prompts apart, that forward_batch() takes at about the price of one.
  [[nodiscard]] virtual std::size_t max_rows() const { return 8; }

  /// Whether forward_batch() (Feed::sample) and verify_sampled() can answer this request, to the bit as
  /// Sampler::answer() would from the logits. Says nothing of its answer, which may be that no logit is finite. False
  /// by default.
  [[nodiscard]] virtual bool samples(const SampleRequest& /*request*/) const { return false; }

  /// Tokens that a verification pass may take; at least 1.
  [[nodiscard]] virtual std::size_t max_verify() const = 0;
  /// forward() with LogitRows::all for guessed tokens, at most max_verify() of them: each row of logits, and the state
  /// after them, are to the bit what feeding the tokens one by one would give. Throws as forward does, and
  /// invalid_argument for more tokens; returns false as forward does.
  virtual bool verify(State& state, std::span<const TokenId> tokens, std::span<float> logits,
                      const Cancellation& cancelled = {}) = 0;
  /// verify() with a choice behind each token instead of its logits: `samples`, as many as there are tokens, are
  /// answered as if each token but the first had been chosen from the one before. So they are one reply's, and each but
  /// the first begins where the generator of the one before it ended, whatever its own `random` says; that a row has no
  /// finite logit (token -1) leaves the generator where it was. Untouched when the pass throws or is cancelled. Throws
  /// as verify() does, and invalid_argument for another number of them or one that samples() denies.
  /// By default they are answered from verify()'s logits, whatever samples() says.
  virtual bool verify_sampled(State& state, std::span<const TokenId> tokens, std::span<SampleRequest> samples,
                              const Cancellation& cancelled = {});
  /// Directly after verify() or verify_sampled(), before anything else is done with `state`: cuts it back to the first
  /// `count` tokens of that pass, which is cheap. Not calling it keeps all. Throws invalid_argument at another time, or
  /// for a count outside [1, tokens of the pass].
  virtual void keep(State& state, std::size_t count) = 0;

  [[nodiscard]] virtual std::unique_ptr<Snapshot> snapshot(const State& state) const = 0;
  /// Takes `state` to `snapshot`, whatever it held before. Throws invalid_argument for a snapshot of another kind of
  /// backend or another shape; the state is then unchanged.
  virtual void restore(State& state, const Snapshot& snapshot) const = 0;

  /// What a stored snapshot must have been written under to be read here: kind and version of the layout, element
  /// types, shape. Says nothing about the weights; who stores it names the checkpoint beside it.
  [[nodiscard]] virtual std::string snapshot_format() const = 0;
  /// Gives `snapshot` to `sink` as bytes, in pieces of any size. Throws invalid_argument as restore does, and whatever
  /// `sink` throws.
  virtual void write_snapshot(const Snapshot& snapshot,
                              const std::function<void(std::span<const std::byte>)>& sink) const = 0;
  /// The snapshot that write_snapshot gave as `bytes`, all of them. Throws bad_file when they cannot be one of this
  /// shape. The numbers within are taken as they are: a checksum is the caller's.
  [[nodiscard]] virtual std::unique_ptr<Snapshot> read_snapshot(std::span<const std::byte> bytes) const = 0;
};

struct BackendOptions {
  std::string kind = "auto";  ///< "auto", "cpu", "cuda", "reference"
  int threads = 0;            ///< 0: one for each core this process may use
  bool float32 = false;       ///< cpu: float32 arithmetic on the stored weights
  bool pin_threads = false;   ///< cpu: each thread stays on a core of its own, the one that makes the backend too
};

/// Why "cuda" cannot be used, or empty: whether it is built, then driver and device.
std::string why_no_gpu();

/// Bytes a second that the GPU reads and writes while it copies half a GiB within its memory: the ceiling of whatever
/// reads all weights. About a tenth of a second. Throws unsupported where "cuda" cannot be used, out_of_memory, device.
double gpu_copy_bandwidth();

/// "auto" is a GPU where this build has the CUDA backend, one is usable and the model fits it; else the CPU, with a
/// line on stderr when it was the model that did not fit. (QWEN35_TEST_BACKEND in the environment names what "auto" is
/// instead: for running tests on another backend.) float32 is the CPU's alone.
/// Throws invalid_argument for an unknown kind, unsupported for "cuda" where it is not built or not usable, saying why.
/// The weights are moved in; the backend keeps what it needs of them.
std::unique_ptr<Backend> make_backend(ModelWeights weights, const BackendOptions& options);

}  // namespace qwen35
