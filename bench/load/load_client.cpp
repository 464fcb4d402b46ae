#include "load_client.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <thread>

namespace qwen35::load {
namespace {

using Json = nlohmann::json;

/// Takes the events of a stream apart as their bytes come.
class Events {
 public:
  explicit Events(Outcome& outcome) : outcome_(outcome) {}

  void push(std::string_view bytes) {
    buffer_ += bytes;
    std::size_t begin = 0;
    for (std::size_t end = 0; (end = buffer_.find('\n', begin)) != std::string::npos; begin = end + 1) {
      std::string_view line(buffer_.data() + begin, end - begin);
      if (line.ends_with('\r')) line.remove_suffix(1);
      constexpr std::string_view kData = "data: ";
      if (line.starts_with(kData)) take(line.substr(kData.size()));
    }
    buffer_.erase(0, begin);
  }

  /// "": the stream was whole.
  [[nodiscard]] std::string error() const {
    if (!error_.empty()) return error_;
    if (!finished_) return "cut before finish_reason";
    return done_ ? "" : "cut before [DONE]";
  }

 private:
  void take(std::string_view payload) {
    if (payload == "[DONE]") {
      done_ = true;
      return;
    }
    const Json chunk = Json::parse(payload, nullptr, false);
    if (chunk.is_discarded()) {
      error_ = "a chunk that is not JSON";
      return;
    }
    if (chunk.contains("error")) {
      const Json& error = chunk["error"];
      error_ = "stream error " + (error.is_object() ? error.value("type", std::string()) : std::string());
      return;
    }
    if (chunk.contains("usage") && chunk["usage"].is_object()) take_usage(chunk["usage"]);
    if (const auto choices = chunk.find("choices"); choices != chunk.end()) {
      for (const Json& choice : *choices) take_choice(choice);
    }
  }

  void take_usage(const Json& usage) {
    outcome_.tokens = usage.value("completion_tokens", std::size_t{0});
    outcome_.prompt_tokens = usage.value("prompt_tokens", std::size_t{0});
    outcome_.cached_tokens =
        usage.value("prompt_tokens_details", Json::object()).value("cached_tokens", std::size_t{0});
  }

  void take_choice(const Json& choice) {
    const Json delta = choice.value("delta", Json::object());
    bool piece = delta.contains("tool_calls");
    for (const char* key : {"content", "reasoning_content"}) {
      const auto text = delta.find(key);
      if (text == delta.end() || !text->is_string() || text->get_ref<const std::string&>().empty()) continue;
      piece = true;
      if (key == std::string_view("content")) outcome_.text += text->get_ref<const std::string&>();
    }
    if (piece && outcome_.first_ms == 0) {
      outcome_.first_ms = std::chrono::duration<double, std::milli>(Clock::now() - outcome_.began).count();
    }
    const auto reason = choice.find("finish_reason");
    finished_ = finished_ || (reason != choice.end() && reason->is_string());
  }

  Outcome& outcome_;
  std::string buffer_;
  std::string error_;
  bool finished_ = false;
  bool done_ = false;
};

/// Seconds to wait before asking again.
double retry_after(const httplib::Response& response) {
  const std::string text = response.get_header_value("Retry-After");
  double seconds = 1;
  std::from_chars(text.data(), text.data() + text.size(), seconds);
  return std::clamp(seconds, 0.05, 60.0);
}

}  // namespace

LoadClient::LoadClient(const RequestShape& shape) : shape_(shape), client_(shape.url) {
  client_.set_keep_alive(true);
  client_.set_tcp_nodelay(true);
  const auto timeout = std::chrono::milliseconds(static_cast<std::int64_t>(shape.timeout_seconds * 1000));
  client_.set_read_timeout(timeout);
  client_.set_write_timeout(timeout);
  if (!shape.api_key.empty()) client_.set_bearer_token_auth(shape.api_key);
}

double LoadClient::attempt(const std::string& body, Outcome& outcome) {
  outcome.error.clear();
  outcome.text.clear();
  outcome.first_ms = 0;
  Events events(outcome);
  int status = 0;
  httplib::Request request;
  request.method = "POST";
  request.path = "/v1/chat/completions";
  request.set_header("Content-Type", "application/json");
  request.body = body;
  request.response_handler = [&](const httplib::Response& response) {
    status = response.status;
    return true;
  };
  request.content_receiver = [&](const char* data, std::size_t size, std::uint64_t, std::uint64_t) {
    if (status == 200) events.push({data, size});
    return true;
  };
  httplib::Response response;
  httplib::Error failure = httplib::Error::Success;
  const bool sent = client_.send(request, response, failure);
  if (!sent && status != 200) {
    outcome.error = "connection: " + httplib::to_string(failure);
  } else if (status != 200) {
    outcome.error = std::to_string(status);
    if (status == 429 || status == 503) return retry_after(response);
  } else {
    outcome.error = events.error();
  }
  return -1;
}

Outcome LoadClient::send(const Json& messages, Clock::time_point due) {
  Json request = shape_.fields;
  request["messages"] = messages;
  request["stream"] = true;
  request["stream_options"] = {{"include_usage", true}};
  const std::string body = request.dump();

  Outcome outcome;
  outcome.began = due;
  for (;;) {
    const double wait = attempt(body, outcome);
    if (wait < 0 || outcome.retries == shape_.retries) break;
    ++outcome.retries;
    std::this_thread::sleep_for(std::chrono::duration<double>(wait));
  }
  outcome.total_ms = std::chrono::duration<double, std::milli>(Clock::now() - due).count();
  if (outcome.first_ms > 0) outcome.stream_ms = outcome.total_ms - outcome.first_ms;
  return outcome;
}

}  // namespace qwen35::load
