#pragma once

/// The public face: a conversation with Qwen3.5 on this machine.
///
///     auto chat = qwen35::Chat::from_pretrained();
///     std::string reply = chat.generate("What is gravity?", {.system_prompt = "Answer briefly."});
///     for (std::string_view piece : chat.stream("Tell me a joke")) std::cout << piece << std::flush;

#include <qwen35/error.h>
#include <qwen35/message.h>
#include <qwen35/options.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qwen35 {

/// Why a reply ended.
enum class FinishReason {
  stop,        ///< the model ended its turn
  length,      ///< `max_tokens` were generated, or the context is full
  tool_calls,  ///< the model ended its turn with at least one tool call
  cancelled,   ///< cancel(), a callback that returned false, or an abandoned stream
  loop,        ///< the reply went round in circles (GenerateOptions::loop_guard)
};

/// The field's spelling of a reason: "stop", "length", "tool_calls", "cancelled", "loop".
std::string_view to_string(FinishReason reason);

/// What one reply cost. Times are milliseconds of work on it: what the reader of a stream does between pieces is not
/// in.
struct Metrics {
  std::size_t prompt_tokens = 0;    ///< tokens of the whole history before the reply, reused ones included
  std::size_t reused_tokens = 0;    ///< of these, tokens that were not computed again
  std::size_t thinking_tokens = 0;  ///< spent on thinking, </think> included, whether the model or the budget wrote it
  std::size_t reply_tokens = 0;     ///< generated for the answer, the end-of-turn token included
  double prefill_ms = 0;            ///< computing the prompt tokens that were not reused
  double time_to_first_token_ms = 0;    ///< from the call to the first token, be it thinking or answer
  double time_to_first_text_ms = 0;     ///< from the call to the first piece of the answer; 0: there was none
  double decode_tokens_per_second = 0;  ///< over all generated tokens after the first; 0: fewer than two
  double total_ms = 0;
  std::size_t drafted_tokens = 0;   ///< guessed from the context and checked (GenerateOptions::lookup)
  std::size_t accepted_tokens = 0;  ///< of these, guesses that were right: decode steps saved
};

/// A token of the answer and how likely the model held it, before temperature, penalties and constraints.
struct TokenLogprob {
  std::int32_t id = 0;
  std::string bytes;  ///< of the token; may be cut inside a character
  float logprob = 0;  ///< natural logarithm
  struct Alternative {
    std::int32_t id = 0;
    std::string bytes;
    float logprob = 0;
  };
  std::vector<Alternative> top;  ///< the likeliest tokens, best first; GenerateOptions::top_logprobs of them
};

/// A finished (or stopped) reply.
struct Reply {
  std::string text;                  ///< the answer, without thinking and without tool-call markup
  std::string thinking;              ///< what the model thought, trimmed
  std::vector<ToolCall> tool_calls;  ///< in the order the model made them
  /// The reply ended inside a tool call: what there was of it, as written. "": no such thing.
  std::string truncated_tool_call;
  FinishReason finish_reason = FinishReason::stop;
  std::vector<TokenLogprob> logprobs;  ///< one a token of the answer, if asked for
  std::size_t dropped_messages = 0;    ///< left out of the history to make room (ContextPolicy::drop_oldest)
  Metrics metrics;
};

/// What unload() keeps.
struct UnloadOptions {
  /// Bytes of state and snapshots that may stay in memory, so that the turn after reload() computes nothing twice.
  /// When the conversation takes more, it is computed again from its messages.
  std::size_t keep_session = std::size_t{256} << 20;
};

/// What is loaded: for status lines and `info`.
struct ModelInfo {
  std::string name;     ///< the folder's name; of the hub, "org/name[:variant]"
  std::string backend;  ///< e.g. "cpu (avx512, 2 threads)"
  std::size_t parameters = 0;
  std::size_t context = 0;  ///< most tokens a conversation may hold
  double bits_per_weight = 0;
};

class Chat;

/// A reply that arrives piece by piece: a single-pass input range of UTF-8 pieces, none cut inside a character.
/// begin() and each step of the iterator compute the tokens of the next piece on the calling thread. The pieces put
/// together are Reply::text. The turn joins the conversation when the reply ends; destroying the stream early ends it,
/// and what was generated stays. An error drops the turn. One stream of a Chat lives at a time, and the Chat should
/// outlive it (moving the Chat is fine; after its destruction the stream has no more pieces). Any other call that
/// changes the conversation ends the stream first.
class ReplyStream {
 public:
  class Engine;  ///< internal
  class Iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using iterator_category = std::input_iterator_tag;
    using value_type = std::string_view;
    using difference_type = std::ptrdiff_t;
    using pointer = const std::string_view*;
    using reference = std::string_view;

