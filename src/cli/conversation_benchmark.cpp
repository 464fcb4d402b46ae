#include "cli/conversation_benchmark.h"

#include <qwen35/error.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <utility>

#include "chat/chat_core.h"
#include "cli/model_download.h"
#include "cli/progress.h"
#include "cli/scripted_backend.h"
#include "cli/state_benchmark.h"

namespace qwen35::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kTurn = 20;              // tokens of text in the turn that is timed
constexpr std::size_t kMessage = 200;          // tokens of a message of the history
constexpr std::size_t kMessageFrame = 9;       // what the template adds to one, about
constexpr std::size_t kCancelledPrompt = 512;  // tokens of a prompt that is cancelled
constexpr int kSnapshots = 4;                  // in a round
constexpr double kLongestDelayMs = 50;         // of a cancel, behind the first text

constexpr const char* kPassage =
    "The lighthouse stood on a spit of grey rock, half a mile from the village. Every evening at six the keeper "
    "climbed "
    "its hundred and twelve steps, wiped the salt from the glass and lit the lamp. In summer he read by its light "
    "until "
    "the fishing boats were home; in winter, when the wind shook the door, he counted the seconds between the waves "
    "and "
    "wrote them into a thick blue book. Nobody had asked him to. His father had done it before him, and the numbers "
    "went "
    "back for sixty years. When the engineers came to replace the lamp with an electric one, they found the books, "
    "took "
    "them to the city, and learned from them how the sea had changed.";

/// Takes up phrases of the passage and goes on in its own way, so that some guesses are wrong, as in any talk about a
/// text.
constexpr const char* kComment =
    "What I like about this story is how little the keeper needs to know about the worth of what he does. Every "
    "evening "
    "at six the work begins anew, and he counted the seconds much as others wind a clock: because measuring is part of "
    "the day. When the engineers came to the island they had a plan of their own, yet they found the books more useful "
    "than any lamp, which is how a good deal of science has been made: patient people kept notes, and later someone "
    "understood them. His father had done it for the same reason. An electric lamp shines without a keeper, but it "
    "does "
    "not count, and unless somebody thinks of that in time, the numbers went and nobody knows where.";

double milliseconds(Clock::duration time) { return std::chrono::duration<double, std::milli>(time).count(); }

/// Random words of the vocabulary, from a fixed seed.
class Words {
 public:
  explicit Words(const Tokenizer& tokenizer) {
    constexpr std::size_t kMost = 4096;
    for (TokenId id = 0; static_cast<std::size_t>(id) < tokenizer.size() && pool_.size() < kMost; ++id) {
      const std::string_view bytes = tokenizer.token_bytes(id);
      const bool word = bytes.size() > 2 && bytes.front() == ' ' &&
                        std::all_of(bytes.begin() + 1, bytes.end(), [](char c) { return c >= 'a' && c <= 'z'; });
      if (word && !tokenizer.is_added(id) && tokenizer.encode(bytes) == std::vector<TokenId>{id}) {
        pool_.push_back({std::string(bytes), 1});
      }
    }
    for (char letter = 'a'; letter <= 'z' && pool_.size() < 26; ++letter) {  // a vocabulary without words
      const std::string text{' ', letter};
      pool_.push_back({text, tokenizer.encode(text).size()});
    }
  }

  /// Text of about `tokens` tokens, at least one word.
  std::string take(std::size_t tokens) {
    std::string text;
    std::size_t count = 0;
    do {
      const Word& word = pool_[random_() % pool_.size()];
      text += word.text;
      count += word.tokens;
    } while (count < tokens);
    return text;
  }

 private:
  struct Word {
    std::string text;
    std::size_t tokens = 0;
  };
  std::vector<Word> pool_;
  std::mt19937_64 random_{1};
};

class RandomIds {
 public:
  RandomIds(std::size_t vocabulary, std::uint64_t seed) : vocabulary_(vocabulary), random_(seed) {}
  std::vector<TokenId> take(std::size_t count) {
    std::vector<TokenId> tokens(count);
    for (TokenId& token : tokens) token = static_cast<TokenId>(random_() % vocabulary_);
    return tokens;
  }

