#include <qwen35/voice.h>

#include <chrono>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

#include "voice/heard.h"

namespace qwen35 {
namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

}  // namespace

struct VoiceChat::Impl {
  Impl(Chat its_chat, VoiceOptions its_options) : chat(std::move(its_chat)), options(std::move(its_options)) {}

  Chat chat;
  VoiceOptions options;
  std::mutex busy;  ///< held while `chat` is used; taken before `mutex`

  mutable std::mutex mutex;  ///< guards what follows
  bool replying = false;
  bool interrupted = false;
  std::stop_source stop;                  ///< stops the present reply and no other
  std::optional<std::string> heard_text;  ///< what interrupt(heard) said
  std::vector<Sentence> sentences;        ///< of the present reply, as handed out
  Playback playback;
  std::string text;  ///< of the last reply, all of it; what the history still holds of it

  [[nodiscard]] bool is_interrupted() const {
    const std::lock_guard lock(mutex);
    return interrupted;
  }

  [[nodiscard]] bool must_unload() const {
    if (options.memory_budget == 0) return false;
    const std::size_t model = chat.memory_footprint();
    return model > options.memory_budget || options.synthesizer_bytes > options.memory_budget - model;
  }

  void begin() {
    const std::lock_guard lock(mutex);
    replying = true;
    interrupted = false;
    stop = {};
    heard_text.reset();
    sentences.clear();
    playback = {};
    text.clear();
  }

  bool hand_out(std::vector<Sentence> ready, const OnSentence& on_sentence, Clock::time_point start,
                VoiceMetrics& metrics) {
    for (const Sentence& sentence : ready) {
      {
        const std::lock_guard lock(mutex);
        if (interrupted) return false;
        sentences.push_back(sentence);
      }
      if (metrics.sentences++ == 0) metrics.first_sentence_ms = ms_since(start);
      if (!on_sentence(sentence)) {
        const std::lock_guard lock(mutex);
        interrupted = true;
        return false;
      }
    }
    return true;
  }

  /// Cuts the history down to what was heard, if that is not done yet. With `busy` held.
  void apply_interruption() {
    std::string kept;
    bool cut = false;
    {
      const std::lock_guard lock(mutex);
      kept = heard_text ? *heard_text : text.substr(0, heard_bytes(sentences, playback));
      cut = !text.empty() && (heard_text || kept.size() < text.size());
      heard_text.reset();
    }
    if (cut) {
      chat.reload();
      chat.truncate_reply(kept);
    }
    const std::lock_guard lock(mutex);
    text = kept;
  }

  void interrupt(std::optional<std::string> heard) {
    {
      const std::lock_guard lock(mutex);
      interrupted = true;
      heard_text = std::move(heard);
      if (replying) {
        stop.request_stop();
        return;  // reply() cuts the history on its way out
      }
    }
    const std::lock_guard lock(busy);
    apply_interruption();
  }
};

VoiceChat::VoiceChat(Chat chat, VoiceOptions options)
    : impl_(std::make_unique<Impl>(std::move(chat), std::move(options))) {
  SentenceStream check(impl_->options.sentences);  // refuses what is wrong before the first word
}
VoiceChat::VoiceChat(VoiceChat&&) noexcept = default;
VoiceChat& VoiceChat::operator=(VoiceChat&&) noexcept = default;
VoiceChat::~VoiceChat() = default;

Chat& VoiceChat::chat() { return impl_->chat; }

void VoiceChat::partial(std::string_view transcript) {
  const std::lock_guard lock(impl_->busy);
  if (transcript.empty()) return;
  impl_->chat.reload();
  impl_->chat.prefill(transcript, impl_->options.generate);
}

VoiceReply VoiceChat::reply(std::string_view transcript, const OnSentence& on_sentence) {
  Impl& impl = *impl_;
  const std::lock_guard busy(impl.busy);
  struct Ending {  // whatever happens, the reply is over in the end
    Impl& impl;
    ~Ending() {
      const std::lock_guard lock(impl.mutex);
      impl.replying = false;
    }
  } const ending{impl};
  impl.begin();

  VoiceReply result;
  const Clock::time_point start = Clock::now();
  impl.chat.reload();
  const bool unload = impl.must_unload();
  SentenceStream stream(impl.options.sentences);
  std::vector<Sentence> waiting;
  const auto take = [&](std::vector<Sentence> ready) {
    if (!unload) return impl.hand_out(std::move(ready), on_sentence, start, result.metrics);
    waiting.insert(waiting.end(), std::make_move_iterator(ready.begin()), std::make_move_iterator(ready.end()));
    return true;
  };
  GenerateOptions generate = impl.options.generate;
  generate.cancel = impl.stop.get_token();
  const std::stop_callback callers_own(impl.options.generate.cancel, [&impl] { impl.stop.request_stop(); });
  result.reply = impl.chat.stream(transcript, generate, [&](std::string_view piece) {
    if (impl.is_interrupted()) return false;
    return take(stream.push(piece));
  });
  result.metrics.first_token_ms = result.reply.metrics.time_to_first_token_ms;
  {
    const std::lock_guard lock(impl.mutex);
    impl.text = result.reply.text;
  }
  if (result.reply.finish_reason != FinishReason::cancelled) take(stream.finish());
  if (unload) {
    impl.chat.unload();
    impl.hand_out(std::move(waiting), on_sentence, start, result.metrics);
  }
  {
    // From here on an interruption is interrupt()'s own affair; it waits for `busy`.
    const std::lock_guard lock(impl.mutex);
    impl.replying = false;
    result.interrupted = impl.interrupted;
  }
  if (result.interrupted) impl.apply_interruption();
  {
    const std::lock_guard lock(impl.mutex);
    result.heard = impl.text;
  }
  result.metrics.total_ms = ms_since(start);
  return result;
}

void VoiceChat::spoken(std::size_t sentences, std::size_t bytes) {
  const std::lock_guard lock(impl_->mutex);
  impl_->playback = {sentences, bytes};
}

void VoiceChat::interrupt() { impl_->interrupt(std::nullopt); }
void VoiceChat::interrupt(std::string_view heard) { impl_->interrupt(std::string(heard)); }

std::string VoiceChat::heard() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->text.substr(0, heard_bytes(impl_->sentences, impl_->playback));
}

}  // namespace qwen35
