#pragma once

/// Makes a qwen35::Chat the language model of a speech-core pipeline (github.com/soniqo/speech-core). Header only; the
/// includer has speech-core's headers on its path.
///
///     qwen35::SpeechCoreLlm llm(qwen35::Chat::from_pretrained());
///     speech_core::VoicePipeline pipeline(stt, tts, &llm, vad, config, on_event);

#include <qwen35/chat.h>
#include <speech_core/interfaces.h>
#include <speech_core/tools/tool_types.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace qwen35 {

/// chat() calls take turns; cancel(), begin_turn(), heard() and heard_share() may come from any thread at any time and
/// never wait for a reply.
class SpeechCoreLlm : public speech_core::LLMInterface {
 public:
  /// Without thinking unless `options` ask for it: a caller waits. options.cancel works beside cancel().
  explicit SpeechCoreLlm(Chat chat, GenerateOptions options = {.enable_thinking = false})
      : chat_(std::move(chat)), options_(std::move(options)) {}

  /// Replies to `messages`, streaming the text to `on_token` (may be empty). Whatever happens, the last call of
  /// `on_token` is one with an empty token and is_final true, and there is no other of that kind: after a whole reply,
  /// an empty one, a cancelled one (text and return value then hold what there was), before an error is thrown
  /// (qwen35::Error, a std::runtime_error), and before an exception of `on_token` itself is passed on.
  ///
  /// What heard() said about earlier replies is applied to the assistant messages that hold them whole. Tool messages
  /// that answer our last tool calls get those calls put before them: the pipeline does not keep them.
  speech_core::LLMResponse chat(const std::vector<speech_core::Message>& messages,
                                speech_core::LLMTokenCallback on_token) override {
    const std::lock_guard turn(turn_);
    Final final(on_token);
    const Running running(*this);
    speech_core::LLMResponse response;
    chat_.reload();
    apply_heard();
    const std::vector<Message> history = translate(messages);
    GenerateOptions options = options_;
    options.cancel = running.token();
    const std::stop_callback callers_own(options_.cancel, [this] { stop_running(); });
    const Reply reply = chat_.stream(history, options, [&](std::string_view piece) {
      if (options.cancel.stop_requested()) return false;
      response.text += piece;
      if (on_token && !piece.empty()) on_token(std::string(piece), false);
      return true;
    });
    for (const ToolCall& call : reply.tool_calls) response.tool_calls.push_back({call.name, call.arguments});
    remember(reply, response.text);
    final.send();
    return response;
  }

  /// The tools of all further chat() calls. speech-core's definitions have no parameters, and its pipeline passes none
  /// on, so the model is told that there are none. Throws qwen35::Error for a name that a tool cannot have.
  void set_tools(const std::vector<speech_core::ToolDefinition>& tools) override {
    const std::lock_guard turn(turn_);
    std::string json;
    for (const speech_core::ToolDefinition& tool : tools) {
      json += json.empty() ? "[" : ",";
      json += R"({"type":"function","function":{"name":)" + quoted(tool.name) + R"(,"description":)" +
              quoted(tool.description) + R"(,"parameters":{"type":"object","properties":{}}}})";
    }
    if (!json.empty()) json += "]";
    if (json == tools_) return;
    chat_.set_tools(json);
    tools_ = json;
  }

  /// Stops the reply in progress within milliseconds. Without one: a pipeline also cancels when its user interrupts
  /// what is being *spoken*, which must not cost the next reply; a cancel that comes just ahead of the chat() it is
  /// meant for must not be lost. So it stops the next chat() if begin_turn() was called before it, or if there is no
  /// reply that could be being spoken and chat() comes within half a second; else it does nothing.
  void cancel() override {
    const std::lock_guard lock(mutex_);
    if (running_) {
      running_->request_stop();
    } else if (turn_begun_ || !speaking_) {
      early_cancel_ = Clock::now();
      early_cancel_lasts_ = turn_begun_;
    }
  }

  /// The user's words are known and chat() is about to come (the pipeline's TranscriptionCompleted): a cancel from now
  /// on is meant for that reply.
  void begin_turn() {
    const std::lock_guard lock(mutex_);
    turn_begun_ = true;
    early_cancel_.reset();
  }