 private:
  std::size_t vocabulary_;
  std::mt19937_64 random_;
};

/// A reply whose every token is known.
struct ScriptedReply {
  std::string prompt;
  std::vector<TokenId> tokens;
  std::vector<double> with;
  std::vector<double> without;
  std::size_t drafted = 0;
  std::size_t accepted = 0;
};

class ConversationBenchmark {
 public:
  explicit ConversationBenchmark(const ConversationBenchmarkOptions& options)
      : options_(options), folder_(find_model(options.model)), chat_(load()), words_(model_->tokenizer) {}

  ConversationBenchmarkResult run() {
    result_.model = folder_.string();
    result_.backend = chat_.info().backend;
    const std::size_t context = chat_.info().context;
    check_fits("--depth and a turn", *std::max_element(options_.histories.begin(), options_.histories.end()) + 64);
    make_histories();
    const auto script = [&](const char* text) {
      std::vector<TokenId> tokens = model_->tokenizer.encode(std::string_view(text));
      tokens.resize(std::min(tokens.size(), options_.generate));
      return tokens;
    };
    repeating_.prompt = std::string("Read this back to me, word for word.\n\n") + kPassage;
    repeating_.tokens = script(kPassage);
    ordinary_.prompt = std::string("What do you make of this story?\n\n") + kPassage;
    ordinary_.tokens = script(kComment);
    check_fits("the text of the lookup test", 2 * model_->tokenizer.encode(repeating_.prompt).size() + 64);
    check_fits("a prompt to cancel", std::min(kCancelledPrompt, context / 2) + 64);

    Progress progress("measuring", options_.repetitions + 1 + 2 * options_.cancels);
    frame_ = measure_frame();
    measure_round();  // warms up
    first_token_ms_.assign(options_.histories.size(), {});
    state_times_.emplace(*backend_, *state_, *start_);
    for (ScriptedReply* reply : {&repeating_, &ordinary_}) {
      reply->with.clear();
      reply->without.clear();
    }
    std::size_t done = 0;
    progress.update(++done);
    for (std::size_t i = 0; i < options_.repetitions; ++i) {
      measure_round();
      progress.update(++done);
    }
    const auto advance = [&] { progress.update(++done); };
    result_.prefill = cancel_prefills(advance);
    result_.decode = cancel_decodes(advance);
    return finish();
  }

 private:
  Chat load() {
    const Notice notice("loading " + folder_.string());
    const auto loader = [this] {
      std::unique_ptr<Model> model = load_model(folder_, options_.load, [this](std::unique_ptr<Backend> inside) {
        auto backend = std::make_unique<ScriptedBackend>(std::move(inside));
        backend_ = backend.get();
        return backend;
      });
      model_ = model.get();
      return model;
    };
    return ChatFactory::make(loader, options_.load.session_memory);
  }

  void check_fits(const std::string& what, std::size_t tokens) const {
    const std::size_t context = chat_.info().context;
    if (tokens <= context) return;
    throw Error(ErrorCode::context_limit, what + " take " + std::to_string(tokens) +
                                              " tokens, but the model's context holds " + std::to_string(context) +
                                              "; ask for fewer, or take a model that holds more");
  }

  static GenerateOptions greedy(std::size_t tokens) {
    GenerateOptions options;
    options.temperature = 0;
    options.enable_thinking = false;
    options.loop_guard = false;
    options.max_tokens = static_cast<int>(tokens);
    return options;
  }

  /// Conversations of the lengths asked for, that end with a question.
  void make_histories() {
    for (const std::size_t tokens : options_.histories) {
      const std::size_t count = 2 * std::max<std::size_t>(1, tokens / (2 * kMessage)) - 1;
      const std::size_t each = std::max(tokens / count, kMessageFrame + 1) - kMessageFrame;
      std::vector<Message> messages;
      for (std::size_t i = 0; i < count; ++i) {
        messages.push_back({.role = i % 2 == 0 ? "user" : "assistant", .content = words_.take(each)});
      }
      histories_.push_back(std::move(messages));
    }
    first_token_ms_.resize(histories_.size());
    result_.turns.resize(histories_.size());
  }

