#include "server/openai/errors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <new>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "server/openai/requests.h"

namespace qwen35::server {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(ApiErrors, HaveTheShapeOfTheApi) {
  const auto body = nlohmann::json::parse(error_body(bad_request("n", "invalid_value", "n is \"x\"")));
  EXPECT_EQ(
      body,
      nlohmann::json::parse(
          R"({"error": {"message": "n is \"x\"", "type": "invalid_request_error", "param": "n", "code": "invalid_value"}})"));
  const auto bare = nlohmann::json::parse(error_body({500, "server_error", "", "", "\xFF"}));
  EXPECT_TRUE(bare["error"]["param"].is_null());
  EXPECT_TRUE(bare["error"]["code"].is_null());
  EXPECT_EQ(bare["error"]["message"], "\xEF\xBF\xBD");
}

TEST(ApiErrors, OfTheEngine) {
  const auto seen = [](ErrorCode code) {
    const ApiError error = from_error(Error(code, "/secret/path"));
    return std::to_string(error.status) + " " + error.code;
  };
  EXPECT_EQ(seen(ErrorCode::invalid_argument), "400 invalid_value");
  EXPECT_EQ(seen(ErrorCode::unsupported), "400 unsupported");
  EXPECT_EQ(seen(ErrorCode::context_limit), "400 context_length_exceeded");
  EXPECT_EQ(seen(ErrorCode::not_loaded), "503 unavailable");
  for (const ErrorCode code : {ErrorCode::not_found, ErrorCode::bad_file, ErrorCode::internal}) {
    EXPECT_EQ(seen(code), "500 internal_error");
    EXPECT_THAT(from_error(Error(code, "/secret/path")).message, Not(HasSubstr("secret")));
  }
  EXPECT_EQ(from_error(Error(ErrorCode::context_limit, "takes 9 tokens")).message, "takes 9 tokens");
}

TEST(ApiErrors, OfAnyException) {
  EXPECT_EQ(from_exception(wrong_key()).status, 401);
  EXPECT_EQ(from_exception(Error(ErrorCode::context_limit, "x")).status, 400);
  EXPECT_EQ(from_exception(std::bad_alloc()).status, 503);
  const ApiError other = from_exception(std::runtime_error("/secret/path"));
  EXPECT_EQ(other.status, 500);
  EXPECT_THAT(other.message, Not(HasSubstr("secret")));
}

TEST(ApiErrors, HaveTheStatusOfTheirKind) {
  EXPECT_EQ(missing_key().status, 401);
  EXPECT_EQ(unknown_path("/x").status, 404);
  EXPECT_EQ(wrong_method("PUT").status, 405);
  EXPECT_EQ(model_not_found("m").status, 404);
  EXPECT_EQ(model_not_found("m").param, "model");
  EXPECT_EQ(request_timeout(2.5).status, 408);
  EXPECT_THAT(request_timeout(2.5).message, HasSubstr("2.5 seconds"));
  EXPECT_EQ(body_too_large(10).status, 413);
  EXPECT_EQ(too_many_requests("x").status, 429);
  EXPECT_EQ(unavailable("x").status, 503);
}

}  // namespace
}  // namespace qwen35::server