  /// After an interruption: of the last reply only `text`, a beginning of it, was heard. The pipeline keeps the whole
  /// reply in its messages; from the next chat() on the model sees this instead (nothing, if nothing was heard).
  /// Throws invalid_argument when the last reply does not begin so.
  void heard(std::string_view text) {
    const std::lock_guard lock(mutex_);
    if (!last_text_.starts_with(text)) {
      throw Error(ErrorCode::invalid_argument,
                  "what was heard is not the beginning of the last reply; give the reply's own text up to where the "
                  "speaker was stopped");
    }
    if (!replies_.empty() && replies_.back().whole == last_text_) replies_.back().part = trimmed(text);
  }

  /// The same for one who knows only how much of the reply's sound was played, 0 to 1: the words that lie whole in that
  /// share of the text. Returns them.
  std::string heard_share(double share) {
    std::string text;
    {
      const std::lock_guard lock(mutex_);
      text = last_text_;
    }
    auto end = static_cast<std::size_t>(std::clamp(share, 0.0, 1.0) * static_cast<double>(text.size()));
    if (end < text.size() && text[end] != ' ' && text[end] != '\n') end = text.find_last_of(" \n", end);
    text.resize(end == std::string::npos ? 0 : end);
    heard(text);
    return text;
  }

  /// The conversation beneath. Not while chat() runs.
  [[nodiscard]] Chat& conversation() { return chat_; }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kEarly{500};
  static constexpr std::size_t kMostRemembered = 256;  // older ones have left any pipeline's history

  /// Calls on_token with is_final once, at the latest when it goes out of scope.
  class Final {
   public:
    explicit Final(const speech_core::LLMTokenCallback& on_token) : on_token_(&on_token) {}
    Final(const Final&) = delete;
    Final& operator=(const Final&) = delete;
    ~Final() {
      try {
        send();
      } catch (...) {  // the first exception is on its way already
      }
    }
    void send() {
      if (!std::exchange(sent_, true) && *on_token_) (*on_token_)(std::string(), true);
    }

   private:
    const speech_core::LLMTokenCallback* on_token_;
    bool sent_ = false;
  };

  /// The time in which cancel() means this reply.
  class Running {
   public:
    explicit Running(SpeechCoreLlm& llm) : llm_(&llm) {
      const std::lock_guard lock(llm.mutex_);
      llm.running_.emplace();
      if (llm.early_cancel_ && (llm.early_cancel_lasts_ || Clock::now() - *llm.early_cancel_ < kEarly)) {
        llm.running_->request_stop();
      }
      llm.early_cancel_.reset();
      llm.turn_begun_ = false;
      llm.speaking_ = false;
      token_ = llm.running_->get_token();
    }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
    ~Running() {
      const std::lock_guard lock(llm_->mutex_);
      llm_->running_.reset();
    }
    [[nodiscard]] const std::stop_token& token() const { return token_; }

   private:
    SpeechCoreLlm* llm_;
    std::stop_token token_;
  };

  /// A reply of ours: as the pipeline has it, and what was heard of it.
  struct Spoken {
    std::string whole;
    std::string part;
  };
  /// Tool calls of ours, and the tool messages that answered them.
  struct Called {
    Message calls;
    std::vector<std::string> results;  ///< as the pipeline has them; empty: not answered yet
  };

  void stop_running() {
    const std::lock_guard lock(mutex_);
    if (running_) running_->request_stop();
  }

  /// Cuts our own last reply, so that nothing before the cut is computed again.
  void apply_heard() {
    Spoken last;
    {
      const std::lock_guard lock(mutex_);
      if (replies_.empty() || replies_.back().whole != last_text_) return;
      last = replies_.back();
    }
    if (trimmed(last.whole) == last.part) return;
    const std::vector<Message>& known = chat_.messages();
    if (known.empty() || known.back().role != "assistant" || known.back().content != trimmed(last.whole)) return;
    chat_.truncate_reply(last.part);
  }

