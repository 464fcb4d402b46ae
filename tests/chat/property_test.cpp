// Conversations that are edited, cut, cancelled, stored, forked and unloaded at random, against a cold run: after every
// step the model must say what it says when the same tokens are fed to a fresh state.
//
// QWEN35_PROPERTY_STEPS sets the number of steps; QWEN35_PROPERTY_MODEL a checkpoint folder with a tokenizer to walk
// over instead of the drawn one, QWEN35_PROPERTY_MEMORY_MB its session memory; QWEN35_PROPERTY_SEED another walk.
#include <gtest/gtest.h>
#include <qwen35/chat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "chat/fakes.h"
#include "chat/model.h"
#include "chat/session.h"
#include "chat/session_file.h"
#include "checkpoint/synth.h"

namespace qwen35 {
namespace {

namespace fs = std::filesystem;

std::size_t setting(const char* name, std::size_t standard) {
  const char* value = std::getenv(name);
  return value == nullptr ? standard : static_cast<std::size_t>(std::strtoull(value, nullptr, 10));
}

/// Says whether the log-probabilities of a reply are those of a cold run, within `noise`.
class ColdRun {
 public:
  explicit ColdRun(const fs::path& folder, bool float32)
      : model_(load_model(folder, {.threads = 2, .float32 = float32})) {}

  [[nodiscard]] const Model& model() const { return *model_; }

  /// The largest difference over all reported tokens of `reply`, whose conversation was fed `tokens`.
  double difference(std::span<const TokenId> tokens, const Reply& reply) {
    std::size_t first = tokens.size();
    if (tokens.back() == model_->control.im_end) --first;
    first -= reply.logprobs.size();
    Checkpoints none(0);
    Session session(*model_->backend, model_->batcher, none);
    session.feed(tokens.first(first), {});
    double largest = 0;
    for (std::size_t i = 0; i < reply.logprobs.size(); ++i) {
      if (i > 0) session.feed(tokens.subspan(first + i - 1, 1), {});
      EXPECT_EQ(tokens[first + i], reply.logprobs[i].id) << "the reply is not at the end of the tokens";
      const std::span<const float> logits = session.logits().first(model_->vocabulary);
      double sum = 0;
      const float best = *std::max_element(logits.begin(), logits.end());
      for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - static_cast<double>(best));
      for (const TokenLogprob::Alternative& other : reply.logprobs[i].top) {
        const double cold = static_cast<double>(logits[static_cast<std::size_t>(other.id)] - best) - std::log(sum);
        largest = std::max(largest, std::abs(cold - static_cast<double>(other.logprob)));
      }
    }
    return largest;
  }

 private:
  std::unique_ptr<Model> model_;
};

class Walk {
 public:
  Walk(const fs::path& folder, bool float32, std::uint64_t seed)
      : random_(seed), file_(fs::temp_directory_path() / ("qwen35-walk-" + std::to_string(getpid()))) {
    chats_.push_back(Chat::from_pretrained(
        folder.string(),
        {.threads = 2, .float32 = float32, .session_memory = setting("QWEN35_PROPERTY_MEMORY_MB", 8) << 20}));
    chats_.push_back(chats_.front().fork());
    chats_.push_back(chats_.front().fork());
  }
  ~Walk() { fs::remove(file_); }

  /// One random step on one of the conversations; returns what it was.
  std::string step() {
    Chat& chat = chats_[below(chats_.size())];
    if (total_characters(chat.messages()) > 600) chat.reset_conversation();
    const std::vector<Message> before = chat.messages();
    const bool has_reply = !before.empty() && before.back().role == "assistant";
    switch (below(17)) {
      case 0:
        return edit_last(chat);
      case 1:
        if (!has_reply) break;
        chat.regenerate(options());
        return "regenerate";
      case 2:
      case 3:
        return has_reply ? truncate(chat, before.back().content) : append(chat);
      case 4:
        chat.cancel();
        chat.generate(words(), options());
        EXPECT_EQ(chat.last_reply().finish_reason, FinishReason::cancelled);
        return "cancel before the start";
      case 5:
        return cancel_within(chat);
      case 6:
        return cancel_from_a_thread(chat);
      case 7:
        chat.save_session(file_);
        chats_[below(chats_.size())].load_session(file_);
        return "save and load";
      case 8:
        return switch_back(chat);
      case 9:
        for (Chat& each : chats_) each.unload();
        for (Chat& each : chats_) each.reload();
        return "unload and reload";
      case 10:
        return early_prefill(chat);
      case 11:
        return edit_early(chat);
      case 12: {
        GenerateOptions with_system = options();
        with_system.system_prompt = below(2) == 0 ? "" : words();
        chat.generate(words(), with_system);
        return "another system prompt";
      }
      case 13:
        return continue_another(chat);
      case 14: {
        GenerateOptions asked = options();
        asked.tools = "[]";
        chat.complete(words(), asked);
        EXPECT_EQ(chat.messages(), before) << "a completion is no turn";
        return "complete";
      }
      case 15:
        chat.release_state();
        return "release the state";
      default:
        break;
    }
    if (below(4) == 0) chats_[below(chats_.size())] = chat.fork();
    return append(chat);
  }

