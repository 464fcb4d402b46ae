#include "chat/fakes.h"

#include <qwen35/error.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>

#include "sampling/sampler.h"

namespace qwen35::testing_doubles {
namespace {

constexpr std::array<std::string_view, 10> kAdded = {
    "<|endoftext|>", "<|im_start|>", "<|im_end|>",      "<think>",          "</think>",
    "<tool_call>",   "</tool_call>", "<tool_response>", "</tool_response>", "<|vision_start|>"};
constexpr TokenId kFirstAdded = 256;
constexpr std::string_view kHeader = "<|im_start|>assistant\n";
constexpr std::string_view kClose = "</think>\n\n";

/// GPT-2's byte alphabet: printable bytes stand for themselves, the others for U+0100 on.
std::string alphabet_of(int byte) {
  const auto printable = [](int b) {
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  };
  int code = byte;
  if (!printable(byte)) {
    code = 256;
    for (int b = 0; b < byte; ++b) code += printable(b) ? 0 : 1;
  }
  if (code < 128) return {static_cast<char>(code)};
  return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
}

class FakeState : public State {
 public:
  [[nodiscard]] std::size_t position() const override { return tokens.size(); }
  [[nodiscard]] std::size_t memory_bytes() const override { return 1000 + tokens.size(); }
  std::vector<TokenId> tokens;
};

struct FakeSnapshot : Snapshot {
  [[nodiscard]] std::size_t position() const override { return tokens.size(); }
  [[nodiscard]] std::size_t memory_bytes() const override { return 1000; }
  std::vector<TokenId> tokens;
};

class FakeBackend : public Backend {
 public:
  explicit FakeBackend(std::shared_ptr<Stage> stage) : stage_(std::move(stage)) {
    config_.vocab_size = stage_->vocab_size;
    config_.max_positions = stage_->max_positions;
    ++stage_->loads;
    ++stage_->alive;
  }
  ~FakeBackend() override { --stage_->alive; }

  [[nodiscard]] const ModelConfig& config() const override { return config_; }
  [[nodiscard]] std::string description() const override { return "fake"; }
  [[nodiscard]] std::size_t memory_bytes() const override { return 1'000'000; }
  [[nodiscard]] std::unique_ptr<State> make_state() const override {
    stage_->history.clear();
    return std::make_unique<FakeState>();
  }
  void reset(State& state) const override {
    dynamic_cast<FakeState&>(state).tokens.clear();
    stage_->history.clear();
    ++stage_->resets;
  }

  bool forward(State& state, std::span<const TokenId> tokens, LogitRows rows, std::span<float> logits,
               const Cancellation& cancelled) override {
    if (tokens.empty()) throw Error(ErrorCode::internal, "the fake backend was fed nothing");
    stage_->on_forward();
    auto& fed = dynamic_cast<FakeState&>(state).tokens;
    for (const TokenId id : tokens) {
      if (id < 0 || static_cast<std::size_t>(id) >= config_.vocab_size) {
        throw Error(ErrorCode::invalid_argument, "token " + std::to_string(id) + " is out of range");
      }
    }
    if (cancelled.requested()) return false;
    if (fed.size() + tokens.size() > config_.max_positions) throw Error(ErrorCode::context_limit, "past max_positions");
    const std::size_t expected = rows == LogitRows::none ? 0 : config_.vocab_size;
    if (rows == LogitRows::all || logits.size() != expected) throw Error(ErrorCode::internal, "wrong logits size");
    fed.insert(fed.end(), tokens.begin(), tokens.end());
    stage_->history = fed;
    stage_->passes.push_back(tokens.size());
    if (rows == LogitRows::none) return true;

    write_logits(fed, logits);
    return true;
  }