  std::vector<Message> translate(const std::vector<speech_core::Message>& messages) {
    std::vector<Message> out;
    for (std::size_t i = 0; i < messages.size(); ++i) {
      if (messages[i].role == speech_core::MessageRole::Tool) {
        const std::size_t begin = i;
        while (i + 1 < messages.size() && messages[i + 1].role == speech_core::MessageRole::Tool) ++i;
        add_tool_results(std::span(messages).subspan(begin, i + 1 - begin), i + 1 == messages.size(), out);
      } else {
        out.push_back({.role = role_name(messages[i].role), .content = messages[i].content});
      }
    }
    {
      // Both lists are in order, so that of two replies with the same words each finds its own.
      const std::lock_guard lock(mutex_);
      auto from = replies_.rbegin();
      for (auto message = out.rbegin(); message != out.rend(); ++message) {
        if (message->role != "assistant" || !message->tool_calls.empty()) continue;
        const auto reply =
            std::find_if(from, replies_.rend(), [&](const Spoken& s) { return s.whole == message->content; });
        if (reply == replies_.rend()) continue;
        message->content = reply->part;
        from = reply + 1;
      }
    }
    std::erase_if(out,
                  [](const Message& m) { return m.role == "assistant" && m.content.empty() && m.tool_calls.empty(); });
    return out;
  }

  /// A run of tool messages, with the calls that they answer before them if we made them.
  void add_tool_results(std::span<const speech_core::Message> results, bool newest, std::vector<Message>& out) {
    std::vector<std::string> contents;
    for (const speech_core::Message& result : results) contents.push_back(result.content);
    if (newest && !called_.empty() && called_.back().results.empty()) called_.back().results = contents;
    const auto called =
        std::find_if(called_.rbegin(), called_.rend(), [&](const Called& c) { return c.results == contents; });
    if (called != called_.rend()) out.push_back(called->calls);
    for (std::size_t i = 0; i < contents.size(); ++i) {
      std::string_view content = contents[i];
      if (called != called_.rend() && i < called->calls.tool_calls.size()) {
        const std::string label = "[" + called->calls.tool_calls[i].name + "] ";  // the pipeline's
        if (content.starts_with(label)) content.remove_prefix(label.size());
      }
      out.push_back({.role = "tool", .content = std::string(content)});
    }
  }

  void remember(const Reply& reply, const std::string& text) {
    if (!reply.tool_calls.empty()) {
      called_.push_back({{.role = "assistant", .content = text}, {}});
      called_.back().calls.tool_calls = reply.tool_calls;
      if (called_.size() > kMostRemembered) called_.pop_front();
    }
    const std::lock_guard lock(mutex_);
    last_text_ = text;
    speaking_ = !text.empty() && reply.finish_reason != FinishReason::cancelled;
    if (!text.empty() && reply.tool_calls.empty()) {
      replies_.push_back({text, std::string(trimmed(text))});
      if (replies_.size() > kMostRemembered) replies_.pop_front();
    }
  }

  static std::string role_name(speech_core::MessageRole role) {
    switch (role) {
      case speech_core::MessageRole::System:
        return "system";
      case speech_core::MessageRole::Assistant:
        return "assistant";
      case speech_core::MessageRole::Tool:
        return "tool";
      case speech_core::MessageRole::User:
        break;
    }
    return "user";
  }

  static std::string_view trimmed(std::string_view text) {
    const std::size_t begin = text.find_first_not_of(" \t\r\n");
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
  }

  static std::string quoted(std::string_view text) {
    constexpr std::string_view kHex = "0123456789abcdef";
    std::string out = "\"";
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == '"' || c == '\\') {
        out += {'\\', c};
      } else if (byte < 0x20) {
        out += {'\\', 'u', '0', '0', kHex[byte >> 4U], kHex[byte & 0xFU]};
      } else {
        out += c;
      }
    }
    return out + "\"";
  }

  std::mutex turn_;  ///< held by chat() and set_tools(); taken before `mutex_`
  Chat chat_;
  GenerateOptions options_;
  std::string tools_;
  std::deque<Called> called_;

  std::mutex mutex_;  ///< guards what follows; held for moments only
  std::optional<std::stop_source> running_;
  std::optional<Clock::time_point> early_cancel_;
  bool early_cancel_lasts_ = false;
  bool turn_begun_ = false;
  bool speaking_ = false;  ///< the last reply has text that may be being spoken
  std::string last_text_;
  std::deque<Spoken> replies_;
};

}  // namespace qwen35
