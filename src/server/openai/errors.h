#pragma once

#include <qwen35/error.h>

#include <exception>
#include <string>
#include <string_view>

namespace qwen35::server {

/// An error as a client of the OpenAI API sees it. `message` may quote the request, cut to a few words.
struct ApiError : std::exception {
  ApiError(int http_status, std::string error_type, std::string error_code, std::string parameter, std::string text)
      : status(http_status),
        type(std::move(error_type)),
        code(std::move(error_code)),
        param(std::move(parameter)),
        message(std::move(text)) {}
  [[nodiscard]] const char* what() const noexcept override { return message.c_str(); }

  int status;           ///< of HTTP, 400 to 599
  std::string type;     ///< e.g. "invalid_request_error"
  std::string code;     ///< for programs, e.g. "context_length_exceeded"; "": null
  std::string param;    ///< the field at fault, e.g. "messages[0].content"; "": null
  std::string message;  ///< for people
};

/// 400 invalid_request_error.
ApiError bad_request(std::string param, std::string code, std::string message);
ApiError missing_key();                            ///< 401 invalid_api_key: no Authorization header
ApiError wrong_key();                              ///< 401 invalid_api_key
ApiError unknown_path(std::string_view path);      ///< 404 unknown_url
ApiError wrong_method(std::string_view method);    ///< 405 method_not_allowed
ApiError model_not_found(std::string_view model);  ///< 404, param "model"
ApiError request_timeout(double seconds);          ///< 408 timeout: the deadline of the request passed
ApiError body_too_large(std::size_t limit);        ///< 413 request_too_large
ApiError too_many_requests(std::string message);   ///< 429 rate_limit_exceeded
ApiError unavailable(std::string message);         ///< 503 unavailable: loading, draining, out of memory

/// {"error": {"message", "type", "param", "code"}}: a response's body, and the payload of an event that ends a stream.
std::string error_body(const ApiError& error);

/// What an error of the engine is to a client: invalid_argument and unsupported 400, context_limit 400
/// context_length_exceeded, not_loaded 503; everything else is the server's own fault: 500, without its message, which
/// may hold paths.
ApiError from_error(const Error& error);
/// The same for any exception: an ApiError as it is, std::bad_alloc 503, the rest 500.
ApiError from_exception(const std::exception& error);

}  // namespace qwen35::server
