#include "backend/cuda/cuda_backend.h"

#include <qwen35/error.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "backend/checks.h"
#include "backend/cuda/decoder.h"
#include "backend/cuda/device/device.h"
#include "backend/cuda/load/pack.h"
#include "backend/cuda/prefill/prefill.h"
#include "backend/cuda/sampling/sampling.h"
#include "backend/cuda/state/cuda_state.h"

namespace qwen35::cuda {
namespace {

static_assert(Prefill::kMost % Prefill::kChunk == 0);
static_assert(Decoder::most() <= DeviceSampler::kMostRows);

/// A stream that waits for no other.
class Stream {
 public:
  Stream() : life_(device_life()) {
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
  }
  ~Stream() {
    if (life_ != device_life()) return;
    (void)cudaStreamSynchronize(stream_);
    (void)cudaStreamDestroy(stream_);
    (void)cudaGetLastError();
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  [[nodiscard]] cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
  std::uint64_t life_;
};

/// Memory of the host that the GPU writes to directly.
class PinnedFloats {
 public:
  PinnedFloats() = default;
  ~PinnedFloats() { free(); }
  PinnedFloats(const PinnedFloats&) = delete;
  PinnedFloats& operator=(const PinnedFloats&) = delete;
  /// What was in it is lost when it grows.
  void reserve(std::size_t floats) {
    if (floats <= floats_) return;
    free();
    void* data = nullptr;
    check(cudaMallocHost(&data, floats * sizeof(float)), "asking for pinned memory");
    data_ = static_cast<float*>(data);
    floats_ = floats;
    life_ = device_life();
  }
  [[nodiscard]] float* data() const { return data_; }

 private:
  void free() noexcept {
    if (data_ != nullptr && life_ == device_life() && cudaFreeHost(data_) != cudaSuccess) (void)cudaGetLastError();
    data_ = nullptr;
    floats_ = 0;
  }
  float* data_ = nullptr;
  std::size_t floats_ = 0;
  std::uint64_t life_ = 0;
};

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const ModelWeights& weights)
      : device_(device_info()),
        config_(weights.config),
        model_(weights, device_),
        decoder_(model_.model(), device_),
        prefill_(model_.model(), device_),
        memory_(std::make_shared<StateMemory>(config_, model_.model().sizes)),
        few_(std::clamp<std::size_t>(decoder_.few(), 1,
                                     kRingRows + 1 - std::max<std::size_t>(config_.conv_kernel, 1))) {}

  ~CudaBackend() override {
    drain();
    memory_->pool->close();
  }
  CudaBackend(const CudaBackend&) = delete;
  CudaBackend& operator=(const CudaBackend&) = delete;

  [[nodiscard]] const ModelConfig& config() const override { return config_; }

  [[nodiscard]] std::string description() const override {
    return "cuda (" + device_.name + ", compute " + std::to_string(device_.major) + "." +
           std::to_string(device_.minor) + ", " + std::to_string(device_.multiprocessors) + " multiprocessors)";
  }

  [[nodiscard]] std::size_t memory_bytes() const override {
    return model_.memory_bytes() + decoder_.memory_bytes() + prefill_.memory_bytes() + sampler_.memory_bytes() +
           memory_->pool->memory_bytes() + logits_.bytes();
  }

  [[nodiscard]] std::unique_ptr<State> make_state() const override { return std::make_unique<CudaState>(memory_); }

  void reset(State& state) const override { reset_state(own_state(state)); }

  bool forward(State& state, std::span<const TokenId> tokens, LogitRows rows, std::span<float> logits,
               const Cancellation& cancelled) override {
    CudaState& own = own_state(state);
    check_forward(config_, own.now.tokens, tokens, rows, logits.size());
    if (tokens.empty()) return true;
    const Feed feed{&state, tokens, rows, logits};
    return guarded([&] {
      return tokens.size() <= few_ ? run_few({&feed, 1}, false, cancelled) : run_many(own, feed, cancelled);
    });
  }