    Iterator() = default;
    explicit Iterator(ReplyStream* stream) : stream_(stream) {}
    std::string_view operator*() const { return stream_->piece_; }
    Iterator& operator++() {
      if (!stream_->advance()) stream_ = nullptr;
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& it, std::default_sentinel_t) { return it.stream_ == nullptr; }

   private:
    ReplyStream* stream_ = nullptr;
  };

  explicit ReplyStream(std::shared_ptr<Engine> engine);
  ReplyStream(ReplyStream&&) noexcept;
  ReplyStream& operator=(ReplyStream&&) noexcept;
  ~ReplyStream();

  Iterator begin();
  [[nodiscard]] std::default_sentinel_t end() const { return {}; }

 private:
  bool advance();
  std::shared_ptr<Engine> engine_;
  std::string piece_;
};

/// A loaded model with one conversation. Calls on one Chat must not overlap, except cancel(), which any thread may call
/// at any time. Different Chats may be used by different threads; those that share weights (fork())
/// are computed together.
/// All errors are thrown as qwen35::Error; after one the conversation is as it
/// was before the call.
class Chat {
 public:
  /// Called with each piece of the answer; return false to stop the reply.
  using OnPiece = std::function<bool(std::string_view piece)>;

  /// `model`: a folder with config.json, tokenizer.json and safetensors, the name of a bundled model ("mini", a toy),
  /// or a repository of the Hugging Face hub, "org/name[:variant][@revision]". What the cache has is loaded without
  /// asking the hub whether there is something newer (hub::download() does that); what it lacks is downloaded first,
  /// with `options.on_download` told. Throws not_found, bad_file, unsupported, invalid_argument, network or cancelled.
  static Chat from_pretrained(const std::string& model = kDefaultModel, const LoadOptions& options = {});

  Chat(Chat&&) noexcept;
  Chat& operator=(Chat&&) noexcept;
  ~Chat();

  /// Adds a user turn to the conversation, computes the reply and returns its text. The conversation remembers both.
  std::string generate(std::string_view prompt, const GenerateOptions& options = {});
  /// Replaces the conversation by `messages` (last: a user or tool message), reusing the tokens that both share. Where
  /// `messages` go on from the present conversation, only what is new is computed, and our own replies keep their
  /// thinking.
  std::string generate(std::span<const Message> messages, const GenerateOptions& options = {});
  /// Drops the last reply and makes another one. Throws invalid_argument when the last message is not a reply.
  std::string regenerate(const GenerateOptions& options = {});

  /// As generate(), piece by piece: a range to pull from.
  [[nodiscard]] ReplyStream stream(std::string_view prompt, const GenerateOptions& options = {});
  [[nodiscard]] ReplyStream stream(std::span<const Message> messages, const GenerateOptions& options = {});
  /// As generate(), pushing each piece to `on_piece` as soon as it is known.
  Reply stream(std::string_view prompt, const GenerateOptions& options, const OnPiece& on_piece);
  Reply stream(std::span<const Message> messages, const GenerateOptions& options, const OnPiece& on_piece);

  /// Goes on with `text` as it stands, without the chat template: the model continues a document. No thinking and no
  /// tool calls are set apart: Reply::text is what was generated, white space and tags like <think> included, up to
  /// <|im_end|>, <|endoftext|>, a stop string or `max_tokens`. Control tokens in `text` are plain characters; the other
  /// form takes any tokens. Beginnings that were computed before are not computed again. The conversation, messages()
  /// and last_reply() stay as they were. Options that belong to the template or to tools (system_prompt,
  /// enable_thinking, tools and so on) have no effect. `on_piece` may be empty; return false to stop. Throws
  /// invalid_argument for an empty prompt, an id outside the vocabulary or bad options, context_limit when no room is
  /// left for a token, not_loaded.
  Reply complete(std::string_view text, const GenerateOptions& options = {}, const OnPiece& on_piece = {});
  Reply complete(std::span<const std::int32_t> tokens, const GenerateOptions& options = {},
                 const OnPiece& on_piece = {});

  /// The tokens of a text. `control_tokens`: <|im_end|> and the like in it become those tokens (for trusted text);
  /// otherwise they are plain characters. Safe while another thread makes a reply with this Chat, but not while one
  /// loads, unloads or moves it. Throws not_loaded.
  [[nodiscard]] std::vector<std::int32_t> tokenize(std::string_view text, bool control_tokens = false) const;
  /// The text of tokens, control tokens included, as well-formed UTF-8: what is cut inside a character is U+FFFD.
  /// Threads as for tokenize(). Throws invalid_argument naming an id outside the vocabulary, not_loaded.
  [[nodiscard]] std::string detokenize(std::span<const std::int32_t> tokens) const;
  /// Tokens that the prompt of stream(messages, options) takes, replies of ours counted as they were sampled. Computes
  /// nothing. Threads as for tokenize(), and not beside set_tools(). Throws like generate(), but never context_limit.
  [[nodiscard]] std::size_t count_tokens(std::span<const Message> messages, const GenerateOptions& options = {}) const;

