#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "base/cancellation.h"
#include "base/token.h"
#include "chat/batcher.h"
#include "chat/checkpoints.h"

namespace qwen35 {

/// One State and the timeline of tokens that were really fed to it, with checkpoints to go back to. Owns the state;
/// backend, batcher and checkpoints must outlive the session. One thread at a time; sessions over one backend may run
/// on different threads: the batcher puts their passes together.
class Session {
 public:
  Session(Backend& backend, Batcher& batcher, Checkpoints& checkpoints);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Tokens the state holds, in order; always equal in number to the state's position, but after a pass that was cut
  /// short, when the state holds nothing usable.
  [[nodiscard]] std::span<const TokenId> timeline() const { return timeline_; }
  [[nodiscard]] std::size_t position() const { return timeline_.size(); }

  /// Prepares for feeding the rest of `tokens`: keeps the timeline where it is a prefix of them, or goes to the longest
  /// checkpoint that is, or starts afresh, whatever keeps most. Returns how many tokens are kept; all of them only when
  /// logits() are those of the last one.
  std::size_t align(std::span<const TokenId> tokens);

  /// Feeds `tokens` in slices (of Backend::pass_tokens(); shorter ones while other sessions compute, see Batcher) and
  /// leaves the last one's logits in logits(). Makes a checkpoint at each of `marks` (positions of the timeline,
  /// rising). Returns false when `cancelled` was seen; the next align() then goes back to the last checkpoint if a pass
  /// was cut short. Throws what Backend::forward throws; what was fed by it is then lost in the same way, because a
  /// pass that failed midway leaves a state nobody can vouch for.
  /// With `sample`, which the backend must be able to answer (samples()), the next token is in it afterwards, and there
  /// are no logits().
  bool feed(std::span<const TokenId> tokens, const Cancellation& cancelled, std::span<const std::size_t> marks = {},
            SampleRequest* sample = nullptr);
  [[nodiscard]] bool samples(const SampleRequest& request) const { return backend_.samples(request); }

  /// Feeds 1 to max_verify() tokens of which some may be guesses; logits(i) are those behind the i-th, but with
  /// `samples`, one for each token and all such that the backend can answer them (samples()): then the tokens behind
  /// them are there (Backend::verify_sampled) and no logits(). keep() must follow before anything else. Returns false
  /// as feed() does.
  bool verify(std::span<const TokenId> tokens, const Cancellation& cancelled, std::span<SampleRequest> samples = {});
  /// Cuts the tokens of verify() back to the first `count`, at least one.
  void keep(std::size_t count);
  [[nodiscard]] std::size_t max_verify() const { return backend_.max_verify(); }
  /// Whether other sessions are computing too: guesses would cost them time.
  [[nodiscard]] bool crowded() const { return seat_.crowded(); }
  /// Nothing is fed for a while: no other session need wait for this one.
  void rest() { seat_.leave(); }

  /// vocab_size logits of the last token fed, or of one verified; scratch for the sampler.
  [[nodiscard]] std::span<float> logits(std::size_t row = 0);
  /// logits() will be written to: they are no longer those of the last token.
  void spoil_logits() { logits_valid_ = false; }

  /// The state as it is, to be stored.
  [[nodiscard]] std::unique_ptr<Snapshot> snapshot() const { return backend_.snapshot(*state_); }
  /// Goes to a stored point: the state behind `tokens`. It is a checkpoint from then on.
  void take_over(std::span<const TokenId> tokens, std::shared_ptr<const Snapshot> snapshot);

  /// Makes a checkpoint here unless there is one, with `logits` if given (those of the last token).
  void checkpoint(std::shared_ptr<const std::vector<float>> logits = nullptr);
  /// Tokens since the last checkpoint on the way here.
  [[nodiscard]] std::size_t since_checkpoint() const { return timeline_.size() - last_checkpoint_; }

  /// Bytes of state and buffers, checkpoints apart.
  [[nodiscard]] std::size_t memory_bytes() const;

 private:
  void reset();
  template <typename Compute>
  bool pass(const Cancellation& cancelled, const Compute& compute);
  void account();

  Backend& backend_;
  Batcher::Seat seat_;
  Checkpoints& checkpoints_;
  std::unique_ptr<State> state_;
  std::vector<TokenId> timeline_;
  std::vector<TokenId> verified_;  ///< what verify() fed and keep() has not settled
  std::vector<float> logits_;      ///< one row, or as many as were verified
  bool logits_valid_ = false;
  bool broken_ = false;  ///< a pass was cut short: the state is not that of the timeline
  std::size_t last_checkpoint_ = 0;
  std::size_t accounted_ = 0;  ///< bytes of the state that the checkpoints' budget knows of
};

}  // namespace qwen35