  bool forward_batch(std::span<const Feed> feeds, const Cancellation& cancelled) override {
    check_feeds(
        config_, feeds, [this](State& state) { (void)own_state(state); },
        [this](const SampleRequest& request) { return samples(request); });
    return guarded([&] {
      // What is sampled stays here until all of the batch is whole.
      answers_.clear();
      answers_.reserve(feeds.size());
      if (!run_batch(feeds, cancelled)) return false;
      for (const Answer& answer : answers_) {
        answer.asked->token = answer.request.token;
        answer.asked->random = answer.request.random;
      }
      return true;
    });
  }

  [[nodiscard]] bool samples(const SampleRequest& request) const override {
    return request.vocabulary <= config_.vocab_size && DeviceSampler::supports(request);
  }
  [[nodiscard]] std::size_t max_rows() const override { return Decoder::most(); }
  [[nodiscard]] std::size_t pass_tokens() const override { return 2048; }
  [[nodiscard]] std::size_t max_verify() const override { return few_; }

  bool verify(State& state, std::span<const TokenId> tokens, std::span<float> logits,
              const Cancellation& cancelled) override {
    CudaState& own = own_state(state);
    check_forward(config_, own.now.tokens, tokens, LogitRows::all, logits.size());
    check_verify(tokens.size(), max_verify());
    if (tokens.empty()) return true;
    const Feed feed{&state, tokens, LogitRows::all, logits};
    return guarded([&] { return run_few({&feed, 1}, true, cancelled); });
  }

  bool verify_sampled(State& state, std::span<const TokenId> tokens, std::span<SampleRequest> samples,
                      const Cancellation& cancelled) override {
    CudaState& own = own_state(state);
    check_forward(config_, own.now.tokens, tokens, LogitRows::none, 0);
    check_verify(tokens.size(), max_verify());
    check_samples(config_.vocab_size, tokens.size(), samples,
                  [this](const SampleRequest& request) { return this->samples(request); });
    if (tokens.empty()) return true;
    const Feed feed{&state, tokens, LogitRows::all, {}, samples.data()};
    return guarded([&] { return run_few({&feed, 1}, true, cancelled); });
  }

  void keep(State& state, std::size_t count) override {
    CudaState& own = own_state(state);
    check_keep(count, own.verified);
    if (count == own.verified) {
      own.verified = 0;
      return;
    }
    guarded([&] {
      decoder_.replay(own.cut_back(count), stream_.get());
      // Nobody waits for it, so nothing that it reads may be used or freed by the other stream before.
      if (own.foreign)
        wait();
      else
        memory_->heap->order_after(stream_.get());
      return true;
    });
  }

  [[nodiscard]] std::unique_ptr<Snapshot> snapshot(const State& state) const override {
    return take_snapshot(own_cast<const CudaState>(state, "state"));
  }

  void restore(State& state, const Snapshot& snapshot) const override {
    CudaState& own = own_state(state);
    const auto& point = own_cast<const CudaSnapshot>(snapshot, "snapshot");
    check_there(point);
    restore_snapshot(own, point);
  }

  [[nodiscard]] std::string snapshot_format() const override { return qwen35::snapshot_format("cuda", memory_->shape); }

  void write_snapshot(const Snapshot& snapshot, const ByteSink& sink) const override {
    const auto& own = own_cast<const CudaSnapshot>(snapshot, "snapshot");
    check_same_shape(memory_->shape, own.memory->shape);
    check_alive();
    check_there(own);
    cuda::write_snapshot(own, sink);
  }

  [[nodiscard]] std::unique_ptr<Snapshot> read_snapshot(std::span<const std::byte> bytes) const override {
    check_alive();
    return cuda::read_snapshot(bytes, memory_, config_.max_positions);
  }

 private:
  struct Answer {
    SampleRequest* asked;
    SampleRequest request;
  };

