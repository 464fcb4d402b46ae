#pragma once

#include <qwen35/options.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "server/admission.h"
#include "server/engine.h"
#include "server/generation_job.h"
#include "server/guard.h"
#include "server/http_server.h"
#include "server/metrics.h"
#include "server/openai/chat_request.h"
#include "server/openai/request_limits.h"
#include "server/openai/responses.h"
#include "server/openai/text_request.h"

namespace qwen35::server {

struct ServiceOptions {
  std::string model;                 ///< the name clients see
  std::vector<std::string> aliases;  ///< further names they may ask for
  std::string version;               ///< of this program, for /metrics
  RequestLimits limits;
  GenerateOptions defaults;  ///< what a request does not state
  std::size_t parallel = 8;  ///< generations that run at once, at least 1
  std::size_t queue = 64;    ///< requests that wait for a place
  Milliseconds timeout{300000};
  Milliseconds ping{15000};           ///< silence on a stream after which a comment is sent
  std::size_t max_prompt_tokens = 0;  ///< 0: as many as the context holds
  KeyRing keys;
  bool loopback = true;
  std::vector<std::string> allowed_hosts;
  std::string cors_origin;
  bool log_prompts = false;
  /// A line with its newline, from any thread; never empty.
  std::function<void(std::string_view line)> log = [](std::string_view) {};
};

/// What the server answers: the routes and who may use them. Handlers run on the connections' threads.
class Service {
 public:
  explicit Service(ServiceOptions options);

  /// Sets the handlers of `http`, which must outlive all requests.
  void attach(HttpServer& http);
  /// What HttpServer::Hooks::refused needs: the body, and the request counted.
  std::string refused(const Connection* connection, const HeadRefusal& refusal);

  /// Requests are taken from here on.
  void set_engine(std::unique_ptr<Engine> engine);
  /// /health says 503, so that balancers look elsewhere; requests are still taken.
  void drain() { draining_ = true; }
  /// No generation begins any more; those that wait are told so.
  void close_queue() { admission_.close(); }
  /// Ends the generations that run.
  void stop_generations() { shutdown_.request_stop(); }
  [[nodiscard]] std::size_t running() const { return admission_.running(); }

 private:
  using Request = httplib::Request;
  using Response = httplib::Response;

  /// What a generation route knows of its request beyond the job.
  struct Answer {
    bool stream = false;
    std::size_t choices = 1;
    std::optional<double> timeout_seconds;
    GenerationJob::Make make;
    std::function<std::string(std::span<const Reply>)> whole;  ///< the body of an answer in one piece
    std::function<std::string(std::span<const Reply>)> usage;  ///< the last chunk of a stream; empty: none wanted
  };

  // service.cpp
  bool guard(const Request& request, Response& response);
  void answer_get(const Request& request, Response& response);
  bool answer_asset(const Request& request, Response& response);
  void answer_models(const Request& request, Response& response);
  void answer_health(Response& response) const;
  void answer_metrics(Response& response) const;
  void answer_tokenize(const Request& request, Response& response);
  void answer_detokenize(const Request& request, Response& response);
  void finish_error(const Request& request, Response& response) const;
  void account(const Request& request, const Response& response);
  Engine& engine() const;
  void check_model(const std::string& name) const;
  static void respond(Response& response, const ApiError& error);

  // completions.cpp
  void answer_chat(const Request& request, Response& response);
  void answer_text(const Request& request, Response& response);
  void generate(const Request& request, Response& response, Answer answer);
  Milliseconds timeout_of(const Request& request, const std::optional<double>& body) const;
  void check_prompt(std::size_t tokens) const;
  ResponseHead response_head(std::string_view prefix) const;

  const ServiceOptions options_;
  OriginGuard origins_;
  Metrics metrics_;
  Admission admission_;
  std::stop_source shutdown_;
  std::atomic<bool> draining_{false};
  std::atomic<Engine*> engine_{nullptr};
  std::unique_ptr<Engine> owned_engine_;
  HttpServer* http_ = nullptr;
  const std::int64_t created_;
};

}  // namespace qwen35::server