  /// A reply on a copy of a random conversation, with its log-probabilities, and all the tokens of that conversation.
  std::pair<Reply, std::vector<TokenId>> probe(const Model& model) {
    Chat copy = chats_[below(chats_.size())].fork();
    GenerateOptions asked = options();
    asked.enable_thinking = false;
    asked.allow_empty = false;
    asked.logprobs = true;
    asked.top_logprobs = 10;
    asked.max_tokens = 3;
    Reply reply = copy.stream(words(), asked, {});
    copy.save_session(file_);
    return {std::move(reply), SessionFile::load(file_, model).tokens};
  }

 private:
  std::size_t below(std::size_t bound) { return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random_); }

  std::string words() {
    static constexpr const char* kWords[] = {"red",  "seven ", "why",  "the ",  "rain, ", "a",
                                             "你好", "42",     "\n\n", "émile", "tell",   " me"};
    std::string text = "Q";
    for (std::size_t i = below(6); i > 0; --i) text += std::string(" ") + kWords[below(std::size(kWords))];
    if (below(12) == 0) text += std::string(300, 'x');  // longer than a slice
    return text;
  }

  GenerateOptions options() {
    GenerateOptions options = testing_doubles::greedy(below(2) == 0);
    options.max_thinking_tokens = static_cast<int>(below(8));
    options.max_tokens = static_cast<int>(1 + below(20));
    options.temperature = below(2) == 0 ? 0.0F : 1.0F;
    options.seed = below(1000);
    options.history = below(8) == 0 ? HistoryForm::rendered : HistoryForm::sampled;
    options.lookup = below(2) == 0;
    return options;
  }

  static std::size_t total_characters(const std::vector<Message>& messages) {
    std::size_t total = 0;
    for (const Message& message : messages) total += message.content.size() + message.thinking.size();
    return total;
  }

  std::string append(Chat& chat) {
    archive_.push_back(chat.messages());
    chat.generate(words(), options());
    return "append";
  }

  std::string edit_last(Chat& chat) {
    std::vector<Message> messages = chat.messages();
    while (!messages.empty() && messages.back().role != "user") messages.pop_back();
    if (messages.empty()) return append(chat);
    messages.back().content = words();
    chat.generate(messages, options());
    return "edit the last question";
  }

  std::string edit_early(Chat& chat) {
    std::vector<Message> messages = chat.messages();
    if (messages.empty()) return append(chat);
    Message& changed = messages[below(messages.size())];
    changed.content = words();
    if (messages.back().role != "user") messages.push_back({"user", words()});
    chat.generate(messages, options());
    return "change an early message";
  }

  std::string truncate(Chat& chat, const std::string& text) {
    if (below(3) == 0) {
      chat.truncate_reply(below(8));
    } else {
      std::size_t cut = below(text.size() + 1);
      while (cut < text.size() && (static_cast<unsigned char>(text[cut]) & 0xC0U) == 0x80U) ++cut;
      chat.truncate_reply(std::string_view(text).substr(0, cut));
    }
    return "truncate";
  }

  std::string cancel_within(Chat& chat) {
    std::size_t pieces = below(4);
    chat.stream(words(), options(), [&](std::string_view) {
      if (pieces-- == 0) chat.cancel();
      return true;
    });
    chat.clear_cancel();
    return "cancel within a reply";
  }