  /// Throws invalid_argument for a state of another backend: its work would be on another stream.
  CudaState& own_state(State& state) const {
    auto& own = own_cast<CudaState>(state, "state");
    if (own.memory != memory_) throw Error(ErrorCode::invalid_argument, "this state was made by another backend");
    return own;
  }

  void check_alive() const {
    if (lost_ || life_ != device_life())
      throw Error(ErrorCode::device,
                  "the GPU failed before, and what it held is lost; load the model again, or use "
                  "--backend cpu");
  }

  /// Throws device for a snapshot that went with the memory of a GPU that was lost.
  static void check_there(const CudaSnapshot& snapshot) {
    if (!snapshot.memory->heap->alive())
      throw Error(ErrorCode::device, "this snapshot was lost when the GPU failed; begin the conversation anew");
  }

  /// Runs `work`, which puts work on the stream. Whatever it throws, nothing of it is on the stream afterwards.
  template <typename Work>
  bool guarded(Work&& work) {
    check_alive();
    try {
      const bool whole = work();
      passes_.clear();
      return whole;
    } catch (const Error& error) {
      if (error.code() == ErrorCode::device) lost_ = true;
      drain();
      throw;
    } catch (...) {
      drain();
      throw;
    }
  }
  void drain() noexcept {
    if (life_ == device_life() && cudaStreamSynchronize(stream_.get()) != cudaSuccess) {
      (void)cudaGetLastError();
      lost_ = true;
    }
    sampler_.forget();
    passes_.clear();
  }
  void wait() { check(cudaStreamSynchronize(stream_.get()), "computing a pass"); }
  /// Gives up what was begun.
  bool cancel() {
    wait();
    return false;
  }

  /// Rows of logits that `feed` wants.
  static std::size_t rows_of(const Feed& feed) {
    return feed.rows == LogitRows::none ? 0 : feed.rows == LogitRows::all ? feed.tokens.size() : 1;
  }
  /// Memory for the logits that the feeds want, and for their choice, before anything is computed. No feed has more
  /// than Decoder::most() rows at a time. Where a feed has a request to sample, it has one for each of its rows, one
  /// after the other, all of one reply.
  void prepare(std::span<const Feed> feeds) {
    std::size_t rows = 0;
    std::size_t fetched = 0;
    for (const Feed& feed : feeds) {
      const std::size_t count = std::min<std::size_t>(rows_of(feed), Decoder::most());
      rows += count;
      if (feed.sample == nullptr) fetched += count;
    }
    logits_.reserve(rows * config_.vocab_size * sizeof(float));
    fetched_.reserve(fetched * config_.vocab_size);
    to_sample_.clear();
    const float* row = logits_.as<float>();
    for (const Feed& feed : feeds) {
      const std::size_t count = std::min<std::size_t>(rows_of(feed), Decoder::most());
      for (std::size_t i = 0; feed.sample != nullptr && i < count; ++i)
        to_sample_.push_back({row + i * config_.vocab_size, feed.sample + i, i > 0});
      row += count * config_.vocab_size;
    }
    if (!to_sample_.empty()) sampler_.reserve(to_sample_);
  }
  /// The first `rows` rows of the device's logits, waited for.
  const float* fetch_logits(std::size_t rows) {
    put_copy(logits_.as<float>(), fetched_.data(), rows * config_.vocab_size);
    wait();
    return fetched_.data();
  }
  void put_copy(const float* from, float* to, std::size_t floats) {
    if (floats == 0) return;
    check(cudaMemcpyAsync(to, from, floats * sizeof(float), cudaMemcpyDeviceToHost, stream_.get()), "fetching logits");
  }
  /// What the feeds want of the device's logits, where their rows stand one after the other: rows come to fetched_
  /// without gaps, tokens into the requests of prepare(). Waits for the stream, but where there are only tokens, until
  /// they are there: everything before them is done then.
  const float* bring(std::span<const Feed> feeds) {
    const float* row = logits_.as<float>();
    const float* from = row;  // of the rows that are copied together next
    float* to = fetched_.data();
    const auto put_rows = [&](const float* end) {
      put_copy(from, to, static_cast<std::size_t>(end - from));
      to += end - from;
    };
    for (const Feed& feed : feeds) {
      if (feed.sample != nullptr) {
        put_rows(row);
        from = row + rows_of(feed) * config_.vocab_size;
      }
      row += rows_of(feed) * config_.vocab_size;
    }
    put_rows(row);
    if (!to_sample_.empty()) sampler_.enqueue(to_sample_, stream_.get());
    if (to_sample_.empty() || to != fetched_.data()) wait();
    if (!to_sample_.empty()) sampler_.wait();
    return fetched_.data();
  }
  static void copy(std::span<float> to, const float* from) {
    if (!to.empty()) std::memcpy(to.data(), from, to.size_bytes());
  }

