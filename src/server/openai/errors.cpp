#include "server/openai/errors.h"

#include <new>

#include "json/fields.h"

namespace qwen35::server {
namespace {

/// Words of a client in a message: as they are, but not more than a line of them.
std::string shortened(std::string_view words) { return json::quoted(json::Json(std::string(words))); }

ApiError server_fault() {
  return {500, "server_error", "internal_error", "",
          "The server failed on its own side; its log says how. The same request may work again."};
}

}  // namespace

ApiError bad_request(std::string param, std::string code, std::string message) {
  return {400, "invalid_request_error", std::move(code), std::move(param), std::move(message)};
}

ApiError missing_key() {
  return {401, "authentication_error", "invalid_api_key", "",
          "This server wants an API key; send it in the header Authorization: Bearer KEY."};
}

ApiError wrong_key() {
  return {401, "authentication_error", "invalid_api_key", "", "The API key is not one of this server's."};
}

ApiError unknown_path(std::string_view path) {
  return {404, "invalid_request_error", "unknown_url", "", "There is nothing at " + shortened(path) + "."};
}

ApiError wrong_method(std::string_view method) {
  return {405, "invalid_request_error", "method_not_allowed", "",
          "The method " + shortened(method) + " is not for this address."};
}

ApiError model_not_found(std::string_view model) {
  return {404, "invalid_request_error", "model_not_found", "model",
          "The model " + shortened(model) + " is not served here; GET /v1/models lists those that are."};
}

ApiError request_timeout(double seconds) {
  return {408, "timeout_error", "timeout", "",
          "The request took longer than the " + json::Json(seconds).dump() +
              " seconds it was given; ask for fewer tokens or give it more time."};
}

ApiError body_too_large(std::size_t limit) {
  return {413, "invalid_request_error", "request_too_large", "",
          "The request's body is larger than the " + std::to_string(limit) + " bytes this server reads."};
}

ApiError too_many_requests(std::string message) {
  return {429, "rate_limit_error", "rate_limit_exceeded", "", std::move(message)};
}

ApiError unavailable(std::string message) { return {503, "server_error", "unavailable", "", std::move(message)}; }

std::string error_body(const ApiError& error) {
  const auto text_or_null = [](const std::string& text) { return text.empty() ? json::Json() : json::Json(text); };
  json::Json body;
  body["error"] = {{"message", error.message},
                   {"type", error.type},
                   {"param", text_or_null(error.param)},
                   {"code", text_or_null(error.code)}};
  return json::to_line(body);
}

ApiError from_error(const Error& error) {
  switch (error.code()) {
    case ErrorCode::invalid_argument:
      if (const auto* field = dynamic_cast<const json::FieldError*>(&error)) {
        return bad_request(field->field(), "invalid_value", field->problem());
      }
      return bad_request("", "invalid_value", error.what());
    case ErrorCode::unsupported:
      return bad_request("", "unsupported", error.what());
    case ErrorCode::context_limit:
      return bad_request("messages", "context_length_exceeded", error.what());
    case ErrorCode::not_loaded:
      return unavailable("The model is not loaded at the moment; try again later.");
    case ErrorCode::out_of_memory:
      return unavailable("The server has no memory left for this request; try again later, or send a smaller one.");
    case ErrorCode::device:
      return unavailable("The server's GPU failed; the model must be loaded again.");
    case ErrorCode::not_found:
    case ErrorCode::bad_file:
    case ErrorCode::internal:
    case ErrorCode::network:
    case ErrorCode::cancelled:
      break;
  }
  return server_fault();
}

ApiError from_exception(const std::exception& error) {
  if (const auto* api = dynamic_cast<const ApiError*>(&error)) return *api;
  if (const auto* ours = dynamic_cast<const Error*>(&error)) return from_error(*ours);
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) {
    return unavailable("The server has no memory left for this request; try again later, or send a smaller one.");
  }
  return server_fault();
}

}  // namespace qwen35::server
