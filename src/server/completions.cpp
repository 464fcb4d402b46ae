// The routes that generate.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "server/access_log.h"
#include "server/openai/chat_stream.h"
#include "server/service.h"

namespace qwen35::server {
namespace {

constexpr std::string_view kPing = ": ping\n\n";
/// A number for logs alone: nobody is left to read it.
constexpr int kClientGone = 499;

/// A job with all that may stop it.
struct Running {
  Running(Engine& engine, Admission& admission, Metrics& metrics, GenerationJob::Plan plan, HangupWatch& watch,
          int socket, const std::stop_token& shutdown)
      : job(engine, admission, metrics, std::move(plan)),
        hangup(watch.watch(socket, [this] { job.stop(GenerationJob::Stop::gone); })),
        at_shutdown(shutdown, [this] { job.stop(GenerationJob::Stop::shutdown); }) {}

  GenerationJob job;
  HangupWatch::Watch hangup;
  std::stop_callback<std::function<void()>> at_shutdown;
};

std::chrono::steady_clock::time_point after(Milliseconds wait) { return std::chrono::steady_clock::now() + wait; }

}  // namespace

ResponseHead Service::response_head(std::string_view prefix) const {
  ResponseHead head;
  head.id = std::string(prefix) + random_hex(12);
  head.created =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  head.model = options_.model;
  return head;
}

/// The server's limit, which a client may make shorter.
Milliseconds Service::timeout_of(const Request& request, const std::optional<double>& body) const {
  double seconds = std::chrono::duration<double>(options_.timeout).count();
  if (body) seconds = std::min(seconds, *body);
  const std::string header = request.get_header_value("X-Request-Timeout");
  if (!header.empty()) {
    double given = 0;
    const auto [end, error] = std::from_chars(header.data(), header.data() + header.size(), given);
    if (error != std::errc() || end != header.data() + header.size() || !(given > 0))
      throw bad_request("X-Request-Timeout", "invalid_value",
                        "the header X-Request-Timeout is no number of seconds above 0");
    seconds = std::min(seconds, given);
  }
  return std::max(Milliseconds(1), std::chrono::ceil<Milliseconds>(std::chrono::duration<double>(seconds)));
}

void Service::check_prompt(std::size_t tokens) const {
  if (options_.max_prompt_tokens == 0 || tokens <= options_.max_prompt_tokens) return;
  throw bad_request("", "context_length_exceeded",
                    "the prompt has " + std::to_string(tokens) + " tokens, more than the " +
                        std::to_string(options_.max_prompt_tokens) + " this server takes");
}

void Service::answer_chat(const Request& request, Response& response) {
  engine();
  const auto chat =
      std::make_shared<const ChatRequest>(parse_chat_request(request.body, options_.limits, options_.defaults));
  check_model(chat->model);
  ResponseHead head = response_head("chatcmpl-");
  head.include_usage = chat->include_usage;
  head.logprobs = chat->options.logprobs;

  Answer answer;
  answer.stream = chat->stream;
  answer.choices = static_cast<std::size_t>(chat->n);
  answer.timeout_seconds = chat->timeout_seconds;
  answer.whole = [head](std::span<const Reply> replies) { return chat_response(head, replies); };
  if (chat->include_usage)
    answer.usage = [head](std::span<const Reply> replies) { return chat_usage_chunk(head, replies); };
  answer.make = [this, chat, head](std::size_t index, Chat& engine_chat, GenerationJob& job) {
    GenerateOptions options = options_of_choice(chat->options, static_cast<int>(index));
    options.cancel = job.stop_token();
    ChatStream stream(head, index);
    options.on_thinking = [&](std::string_view piece) {
      job.begun(index);
      if (chat->stream) job.push_event(stream.reasoning(piece));
    };
    if (chat->stream) {
      options.on_tool_call = [&](const ToolCall& call) {
        for (const std::string& payload : stream.tool_call(call)) job.push_event(payload);
      };
      if (options.logprobs) options.on_logprob = [&](const TokenLogprob& token) { stream.logprob(token); };
    }
    if (options_.max_prompt_tokens > 0) check_prompt(engine_chat.count_tokens(chat->messages, options));
    {
      ReplyStream pieces = engine_chat.stream(chat->messages, options);  // throws before anything is sent
      if (chat->stream) job.push_event(stream.begin());
      for (const std::string_view piece : pieces) {
        job.begun(index);
        if (chat->stream && !job.push_event(stream.content(piece))) break;
      }
    }
    Reply reply = engine_chat.last_reply();
    if (chat->stream && !job.stopped()) job.push_event(stream.end(reply));
    return reply;
  };
  generate(request, response, std::move(answer));
}

void Service::answer_text(const Request& request, Response& response) {
  engine();
  const auto text =
      std::make_shared<const TextRequest>(parse_text_request(request.body, options_.limits, options_.defaults));
  check_model(text->model);
  ResponseHead head = response_head("cmpl-");
  head.include_usage = text->include_usage;
  head.logprobs = text->options.logprobs;
  const auto choices = static_cast<std::size_t>(text->n);

  // Token ids become text where they are echoed; ids out of range are refused here.
  const auto echoes = std::make_shared<std::vector<std::string>>();
  for (const TextRequest::Prompt& prompt : text->prompts) {
    const auto* const ids = std::get_if<std::vector<std::int32_t>>(&prompt);
    if (text->echo) {
      const std::string shown = ids != nullptr ? engine().detokenize(*ids) : std::get<std::string>(prompt);
      echoes->insert(echoes->end(), choices, shown);
    }
    if (options_.max_prompt_tokens > 0)
      check_prompt(ids != nullptr ? ids->size() : engine().tokenize(std::get<std::string>(prompt), false).size());
  }

  Answer answer;
  answer.stream = text->stream;
  answer.choices = text->prompts.size() * choices;
  answer.timeout_seconds = text->timeout_seconds;
  const std::size_t prompts = text->prompts.size();
  answer.whole = [head, echoes, prompts](std::span<const Reply> replies) {
    return text_response(head, replies, *echoes, prompts);
  };
  if (text->include_usage)
    answer.usage = [head, prompts](std::span<const Reply> replies) { return text_usage_chunk(head, replies, prompts); };
  answer.make = [text, head, echoes, choices](std::size_t index, Chat& chat, GenerationJob& job) {
    GenerateOptions options = options_of_choice(text->options, static_cast<int>(index % choices));
    options.cancel = job.stop_token();
    TextStream stream(head, index, text->echo ? (*echoes)[index] : "");
    if (text->stream && options.logprobs)
      options.on_logprob = [&](const TokenLogprob& token) { stream.logprob(token); };
    bool first = true;
    const auto open = [&] {
      if (!std::exchange(first, false)) return;
      job.begun(index);
      if (!text->stream) return;
      if (const std::string payload = stream.begin(); !payload.empty()) job.push_event(payload);
    };
    const auto on_piece = [&](std::string_view piece) {
      open();
      return !text->stream || job.push_event(stream.content(piece));
    };
    const TextRequest::Prompt& prompt = text->prompts[index / choices];
    Reply reply = std::visit([&](const auto& what) { return chat.complete(what, options, on_piece); }, prompt);
    if (text->stream && !job.stopped()) {
      open();
      job.push_event(stream.end(reply));
    }
    return reply;
  };
  generate(request, response, std::move(answer));
}

void Service::generate(const Request& request, Response& response, Answer answer) {
  Connection& connection = HttpServer::current();
  RequestNotes& notes = connection.notes;
  if (options_.log_prompts) notes.prompt = request.body;

  GenerationJob::Plan plan;
  plan.choices = answer.choices;
  plan.at_once = options_.parallel;
  plan.began = notes.began;
  plan.timeout = timeout_of(request, answer.timeout_seconds);
  plan.make = std::move(answer.make);
  plan.on_defect = [this, id = notes.id](std::string_view what) {
    options_.log("error id=" + id + " " + quoted_for_log(what) + "\n");
  };
  const auto running = std::make_shared<Running>(engine(), admission_, metrics_, std::move(plan), http_->watch(),
                                                 connection.socket(), shutdown_.get_token());
  GenerationJob& job = running->job;

  std::string bytes;
  Channel::Got got = Channel::Got::nothing;
  if (answer.stream) {
    got = job.pop(bytes, after(options_.ping));
  } else {
    while (got != Channel::Got::end) got = job.pop(bytes, after(options_.ping));
  }
  if (got == Channel::Got::end) {  // there is no stream, or it ended before it began
    job.finish(notes);
    if (job.client_gone()) {
      response.status = kClientGone;
    } else if (const auto error = job.error()) {
      if (error->status == 429) response.set_header("Retry-After", std::to_string(job.retry_after()));
      respond(response, *error);
    } else {
      response.set_content(answer.whole(job.replies()), "application/json");
    }
    return;
  }

  if (bytes.empty()) bytes = kPing;
  response.set_header("Cache-Control", "no-store");
  response.set_header("X-Accel-Buffering", "no");  // proxies hand each event on at once
  const auto provide = [this, running, &notes, usage = std::move(answer.usage), waiting = std::move(bytes)](
                           std::size_t /*offset*/, httplib::DataSink& sink) mutable {
    GenerationJob& stream_job = running->job;
    bool ended = false;
    if (waiting.empty()) {
      switch (stream_job.pop(waiting, after(options_.ping))) {
        case Channel::Got::data:
          break;
        case Channel::Got::nothing:
          waiting = kPing;
          break;
        case Channel::Got::end:
          ended = true;
          stream_job.finish(notes);
          if (const auto error = stream_job.error()) {
            waiting = "data: " + error_body(*error) + "\n\n";
          } else if (!stream_job.client_gone()) {
            if (usage) waiting = "data: " + usage(stream_job.replies()) + "\n\n";
            waiting.append("data: ").append(stream_done).append("\n\n");
          }
          break;
      }
    }
    const std::string sent = std::exchange(waiting, {});
    if (stream_job.client_gone() || !sink.write(sent.data(), sent.size())) {
      stream_job.stop(GenerationJob::Stop::gone);
      stream_job.finish(notes);
      return false;
    }
    if (ended) sink.done();
    return true;
  };
  constexpr const char* kType = "text/event-stream; charset=utf-8";
  if (request.version == "HTTP/1.0") {
    response.set_content_provider(kType, provide);
  } else {
    response.set_chunked_content_provider(kType, provide);
  }
}

}  // namespace qwen35::server