  /// Requests to sample are answered in answers_, which must have room.
  bool run_batch(std::span<const Feed> feeds, const Cancellation& cancelled) {
    together_.clear();
    std::size_t tokens = 0;
    for (Feed feed : feeds) {
      if (feed.tokens.empty()) continue;
      if (feed.sample != nullptr) {
        answers_.push_back({feed.sample, *feed.sample});
        feed.sample = &answers_.back().request;
      }
      if (feed.tokens.size() > few_) {
        if (!run_many(own_state(*feed.state), feed, cancelled)) return false;
        continue;
      }
      if (tokens + feed.tokens.size() > Decoder::most()) {
        if (!run_few(together_, false, cancelled)) return false;
        together_.clear();
        tokens = 0;
      }
      together_.push_back(feed);
      tokens += feed.tokens.size();
    }
    return together_.empty() || run_few(together_, false, cancelled);
  }

  /// Feeds of at most few_ tokens each, not empty, Decoder::most() in all: one pass.
  bool run_few(std::span<const Feed> feeds, bool verify, const Cancellation& cancelled) {
    if (cancelled.requested()) return false;
    tokens_.clear();
    wanted_.clear();
    for (const Feed& feed : feeds) {
      const std::size_t count = feed.tokens.size();
      const std::size_t rows = rows_of(feed);
      for (std::size_t i = count - rows; i < count; ++i)
        wanted_.push_back(static_cast<std::uint32_t>(tokens_.size() + i));
      tokens_.insert(tokens_.end(), feed.tokens.begin(), feed.tokens.end());
    }
    prepare(feeds);
    passes_.clear();
    passes_.reserve(feeds.size());
    views_.clear();
    std::uint32_t first = 0;
    for (const Feed& feed : feeds) {
      passes_.push_back(own_state(*feed.state).begin_pass(feed.tokens.size(), verify, first, stream_.get()));
      views_.push_back(passes_.back().view);
      first += views_.back().count;
    }
    decoder_.forward(views_, tokens_, wanted_, logits_.as<float>(), stream_.get());
    const float* row = bring(feeds);
    for (std::size_t i = 0; i < feeds.size(); ++i) {
      copy(feeds[i].logits, row);
      row += feeds[i].logits.size();
      own_state(*feeds[i].state).end_pass(std::move(passes_[i]), feeds[i].tokens.size(), verify);
    }
    return true;
  }

  /// Tokens of the next piece when `left` are left: whole chunks, then what remains, by itself when it is little, so
  /// that a text cut at chunks gives the same bits as one that is not.
  [[nodiscard]] std::size_t piece(std::size_t left) const {
    const std::size_t rest = left % Prefill::kChunk;
    if (left <= few_ || (left <= Prefill::kMost && (rest == 0 || rest > few_))) return left;
    return std::min<std::size_t>(left - rest, Prefill::kMost);
  }