  void measure_round() {
    const std::string turn = words_.take(kTurn);
    for (std::size_t i = 0; i < histories_.size(); ++i) time_turn(i, turn);
    time_snapshot();
    time_replies(repeating_);
    time_replies(ordinary_);
    lookup_second_ = !lookup_second_;
  }

  /// Tokens that the template puts around a prompt.
  [[nodiscard]] std::size_t measure_frame() {
    constexpr std::string_view kProbe = "Hello";
    chat_.generate(kProbe, greedy(1));
    const std::size_t tokens = chat_.last_reply().metrics.prompt_tokens - model_->tokenizer.encode(kProbe).size();
    chat_.reset_conversation();
    return tokens;
  }

  void time_turn(std::size_t index, const std::string& turn) {
    chat_.generate(histories_[index], greedy(1));  // its reply makes the history a conversation of our own
    chat_.generate(turn, greedy(1));
    const Metrics& metrics = chat_.last_reply().metrics;
    first_token_ms_[index].push_back(metrics.time_to_first_token_ms);
    result_.turns[index].history = metrics.reused_tokens;
    result_.turns[index].computed = metrics.prompt_tokens - metrics.reused_tokens;
  }

  void time_snapshot() {
    RandomIds random(model_->vocabulary, random_());
    if (state_ == nullptr) {
      const std::size_t tokens = *std::max_element(options_.histories.begin(), options_.histories.end());
      state_ = backend_->make_state();
      backend_->forward(*state_, random.take(std::max<std::size_t>(tokens, 1)), LogitRows::none, {}, {});
      start_ = backend_->snapshot(*state_);
      state_times_.emplace(*backend_, *state_, *start_);
    }
    for (int i = 0; i < kSnapshots; ++i) state_times_->sample(random.take(StateBenchmark::kPositions));
  }

  void time_replies(ScriptedReply& reply) {
    const std::vector<Message> messages = {{.role = "user", .content = reply.prompt}};
    const std::size_t position = frame_ + model_->tokenizer.encode(std::string_view(reply.prompt)).size();
    backend_->script(position, reply.tokens);
    for (const bool second : {false, true}) {
      const bool lookup = second == lookup_second_;
      chat_.reset_conversation();
      GenerateOptions options = greedy(reply.tokens.size());
      options.lookup = lookup;
      chat_.generate(messages, options);
      const Reply& made = chat_.last_reply();
      if (made.metrics.prompt_tokens != position || made.metrics.reply_tokens != reply.tokens.size()) {
        throw Error(ErrorCode::internal, "the scripted reply took " + std::to_string(made.metrics.reply_tokens) +
                                             " tokens behind " + std::to_string(made.metrics.prompt_tokens) +
                                             "; expected " + std::to_string(reply.tokens.size()) + " behind " +
                                             std::to_string(position) +
                                             " (it ended by: " + std::string(to_string(made.finish_reason)) + ")");
      }
      (lookup ? reply.with : reply.without).push_back(made.metrics.decode_tokens_per_second);
      if (lookup) {
        reply.drafted = made.metrics.drafted_tokens;
        reply.accepted = made.metrics.accepted_tokens;
      }
    }
    backend_->script(0, {});
  }

