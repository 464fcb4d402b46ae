#pragma once

/// The language-model part of a voice agent: transcripts in, sentences to speak out, and a history that holds only what
/// was heard. It knows no audio: docs/voice.md shows how recognisers, synthesizers and players fit around it.
///
///     qwen35::VoiceChat voice(qwen35::Chat::from_pretrained());
///     voice.partial("what is the cap");                        // while the user is still speaking
///     voice.reply("what is the capital of France", [&](const qwen35::Sentence& sentence) {
///       player.enqueue(sentence.text);
///       return true;
///     });
///     voice.spoken(1);                                         // as the player goes on
///     voice.interrupt();                                       // the user cut in

#include <qwen35/chat.h>
#include <qwen35/sentences.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace qwen35 {

struct VoiceOptions {
  /// For every reply. Voices answer at once: no thinking unless it is asked for.
  GenerateOptions generate = {.enable_thinking = false};
  SentenceOptions sentences;
  /// Bytes that model and synthesizer may hold together; 0: no limit. Where they would hold more, a reply is computed
  /// whole, the model is unloaded before its sentences are handed out, and loaded again for what comes next.
  std::size_t memory_budget = 0;
  std::size_t synthesizer_bytes = 0;  ///< what the synthesizer holds while it speaks
};

/// How long one reply took, in milliseconds from the call.
struct VoiceMetrics {
  double first_token_ms = 0;     ///< 0: there was none
  double first_sentence_ms = 0;  ///< until the first sentence was handed out; 0: there was none
  double total_ms = 0;           ///< includes what the sentence callback took
  std::size_t sentences = 0;     ///< handed out
};

struct VoiceReply {
  Reply reply;               ///< its text is all that was generated
  bool interrupted = false;  ///< by interrupt() or a callback that returned false
  std::string heard;         ///< what the history keeps of the reply: all of it unless it was interrupted
  VoiceMetrics metrics;
};

/// A conversation that is spoken. reply() and partial() are called from one thread at a time; spoken() and interrupt()
/// from any, at any time. Throws qwen35::Error as Chat does.
class VoiceChat {
 public:
  /// Called with each sentence as soon as it is known, on the thread of reply(); the model computes on when it returns.
  /// Return false to interrupt.
  using OnSentence = std::function<bool(const Sentence& sentence)>;

  explicit VoiceChat(Chat chat, VoiceOptions options = {});
  VoiceChat(VoiceChat&&) noexcept;
  VoiceChat& operator=(VoiceChat&&) noexcept;
  ~VoiceChat();

  /// What the user has said so far, as the recogniser sees it now: computed ahead, so that reply() has less to do. Each
  /// call takes back exactly what the recogniser changed its mind about. Changes nothing that is remembered.
  void partial(std::string_view transcript);

  /// Adds a user turn, computes the reply and hands out its sentences. Returns when all are handed out or the reply was
  /// interrupted; playing them may go on for long after that. An exception of the callback drops the turn.
  VoiceReply reply(std::string_view transcript, const OnSentence& on_sentence);

  /// The player's progress: the first `sentences` of the present reply have been played, and of the next one the first
  /// `bytes` of its text.
  void spoken(std::size_t sentences, std::size_t bytes = 0);

  /// Barge-in: stops the reply if it is still being made, and cuts it in the history down to what spoken() says was
  /// heard. Does nothing to a reply that was heard whole.
  void interrupt();
  /// The same for a caller who knows the words: `heard` is a prefix of the reply's text. One that is not: throws
  /// invalid_argument, or, if the reply is still being made, lets reply() throw it.
  void interrupt(std::string_view heard);

  /// What was heard of the present reply, as spoken() tells.
  [[nodiscard]] std::string heard() const;

  /// The conversation beneath. Not while reply() or partial() runs, except Chat::cancel.
  [[nodiscard]] Chat& chat();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qwen35