  bool forward_batch(std::span<const Feed> feeds, const Cancellation& cancelled) override {
    std::vector<float> logits(config_.vocab_size);
    for (const Feed& feed : feeds) {
      if (feed.sample != nullptr && (feed.rows != LogitRows::last || !feed.logits.empty() || !samples(*feed.sample)))
        throw Error(ErrorCode::internal, "a request to sample that cannot be answered");
      if (!forward(*feed.state, feed.tokens, feed.rows, feed.sample != nullptr ? logits : feed.logits, cancelled))
        return false;
      if (feed.sample == nullptr) continue;
      Sampler::answer(*feed.sample, logits);
      ++stage_->sampled;
    }
    return true;
  }
  [[nodiscard]] bool samples(const SampleRequest& request) const override {
    return stage_->samples && (request.options->temperature == 0 || request.options->top_k > 0);
  }

  [[nodiscard]] std::size_t max_verify() const override { return stage_->max_verify; }
  bool verify(State& state, std::span<const TokenId> tokens, std::span<float> logits, const Cancellation&) override {
    if (tokens.empty() || tokens.size() > max_verify()) throw Error(ErrorCode::internal, "too many tokens to verify");
    if (logits.size() != tokens.size() * config_.vocab_size) throw Error(ErrorCode::internal, "wrong logits size");
    stage_->on_forward();
    auto& fed = dynamic_cast<FakeState&>(state).tokens;
    before_verify_ = fed.size();
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      fed.push_back(tokens[i]);
      write_logits(fed, logits.subspan(i * config_.vocab_size, config_.vocab_size));
    }
    stage_->history = fed;
    stage_->passes.push_back(tokens.size());
    return true;
  }
  bool verify_sampled(State& state, std::span<const TokenId> tokens, std::span<SampleRequest> samples,
                      const Cancellation& cancelled) override {
    for (const SampleRequest& request : samples) {
      if (!this->samples(request)) throw Error(ErrorCode::internal, "a request to sample that cannot be answered");
    }
    // Of one reply all but the first begin where the one before ended: nothing may depend on what they say.
    for (SampleRequest& request : samples.subspan(1)) request.random = {1, 2, 3, 4};
    if (!Backend::verify_sampled(state, tokens, samples, cancelled)) return false;
    ++stage_->guessed;
    return true;
  }
  void keep(State& state, std::size_t count) override {
    auto& fed = dynamic_cast<FakeState&>(state).tokens;
    stage_->cuts.insert({fed.size() - before_verify_, count});
    fed.resize(before_verify_ + count);
    stage_->history = fed;
  }

  [[nodiscard]] std::unique_ptr<Snapshot> snapshot(const State& state) const override {
    auto copy = std::make_unique<FakeSnapshot>();
    copy->tokens = dynamic_cast<const FakeState&>(state).tokens;
    ++stage_->snapshots;
    return copy;
  }
  void restore(State& state, const Snapshot& snapshot) const override {
    dynamic_cast<FakeState&>(state).tokens = dynamic_cast<const FakeSnapshot&>(snapshot).tokens;
    stage_->history = dynamic_cast<const FakeSnapshot&>(snapshot).tokens;
    ++stage_->restores;
  }
  [[nodiscard]] std::string snapshot_format() const override { return "fake 1"; }
  void write_snapshot(const Snapshot& snapshot,
                      const std::function<void(std::span<const std::byte>)>& sink) const override {
    sink(std::as_bytes(std::span(dynamic_cast<const FakeSnapshot&>(snapshot).tokens)));
  }
  [[nodiscard]] std::unique_ptr<Snapshot> read_snapshot(std::span<const std::byte> bytes) const override {
    auto snapshot = std::make_unique<FakeSnapshot>();
    snapshot->tokens.resize(bytes.size() / sizeof(TokenId));
    if (!bytes.empty()) std::memcpy(snapshot->tokens.data(), bytes.data(), bytes.size());
    return snapshot;
  }

 private:
  void write_logits(const std::vector<TokenId>& fed, std::span<float> logits) const {
    std::uint64_t hash = 1469598103934665603U;
    for (const TokenId id : fed) hash = (hash ^ static_cast<std::uint64_t>(id)) * 1099511628211U;
    for (float& logit : logits) {
      hash = hash * 6364136223846793005U + 1442695040888963407U;
      logit = static_cast<float>(hash >> 40) * 0x1p-24F;
    }
    for (std::size_t id = kFirstAdded + kAdded.size(); id < logits.size(); ++id) logits[id] = 50;  // padding tempts
    logits[static_cast<std::size_t>(next(text_of(fed)))] = 20;
  }