  std::string cancel_from_a_thread(Chat& chat) {
    std::thread other([&chat, wait = below(3000)] {
      std::this_thread::sleep_for(std::chrono::microseconds(wait));
      chat.cancel();
    });
    chat.generate(words(), options());
    other.join();
    chat.clear_cancel();
    return "cancel from a thread";
  }

  std::string switch_back(Chat& chat) {
    if (archive_.empty()) return append(chat);
    std::vector<Message> messages = archive_[below(archive_.size())];
    if (archive_.size() > 20) archive_.erase(archive_.begin());
    messages.push_back({"user", words()});
    chat.generate(messages, options());
    return "switch to an old conversation";
  }

  /// As a server does it: whoever is free goes on with a conversation that another one had.
  std::string continue_another(Chat& chat) {
    std::vector<Message> messages = chats_[below(chats_.size())].messages();
    for (Message& message : messages) message.thinking.clear();
    messages.push_back({"user", words()});
    chat.generate(messages, options());
    return "go on with another's conversation";
  }

  std::string early_prefill(Chat& chat) {
    const std::string whole = words() + " " + words() + " " + words();
    const GenerateOptions asked = options();
    for (std::size_t i = 1 + below(3); i > 0; --i) {
      std::size_t cut = below(whole.size() + 1);
      while (cut < whole.size() && (static_cast<unsigned char>(whole[cut]) & 0xC0U) == 0x80U) ++cut;
      std::string partial = whole.substr(0, cut);
      if (below(3) == 0) partial += " misheard";
      chat.prefill(partial, asked);
    }
    if (below(3) > 0) chat.generate(whole, asked);
    return "early prefill";
  }

  std::mt19937_64 random_;
  fs::path file_;
  std::vector<Chat> chats_;
  std::vector<std::vector<Message>> archive_;
};

class PropertyTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (const char* model = std::getenv("QWEN35_PROPERTY_MODEL")) {
      folder_ = model;
      return;
    }
    own_ = fs::temp_directory_path() / ("qwen35-property-" + std::to_string(getpid()));
    fs::create_directories(own_);
    std::ofstream(own_ / "tokenizer.json") << testing_doubles::byte_tokenizer_json();
    folder_ = own_ / "small";
    ASSERT_TRUE(synthesize({.config = fs::path(QWEN35_TEST_DATA) / "reference" / "small" / "config.json",
                            .destination = folder_,
                            .tokenizer = own_ / "tokenizer.json",
                            .seed = 1,
                            .quantization = {.bits = GetParam() ? 0 : 4, .group_size = 64},
                            .threads = 2,
                            .progress = {}}));
  }
  void TearDown() override {
    if (!own_.empty()) fs::remove_all(own_);
  }

  fs::path own_;
  fs::path folder_;
};

TEST_P(PropertyTest, AnyWayToAHistoryGivesTheLogitsOfAColdRun) {
  const bool float32 = GetParam();
  // Float noise of sums in another order; the fast path quantises activations, which makes more of it.
  const double noise = float32 ? 5e-4 : 1e-2;
  ColdRun cold(folder_, float32);
  Walk walk(folder_, float32, setting("QWEN35_PROPERTY_SEED", 1));
  const std::size_t steps = setting("QWEN35_PROPERTY_STEPS", 60);
  double worst = 0;
  std::size_t reused = 0;
  std::size_t prompts = 0;
  for (std::size_t i = 0; i < steps; ++i) {
    const std::string what = walk.step();
    const auto [reply, tokens] = walk.probe(cold.model());
    ASSERT_FALSE(tokens.empty());
    const double difference = cold.difference(tokens, reply);
    worst = std::max(worst, difference);
    reused += reply.metrics.reused_tokens;
    prompts += reply.metrics.prompt_tokens;
    ASSERT_LE(difference, noise) << "step " << i << ", after: " << what;
    ASSERT_LE(reply.metrics.reused_tokens, reply.metrics.prompt_tokens);
  }
  std::printf("%zu steps: largest difference of a log-probability %.2g, %zu of %zu prompt tokens reused\n", steps,
              worst, reused, prompts);
  EXPECT_GT(reused, prompts / 2);
}

INSTANTIATE_TEST_SUITE_P(Arithmetic, PropertyTest, testing::Values(true, false),
                         [](const auto& param) { return param.param ? "float32" : "quantised"; });

}  // namespace
}  // namespace qwen35
