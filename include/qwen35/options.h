#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace qwen35 {

namespace hub {
struct DownloadProgress;  // qwen35/hub.h
}

/// What Chat::from_pretrained() loads when no model is named: 5 bits a weight, from the hub.
inline constexpr const char* kDefaultModel = "aufklarer/Qwen3.5-0.8B-Chat-MLX";

/// How a model is loaded. Defaults suit a desktop or a small board.
struct LoadOptions {
  std::string variant = {};      ///< which of a repository's (or folder's) variants, such as "int4"; "": its default
  std::string revision = {};     ///< of a repository: branch, tag or commit; "": main
  bool offline = false;          ///< takes a model from the cache or not at all; HF_HUB_OFFLINE says the same
  int threads = 0;               ///< compute threads, the caller's included; 0: one for each core this process may use
  /// "auto": a GPU where this build and the machine have a usable one and the model fits it, else the CPU; "cpu"; "cuda":
  /// an NVIDIA GPU, else Error unsupported says why; "reference": scalar, float32: the readable definition.
  std::string backend = "auto";
  bool float32 = false;          ///< cpu: float32 arithmetic on the stored weights instead of quantised activations
  std::size_t context = 0;       ///< most tokens a conversation may hold; 0: the model's own limit
  /// Bytes that the states and snapshots of all conversations over these weights may hold together. What the running
  /// conversations leave of it goes to snapshots, from which edits, interruptions and switches continue.
  std::size_t session_memory = std::size_t{512} << 20;
  /// Told about ten times a second how far a download is, on the calling thread; must not throw.
  std::function<void(const hub::DownloadProgress&)> on_download = {};
  std::stop_token cancel_download = {};  ///< stops a download; what has come stays and is continued the next time
};

/// What happens when a conversation and its reply no longer fit the context.
enum class ContextPolicy {
  error,        ///< Error(context_limit); nothing changes
  drop_oldest,  ///< whole turns are left out, the oldest first; the system message stays. Reply::dropped_messages says
                ///< how many; about a quarter of the context is freed at once, because what follows is computed anew
};

/// What an earlier reply is in the history that the model sees.
enum class HistoryForm {
  sampled,   ///< the tokens it was made of, its thinking included: nothing is computed twice
  rendered,  ///< what the chat template makes of the messages: thinking before the user's last query is dropped, and
             ///< the last reply is computed again with the next turn
};

/// Adds `bias` to a token's logit before everything else; -100 bans it.
struct LogitBias {
  std::int32_t token = 0;
  float bias = 0;  ///< in [-100, 100]
};

struct ToolCall;      // qwen35/message.h
struct TokenLogprob;  // qwen35/chat.h

/// Whether a reply calls tools. Whatever it is, the prompt is the same: nothing is computed again because of it.
struct ToolChoice {
  enum class Kind {
    automatic,  ///< the model decides
    none,       ///< no calls: <tool_call> is barred, and markup that the model spells otherwise is text
    required,   ///< at least one: behind the thinking the reply begins with a call, the model chooses the function
    function,   ///< the same with a call of `name`
  };
  Kind kind = Kind::automatic;
  std::string name = {};  ///< kind function

  static ToolChoice automatic() { return {}; }
  static ToolChoice none() { return {.kind = Kind::none}; }
  static ToolChoice required() { return {.kind = Kind::required}; }
  static ToolChoice function(std::string name) { return {.kind = Kind::function, .name = std::move(name)}; }
  bool operator==(const ToolChoice&) const = default;
};

/// How one reply is produced.
struct GenerateOptions {
  /// Replaces the conversation's system message; nullopt keeps it, "" removes it.
  std::optional<std::string> system_prompt = {};
  float temperature = 0.6F;                ///< 0: greedy; otherwise in (0, 100]
  int top_k = 50;                          ///< 0: off
  float top_p = 0.95F;                     ///< in (0, 1]; 1: off
  int max_tokens = 512;                    ///< of the answer, at least 1; thinking is counted apart
  float repetition_penalty = 1.1F;         ///< in (0, 100]; 1: off; control tokens are exempt
  int repetition_window = 64;              ///< tokens of prompt and reply it looks back over, 0 to 1048576
  bool enable_thinking = true;             ///< let the model think between <think> and </think> first
  int max_thinking_tokens = 100;           ///< then </think> is forced and the answer gets its tokens; 0: none
  std::optional<std::uint64_t> seed = {};  ///< repeatable on one backend; nullopt: drawn from the system
  /// JSON array of tool definitions (OpenAI form) for this call; "": those of Chat::set_tools(); "[]": none.
  std::string tools = {};
  /// With Kind::required and Kind::function the call's opening and the function's name are written for the model or
  /// held to the names of `tools`; the arguments are its own. The reply does not end inside that call, but for
  /// max_tokens, a loop or a cancel (Reply::truncated_tool_call), and may go on behind it. Throws invalid_argument when
  /// there are no tools, none of that name, a name that no call can be written with, or the answer has a form.
  ToolChoice tool_choice = {};
  int max_tool_calls = 0;  ///< the reply ends behind this many calls; 0: the model decides

  float min_p = 0;              ///< in [0, 1): drops tokens less likely than this share of the best one; 0: off
  float presence_penalty = 0;   ///< in [-2, 2]: off the logit of a token that the reply has, once
  float frequency_penalty = 0;  ///< in [-2, 2]: the same for each time the reply has it
  std::vector<LogitBias> logit_bias = {};
  int no_repeat_ngram = 0;             ///< no run of this many tokens comes twice in a reply; 0: off, else at least 2
  bool loop_guard = true;              ///< ends a reply that goes round in circles (FinishReason::loop)
  bool allow_empty = false;            ///< may the reply be empty? Otherwise its end is barred until there is some text
  std::vector<std::string> stop = {};  ///< the answer ends before the first of these (at most 16 of 256 bytes)
  bool logprobs = false;               ///< fill Reply::logprobs; tokens written for the model have none
  int top_logprobs = 0;                ///< with the likeliest alternatives of each token, 0 to 20

  // The answer (not the thinking) follows a form; at most one of the three. See docs/constrained-output.md.
  std::string json_schema = {};  ///< a JSON Schema: the answer is JSON that it describes
  bool json_object = false;      ///< any JSON object
  std::string grammar = {};      ///< a grammar in GBNF with a rule `root`

  bool lookup = true;  ///< guess tokens that repeat the context and check several at once; the reply is the same
  ContextPolicy context_policy = ContextPolicy::error;
  HistoryForm history = HistoryForm::sampled;
  /// Called with each tool call as soon as it is whole, on the thread that makes the reply.
  std::function<void(const ToolCall&)> on_tool_call = {};
  /// Called with each piece of the thinking as soon as it is known, on the thread that makes the reply; UTF-8, none cut
  /// inside a character. White space that may be the thinking's last is held back, so that the pieces put together are
  /// Reply::thinking. Those of a thought come before the pieces of the answer behind it.
  std::function<void(std::string_view piece)> on_thinking = {};
  /// Called with each token of the answer when it is taken, before the piece that it belongs to, on the thread that
  /// makes the reply: what goes to Reply::logprobs, one after the other. Implies `logprobs`.
  std::function<void(const TokenLogprob&)> on_logprob = {};
  std::stop_token cancel = {};  ///< stops this call only; one requested before it is honoured, one after it harmless
};

}  // namespace qwen35