  [[nodiscard]] TokenId next(const std::string& history) const {
    std::size_t turns = 0;
    std::size_t tail_begin = 0;
    for (std::size_t at = history.find(kHeader); at != std::string::npos; at = history.find(kHeader, at + 1)) {
      ++turns;
      tail_begin = at + kHeader.size();
    }
    if (turns == 0 || turns > stage_->script.size()) return first_token("<|im_end|>");
    const std::string_view tail = std::string_view(history).substr(tail_begin);
    const std::string_view wanted = stage_->script[turns - 1];
    if (wanted.starts_with(tail) && wanted.size() > tail.size()) return first_token(wanted.substr(tail.size()));
    const std::size_t closed = tail.rfind(kClose);
    const std::size_t own = wanted.rfind(kClose);
    if (closed == std::string_view::npos || own == std::string_view::npos) return first_token("<|im_end|>");
    const std::string_view said = tail.substr(closed + kClose.size());
    const std::string_view answer = wanted.substr(own + kClose.size());
    if (answer.starts_with(said) && answer.size() > said.size()) return first_token(answer.substr(said.size()));
    return first_token("<|im_end|>");
  }

  std::shared_ptr<Stage> stage_;
  ModelConfig config_;
  std::size_t before_verify_ = 0;
};

}  // namespace

std::string byte_tokenizer_json() {
  using nlohmann::ordered_json;
  ordered_json vocab = ordered_json::object();
  for (int byte = 0; byte < 256; ++byte) vocab[alphabet_of(byte)] = byte;
  ordered_json added = ordered_json::array();
  for (std::size_t i = 0; i < kAdded.size(); ++i) {
    added.push_back({{"id", kFirstAdded + static_cast<TokenId>(i)},
                     {"content", kAdded[i]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", kAdded[i].starts_with("<|")}});
  }
  const ordered_json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
  const std::string regex =
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|"
      "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  const ordered_json split = {
      {"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}};
  const ordered_json json = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added},
      {"normalizer", {{"type", "NFC"}}},
      {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", ordered_json::array({split, byte_level})}}},
      {"post_processor", byte_level},
      {"decoder", byte_level},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"continuing_subword_prefix", ""},
        {"end_of_word_suffix", ""},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"ignore_merges", false},
        {"vocab", vocab},
        {"merges", ordered_json::array()}}}};
  return json.dump();
}

std::string text_of(std::span<const TokenId> tokens) {
  std::string text;
  for (const TokenId id : tokens) {
    if (id < kFirstAdded) {
      text += static_cast<char>(id);
    } else {
      text += kAdded.at(static_cast<std::size_t>(id - kFirstAdded));
    }
  }
  return text;
}

TokenId first_token(std::string_view text) {
  for (std::size_t i = 0; i < kAdded.size(); ++i) {
    if (text.starts_with(kAdded[i])) return kFirstAdded + static_cast<TokenId>(i);
  }
  return static_cast<TokenId>(static_cast<unsigned char>(text.at(0)));
}

std::size_t Stage::fed() const { return std::accumulate(passes.begin(), passes.end(), std::size_t{0}); }

std::unique_ptr<Backend> make_fake_backend(std::shared_ptr<Stage> stage) {
  return std::make_unique<FakeBackend>(std::move(stage));
}

Chat make_chat(std::shared_ptr<Stage> stage, std::size_t context) {
  return ChatFactory::make([stage, context] {
    ModelInfo info;
    info.name = "fake-model";
    return std::make_unique<Model>(Tokenizer::from_json(byte_tokenizer_json(), "fake tokenizer"),
                                   make_fake_backend(stage), info, context);
  });
}

GenerateOptions greedy(bool thinking) {
  GenerateOptions options;
  options.temperature = 0;
  options.repetition_penalty = 1;
  options.enable_thinking = thinking;
  return options;
}

}  // namespace qwen35::testing_doubles