  /// One feed of any length. Everything it needs is asked for before anything is computed.
  bool run_many(CudaState& state, const Feed& feed, const Cancellation& cancelled) {
    if (cancelled.requested()) return false;
    const std::size_t count = feed.tokens.size();
    prepare({&feed, 1});
    passes_.clear();
    passes_.push_back(state.begin_pass(count, false, 0, stream_.get()));
    SequenceView view = passes_.back().view;
    for (std::size_t done = 0; done < count;) {
      if (cancelled.requested()) return cancel();
      const std::size_t now = piece(count - done);
      const auto tokens = feed.tokens.subspan(done, now);
      view.count = static_cast<std::uint32_t>(now);
      if (now <= few_ ? !run_rest(view, tokens, feed, done) : !run_chunks(view, tokens, feed, done, cancelled))
        return cancel();
      view.position += view.count;
      view.s_in = view.s_out;
      done += now;
    }
    if (feed.rows == LogitRows::last)
      copy(feed.logits, bring({&feed, 1}));
    else
      wait();
    state.end_pass(std::move(passes_.back()), count, false);
    return true;
  }

  bool run_rest(const SequenceView& view, std::span<const TokenId> tokens, const Feed& feed, std::size_t done) {
    wanted_.clear();
    const auto count = static_cast<std::uint32_t>(tokens.size());
    const std::uint32_t rows = feed.rows == LogitRows::none ? 0 : feed.rows == LogitRows::all ? count : 1;
    for (std::uint32_t i = count - rows; i < count; ++i) wanted_.push_back(i);
    decoder_.forward({&view, 1}, tokens, wanted_, logits_.as<float>(), stream_.get());
    if (feed.rows == LogitRows::all)
      copy(feed.logits.subspan(done * config_.vocab_size, count * config_.vocab_size), fetch_logits(count));
    return true;
  }

  bool run_chunks(const SequenceView& view, std::span<const TokenId> tokens, const Feed& feed, std::size_t done,
                  const Cancellation& cancelled) {
    const float* const x = prefill_.run(view, tokens, cancelled, stream_.get());
    if (x == nullptr) return false;
    const std::size_t hidden = config_.hidden_size;
    if (feed.rows == LogitRows::last && done + tokens.size() == feed.tokens.size())
      decoder_.head(x + (tokens.size() - 1) * hidden, 1, logits_.as<float>(), stream_.get());
    if (feed.rows != LogitRows::all) return true;
    for (std::size_t row = 0; row < tokens.size();) {
      const std::size_t rows = std::min<std::size_t>(Decoder::most(), tokens.size() - row);
      decoder_.head(x + row * hidden, static_cast<std::uint32_t>(rows), logits_.as<float>(), stream_.get());
      copy(feed.logits.subspan((done + row) * config_.vocab_size, rows * config_.vocab_size), fetch_logits(rows));
      row += rows;
    }
    return true;
  }

  DeviceInfo device_;
  ModelConfig config_;
  PackedModel model_;
  Stream stream_;
  Decoder decoder_;
  Prefill prefill_;
  DeviceSampler sampler_;
  std::shared_ptr<const StateMemory> memory_;  ///< of states and snapshots, which outlive this backend
  std::size_t few_;                            ///< tokens of one state that go through the decoder
  std::uint64_t life_ = device_life();
  std::atomic<bool> lost_{false};
  DeviceMemory logits_;
  PinnedFloats fetched_;
  std::vector<CudaState::Pass> passes_;  ///< on the stream
  std::vector<SequenceView> views_;
  std::vector<TokenId> tokens_;
  std::vector<std::uint32_t> wanted_;
  std::vector<Feed> together_;
  std::vector<DeviceSampler::Row> to_sample_;
  std::vector<Answer> answers_;
};

}  // namespace
}  // namespace qwen35::cuda

namespace qwen35 {

std::unique_ptr<Backend> make_cuda_backend(const ModelWeights& weights) {
  if (const std::string why = cuda::why_unusable(); !why.empty())
    throw Error(ErrorCode::unsupported, "the CUDA backend cannot be used: " + why + ". Use --backend cpu");
  cuda::recover();
  return std::make_unique<cuda::CudaBackend>(weights);
}

}  // namespace qwen35