  /// The last reply with its thinking, tool calls, finish reason and metrics; an empty one before the first.
  [[nodiscard]] const Reply& last_reply() const;

  /// Stops the reply in progress within a part of a layer's work, a few milliseconds; what was generated stays in the
  /// conversation. Without one it stops the next reply, which then ends at once as cancelled: a cancel that comes just
  /// before the start is not lost. A cancel stops one reply. Safe from any thread and from a signal handler. To cancel
  /// one certain call, and no other, use GenerateOptions::cancel.
  void cancel() noexcept;
  /// Forgets a cancel that has stopped nothing yet; says whether there was one.
  bool clear_cancel() noexcept;

  /// After an interruption: cuts the last reply back to what was heard, a beginning of its text (white space at the
  /// ends aside), so that the next turn continues from that. Nothing heard removes the reply; everything changes
  /// nothing. Tool calls behind the cut are gone. Throws invalid_argument when there is no last reply or `heard` is not
  /// its beginning. last_reply() stays as it was.
  void truncate_reply(std::string_view heard);
  /// The same with the first `answer_tokens` tokens of the answer.
  void truncate_reply(std::size_t answer_tokens);

  /// Computes what is known of a user turn while the user still speaks: the history and `partial_prompt` but its last
  /// word. Call it again with each new transcript; where it differs from the last one, the state goes back. The next
  /// generate() or stream() then has little left to do, whatever its prompt turns out to be. Messages do not change.
  /// `options` are those of the reply to come (system prompt, tools, thinking). Returns the tokens computed now; a
  /// cancel ends it early. Throws like generate().
  std::size_t prefill(std::string_view partial_prompt, const GenerateOptions& options = {});

  /// Tool definitions for all further turns (JSON array, OpenAI form; "": none). Throws invalid_argument.
  void set_tools(std::string tools);

  /// The conversation so far, the system message first if there is one. A reply in progress is not in it yet.
  [[nodiscard]] const std::vector<Message>& messages() const;
  /// Continues from `messages` (empty: a fresh start) instead of the present conversation. Nothing is computed yet.
  void set_messages(std::vector<Message> messages);
  /// Forgets the conversation, the system prompt included; the model stays loaded.
  void reset_conversation();

  /// Another conversation over the same loaded weights, a copy of this one up to now; each goes its own way. What both
  /// share, and what any of them computed, is not computed again: also each other's replies, as they were sampled, are
  /// known to all of them. A fork takes memory for a state when it first computes something; one of an empty Chat costs
  /// next to nothing until then. Different threads may make and use forks, but a call of fork() is a call on this Chat.
  /// Throws not_loaded.
  [[nodiscard]] Chat fork();

  /// Gives the memory of the conversation's state back: for a Chat that will be idle, e.g. in a pool. What it holds
  /// becomes a checkpoint within LoadOptions::session_memory, from which the next call goes on if it is still there
  /// then. Ends a reply in progress; nothing when unloaded.
  void release_state();

  /// Writes the conversation and the state it stands in to `file`, which another run of the same model continues from
  /// without computing anything twice. Replaces `file` in one step. Throws not_loaded, or bad_file when it cannot
  /// write.
  void save_session(const std::filesystem::path& file);
  /// Goes on with what save_session() wrote. Throws not_found, bad_file (damaged, or of another version) or
  /// invalid_argument (of another model or backend); this Chat is then unchanged.
  void load_session(const std::filesystem::path& file);

  /// Frees weights and caches and gives the memory back to the system; messages stay, and with them the session as far
  /// as `options` allow. Forks of this Chat keep the weights in use until each of them is unloaded.
  void unload(const UnloadOptions& options = {});
  /// Loads again what unload() freed and takes the session up where it was. Does nothing when loaded.
  void reload();
  [[nodiscard]] bool is_loaded() const;
  /// Bytes this Chat really holds: packed weights, mapped weights in use, state, KV cache, snapshots, tokenizer. When
  /// unloaded: what is kept of the session.
  [[nodiscard]] std::size_t memory_footprint() const;
  /// Of the model as it was last loaded.
  [[nodiscard]] ModelInfo info() const;

 private:
  friend struct ChatFactory;  ///< internal
  struct Impl;
  [[nodiscard]] Impl& impl() const;
  explicit Chat(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace qwen35
