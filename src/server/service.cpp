#include "server/service.h"

#include <qwen35/error.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <exception>
#include <utility>

#include "server/access_log.h"
#include "server/ascii.h"
#include "server/openai/token_request.h"
#include "server/page/assets.h"

namespace qwen35::server {
namespace {

using Handled = httplib::Server::HandlerResponse;

enum class Access { open, key };

struct Route {
  std::string_view path;
  std::string_view methods;  ///< as the Allow header names them
  Access access;
};

constexpr std::array<Route, 7> kRoutes{{
    {"/health", "GET, HEAD, OPTIONS", Access::open},
    {"/metrics", "GET, HEAD, OPTIONS", Access::key},
    {"/v1/models", "GET, HEAD, OPTIONS", Access::key},
    {"/v1/chat/completions", "POST, OPTIONS", Access::key},
    {"/v1/completions", "POST, OPTIONS", Access::key},
    {"/tokenize", "POST, OPTIONS", Access::key},
    {"/detokenize", "POST, OPTIONS", Access::key},
}};
constexpr std::string_view kModelPrefix = "/v1/models/";
constexpr Route kModelRoute{"/v1/models/{id}", "GET, HEAD, OPTIONS", Access::key};
constexpr Route kPageRoute{"page", "GET, HEAD, OPTIONS", Access::open};

/// nullptr: nothing is there.
const Route* route_of(std::string_view path) {
  const auto found =
      std::find_if(kRoutes.begin(), kRoutes.end(), [&](const Route& route) { return route.path == path; });
  if (found != kRoutes.end()) return &*found;
  if (path.starts_with(kModelPrefix) && path.size() > kModelPrefix.size()) return &kModelRoute;
  return find_asset(path) != nullptr ? &kPageRoute : nullptr;
}

bool allows(const Route& route, std::string_view method) {
  std::string_view rest = route.methods;
  while (!rest.empty()) {
    const std::size_t comma = rest.find(", ");
    if (rest.substr(0, comma) == method) return true;
    rest = comma == std::string_view::npos ? "" : rest.substr(comma + 2);
  }
  return false;
}

/// The one form of body that pages of other sites cannot send without asking first.
bool is_json(std::string_view content_type) {
  return lower(trim(content_type.substr(0, content_type.find(';')))) == "application/json";
}

std::int64_t now_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

Service::Service(ServiceOptions options)
    : options_(std::move(options)),
      origins_(options_.loopback, options_.allowed_hosts, options_.cors_origin),
      admission_(options_.parallel, options_.queue),
      created_(now_seconds()) {
  if (options_.parallel == 0)
    throw Error(ErrorCode::invalid_argument, "no generation may run: --parallel is at least 1");
}

void Service::attach(HttpServer& http) {
  http_ = &http;
  http.set_pre_routing_handler([this](const Request& request, Response& response) {
    try {
      if (!guard(request, response)) return Handled::Handled;
      if (request.method == "POST") return Handled::Unhandled;  // the body is read first
      answer_get(request, response);
    } catch (const std::exception& error) {
      respond(response, from_exception(error));
    }
    return Handled::Handled;
  });
  http.Post("/v1/chat/completions", [this](const Request& q, Response& r) { answer_chat(q, r); });
  http.Post("/v1/completions", [this](const Request& q, Response& r) { answer_text(q, r); });
  http.Post("/tokenize", [this](const Request& q, Response& r) { answer_tokenize(q, r); });
  http.Post("/detokenize", [this](const Request& q, Response& r) { answer_detokenize(q, r); });
  http.set_exception_handler([this](const Request&, Response& response, std::exception_ptr thrown) {
    try {
      std::rethrow_exception(std::move(thrown));
    } catch (const std::exception& error) {
      const ApiError answer = from_exception(error);
      if (answer.status == 500)
        options_.log("error id=" + HttpServer::current().notes.id + " " + quoted_for_log(error.what()) + "\n");
      respond(response, answer);
    } catch (...) {
      respond(response, {500, "server_error", "internal_error", "", "the server failed to answer this request"});
    }
  });
  http.set_error_handler([this](const Request& request, Response& response) { finish_error(request, response); });
  http.set_logger([this](const Request& request, const Response& response) { account(request, response); });
}

void Service::set_engine(std::unique_ptr<Engine> engine) {
  owned_engine_ = std::move(engine);
  engine_ = owned_engine_.get();
}

Engine& Service::engine() const {
  Engine* const engine = engine_;
  if (engine == nullptr) throw unavailable("the model is still being loaded; try again in a moment");
  return *engine;
}

void Service::respond(Response& response, const ApiError& error) {
  response.status = error.status;
  if (error.status == 401) response.set_header("WWW-Authenticate", "Bearer");
  if (error.status == 503 && !response.has_header("Retry-After")) response.set_header("Retry-After", "1");
  response.set_content(error_body(error), "application/json");
}

/// Who asks for what, before anything of a body is read. False: the response is complete.
bool Service::guard(const Request& request, Response& response) {
  RequestNotes& notes = HttpServer::current().notes;
  notes.id = request_id(request.get_header_value("X-Request-Id"));
  response.set_header("X-Request-Id", notes.id);
  for (const auto& [name, value] : HttpServer::common_headers()) response.set_header(name, value);

  const Route* const route = route_of(request.path);
  if (route != nullptr) notes.route = route->path;
  const std::string origin = request.get_header_value("Origin");
  const bool reads = request.method == "GET" || request.method == "HEAD" || request.method == "OPTIONS";
  // Balancers ask for the health by address, without a name.
  if (route == nullptr || route->path != "/health") {
    if (const auto error = origins_.check(request.get_header_value("Host"), origin, !reads)) {
      respond(response, *error);
      return false;
    }
  }
  if (!options_.cors_origin.empty()) response.set_header("Vary", "Origin");
  if (origins_.shares_with(origin)) {
    response.set_header("Access-Control-Allow-Origin", options_.cors_origin);
    response.set_header("Access-Control-Expose-Headers", "X-Request-Id, Retry-After");
  }
  if (route == nullptr) {
    respond(response, unknown_path(request.path));
    return false;
  }
  if (!allows(*route, request.method)) {
    respond(response, wrong_method(request.method));
    response.set_header("Allow", std::string(route->methods));
    return false;
  }
  if (request.method == "OPTIONS") {  // browsers ask without a key
    response.status = 204;
    response.set_header("Allow", std::string(route->methods));
    if (origins_.shares_with(origin)) {
      response.set_header("Access-Control-Allow-Methods", std::string(route->methods));
      response.set_header("Access-Control-Allow-Headers", "Authorization, *");
      response.set_header("Access-Control-Max-Age", "600");
    }
    return false;
  }
  if (route->access == Access::key) {
    if (const auto error = options_.keys.check(request.get_header_value("Authorization"))) {
      respond(response, *error);
      return false;
    }
  }
  if (request.method == "POST" && !is_json(request.get_header_value("Content-Type"))) {
    respond(response, {415, "invalid_request_error", "content_type", "",
                       "the body must be JSON and say so; send the header Content-Type: application/json"});
    return false;
  }
  return true;
}

void Service::answer_get(const Request& request, Response& response) {
  if (request.path == "/health") {
    answer_health(response);
  } else if (request.path == "/metrics") {
    answer_metrics(response);
  } else if (request.path.starts_with("/v1/models")) {
    answer_models(request, response);
  } else {
    answer_asset(request, response);
  }
}

bool Service::answer_asset(const Request& request, Response& response) {
  const Asset* const asset = find_asset(request.path);
  if (asset == nullptr) return false;
  response.set_header("Content-Security-Policy", std::string(kContentSecurityPolicy));
  response.set_header("ETag", std::string(asset->etag));
  response.set_header("Cache-Control", "no-cache");
  if (request.get_header_value("If-None-Match") == asset->etag) {
    response.status = 304;
  } else {
    response.set_content(asset->body.data(), asset->body.size(), std::string(asset->content_type));
  }
  return true;
}

void Service::answer_health(Response& response) const {
  const char* state = "ok";
  if (engine_ == nullptr) state = "loading";
  if (draining_) state = "draining";
  const bool ready = engine_ != nullptr && !draining_;
  response.status = ready ? 200 : 503;
  if (!ready) response.set_header("Retry-After", "1");
  response.set_header("Cache-Control", "no-store");
  response.set_content(std::string("{\"status\":\"") + state + "\"}", "application/json");
}

void Service::answer_metrics(Response& response) const {
  Gauges gauges;
  gauges.running = admission_.running();
  gauges.waiting = admission_.waiting();
  gauges.connections = http_->connections();
  gauges.ready = engine_ != nullptr && !draining_;
  if (const Engine* const engine = engine_; engine != nullptr) {
    gauges.weight_bytes = engine->memory().weights;
    gauges.session_bytes = engine->memory().session;
    gauges.request_bytes = engine->memory().per_request;
  }
  gauges.model = options_.model;
  gauges.version = options_.version;
  response.set_content(metrics_.text(gauges), "text/plain; version=0.0.4; charset=utf-8");
}

void Service::check_model(const std::string& name) const {
  const auto& aliases = options_.aliases;
  if (name.empty() || name == options_.model || std::find(aliases.begin(), aliases.end(), name) != aliases.end())
    return;
  throw model_not_found(name);
}

void Service::answer_models(const Request& request, Response& response) {
  const std::size_t context = engine().info().context;
  if (request.path.starts_with(kModelPrefix)) {
    const std::string name = request.path.substr(kModelPrefix.size());
    check_model(name);
    response.set_content(model_response({name, created_, context}), "application/json");
    return;
  }
  std::vector<ModelEntry> models{{options_.model, created_, context}};
  for (const std::string& alias : options_.aliases) models.push_back({alias, created_, context});
  response.set_content(models_response(models), "application/json");
}

void Service::answer_tokenize(const Request& request, Response& response) {
  const TokenizeRequest wanted = parse_tokenize_request(request.body, options_.limits);
  response.set_content(tokenize_response(engine().tokenize(wanted.text, wanted.special), engine().info().context),
                       "application/json");
}

void Service::answer_detokenize(const Request& request, Response& response) {
  const std::vector<std::int32_t> tokens = parse_detokenize_request(request.body, options_.limits);
  response.set_content(detokenize_response(engine().detokenize(tokens)), "application/json");
}

/// Gives words to what the HTTP library refused with a bare status.
void Service::finish_error(const Request& request, Response& response) const {
  if (!response.body.empty() || response.status < 400) return;
  const Connection& connection = HttpServer::current();
  if (!response.has_header("X-Content-Type-Options")) {
    for (const auto& [name, value] : HttpServer::common_headers()) response.set_header(name, value);
  }
  if (connection.timed_out()) {
    respond(response, {408, "invalid_request_error", "timeout", "", "the request's body did not arrive in time"});
  } else if (connection.body_too_large() || response.status == 413) {
    respond(response, body_too_large(http_->limits().max_body_bytes));
  } else if (response.status == 404) {
    respond(response, unknown_path(request.path));
  } else {
    respond(response, {response.status, "invalid_request_error", "bad_request", "",
                       "the request could not be read: its body is incomplete or badly coded"});
  }
}

void Service::account(const Request& request, const Response& response) {
  const Connection& connection = HttpServer::current();
  metrics_.count_request(connection.notes, response.status);
  options_.log(log_line(connection.notes, connection.peer(), request.method, response.status));
}

std::string Service::refused(const Connection* connection, const HeadRefusal& refusal) {
  RequestNotes notes;
  if (connection != nullptr) notes.began = connection->notes.began;
  notes.id = request_id("");
  notes.route = "refused";
  metrics_.count_request(notes, refusal.status);
  options_.log(log_line(notes, connection != nullptr ? connection->peer() : "-", "-", refusal.status));
  const bool ours = refusal.status >= 500;
  return error_body(
      {refusal.status, ours ? "server_error" : "invalid_request_error", refusal.code, "", refusal.message});
}

}  // namespace qwen35::server