  /// Milliseconds from a cancel to the return of `make`, `delay_ms` after its start or its first text; nullopt: it was
  /// over before.
  std::optional<double> cancel(const std::function<Reply(const Chat::OnPiece&)>& make, bool after_text,
                               double delay_ms) {
    std::atomic<bool> begun{!after_text};
    std::atomic<bool> over{false};
    Clock::time_point asked;
    const auto release = [&begun] {
      begun.store(true);
      begun.notify_one();
    };
    std::thread canceller([&] {
      begun.wait(false);
      std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(delay_ms));
      if (over.load()) return;
      asked = Clock::now();
      chat_.cancel();
    });
    Reply reply;
    Clock::time_point returned;
    try {
      reply = make([&release](std::string_view) {
        release();
        return true;
      });
      returned = Clock::now();
    } catch (...) {
      over.store(true);
      release();
      canceller.join();
      throw;
    }
    over.store(true);
    release();
    canceller.join();
    chat_.clear_cancel();
    if (reply.finish_reason != FinishReason::cancelled) return std::nullopt;
    return milliseconds(returned - asked);
  }

  template <typename One>
  ConversationBenchmarkResult::Cancels cancels(const One& one, const std::function<void()>& advance) const {
    std::vector<double> times;
    // One that came too late is tried again, but not for ever: a tiny model may be too fast for all of them.
    for (std::size_t tries = 0; times.size() < options_.cancels && tries < 4 * options_.cancels; ++tries) {
      if (const std::optional<double> time = one()) {
        times.push_back(*time);
        advance();
      }
    }
    ConversationBenchmarkResult::Cancels result;
    result.count = times.size();
    if (!times.empty()) result.return_ms = summarize(times);
    return result;
  }

  ConversationBenchmarkResult::Cancels cancel_prefills(const std::function<void()>& advance) {
    const std::size_t tokens = std::min(kCancelledPrompt, chat_.info().context / 2);
    chat_.reset_conversation();
    chat_.generate(words_.take(tokens), greedy(1));
    std::uniform_real_distribution<double> delay(0.05, 0.8);
    const double whole_ms = chat_.last_reply().metrics.prefill_ms;
    return cancels(
        [&] {
          chat_.reset_conversation();
          const std::string prompt = words_.take(tokens);
          return cancel([&](const Chat::OnPiece& on_piece) { return chat_.stream(prompt, greedy(1), on_piece); }, false,
                        delay(random_) * whole_ms);
        },
        advance);
  }

  ConversationBenchmarkResult::Cancels cancel_decodes(const std::function<void()>& advance) {
    GenerateOptions options = greedy(std::min<std::size_t>(4096, chat_.info().context / 2));
    options.temperature = 1;
    options.logit_bias = {{model_->control.im_end, -100}, {model_->control.endoftext, -100}};
    std::uniform_real_distribution<double> delay(0, kLongestDelayMs);
    return cancels(
        [&] {
          chat_.reset_conversation();
          options.seed = random_();
          const std::string prompt = words_.take(kTurn);
          return cancel([&](const Chat::OnPiece& on_piece) { return chat_.stream(prompt, options, on_piece); }, true,
                        delay(random_));
        },
        advance);
  }

  static ConversationBenchmarkResult::Lookup summary_of(const ScriptedReply& reply) {
    return {.tokens = reply.tokens.size(),
            .drafted = reply.drafted,
            .accepted = reply.accepted,
            .with = summarize(reply.with),
            .without = summarize(reply.without)};
  }

  ConversationBenchmarkResult finish() {
    for (std::size_t i = 0; i < histories_.size(); ++i) {
      result_.turns[i].asked = options_.histories[i];
      result_.turns[i].first_token_ms = summarize(first_token_ms_[i]);
    }
    result_.state = state_times_->times();
    result_.repeating = summary_of(repeating_);
    result_.ordinary = summary_of(ordinary_);
    return std::move(result_);
  }

  const ConversationBenchmarkOptions& options_;
  std::filesystem::path folder_;
  Model* model_ = nullptr;              ///< chat_ keeps it
  ScriptedBackend* backend_ = nullptr;  ///< the model's
  Chat chat_;
  std::unique_ptr<State> state_;
  std::unique_ptr<Snapshot> start_;
  std::optional<StateBenchmark> state_times_;
  Words words_;
  std::mt19937_64 random_{1};
  std::size_t frame_ = 0;
  bool lookup_second_ = false;  ///< the order of the replies with and without, which changes from round to round
  std::vector<std::vector<Message>> histories_;
  std::vector<std::vector<double>> first_token_ms_;
  ScriptedReply repeating_;
  ScriptedReply ordinary_;
  ConversationBenchmarkResult result_;
};

}  // namespace

ConversationBenchmarkResult run_conversation_benchmark(const ConversationBenchmarkOptions& options) {
  return ConversationBenchmark(options).run();
}

}  // namespace qwen35::cli
