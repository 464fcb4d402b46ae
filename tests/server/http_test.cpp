// What the server does with connections, whatever is asked over them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/error.h>

#include <string>
#include <thread>
#include <vector>

#include "server/fixture.h"

namespace qwen35::server {
namespace {

using testing::HasSubstr;
using testing::Not;

class HttpTest : public ServerTest {};

TEST_F(HttpTest, RoutesMethodsAndShapes) {
  start();
  EXPECT_THAT(get(port(), "/health"), HasSubstr("{\"status\":\"ok\"}"));
  EXPECT_EQ(status_of(get(port(), "/")), 200);
  EXPECT_THAT(get(port(), "/"), HasSubstr("Content-Security-Policy: default-src 'none'"));
  EXPECT_EQ(status_of(get(port(), "/v1/models")), 200);
  EXPECT_THAT(body_of(get(port(), "/v1/models/other-name")), HasSubstr("\"id\":\"other-name\""));
  EXPECT_THAT(get(port(), "/v1/models/no%2Fsuch"), HasSubstr("model_not_found"));
  for (const char* const path :
       {"/nothing", "/v1", "/v1/models/", "/..%2f..%2fetc/passwd", "/health/", "/v1/chat/completions/x"}) {
    const std::string answer = get(port(), path);
    EXPECT_EQ(status_of(answer), 404) << path;
    EXPECT_THAT(body_of(answer), HasSubstr("{\"error\":{\"message\":")) << path;
  }
  const std::string wrong = get(port(), "/v1/chat/completions");
  EXPECT_EQ(status_of(wrong), 405);
  EXPECT_THAT(wrong, HasSubstr("Allow: POST, OPTIONS\r\n"));
  EXPECT_EQ(status_of(post(port(), "/health", "{}")), 405);
  TestClient client(port());
  client.send(get_text("/health", "", "HEAD"));
  EXPECT_THAT(client.read_until("\r\n\r\n"), HasSubstr("Content-Length: 15\r\n"));
  client.send(get_text("/metrics", "", "OPTIONS"));
  EXPECT_EQ(status_of(client.read_answer()), 204);
  client.send(get_text("/metrics", "", "DELETE"));
  EXPECT_EQ(status_of(client.read_answer()), 405);
  const std::string headers = get(port(), "/nothing");
  for (const char* const header :
       {"X-Content-Type-Options: nosniff", "X-Frame-Options: DENY", "Referrer-Policy: no-referrer"})
    EXPECT_THAT(headers, HasSubstr(header));
}

TEST_F(HttpTest, AConnectionServesManyRequestsAlsoPipelined) {
  start();
  TestClient client(port());
  for (int i = 0; i < 3; ++i) {
    client.send(post_text("/tokenize", R"({"content":"a"})"));
    EXPECT_EQ(status_of(client.read_answer()), 200);
  }
  client.send(post_text("/tokenize", R"({"content":"b"})") + get_text("/health") + "\r\n" + get_text("/nothing"));
  EXPECT_EQ(status_of(client.read_answer()), 200);
  EXPECT_THAT(client.read_answer(), HasSubstr("\"ok\""));
  EXPECT_EQ(status_of(client.read_answer()), 404);
  // A body that nobody asked for is read over, so that it is not taken for a request.
  client.send(post_text("/nothing", get_text("/health")) + get_text("/v1/models/none"));
  EXPECT_THAT(client.read_answer(), HasSubstr("unknown_url"));
  EXPECT_THAT(client.read_answer(), HasSubstr("model_not_found"));
}

TEST_F(HttpTest, BodiesInChunksAndAfterAskingFirst) {
  options_.http.max_body_bytes = 2000;
  start();
  const std::string head = "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
  {
    TestClient client(port());
    client.send(head + "Transfer-Encoding: chunked\r\n\r\n8\r\n{\"conten\r\n");
    client.send("8\r\nt\":\"ab\"}\r\n0\r\n\r\n");
    EXPECT_EQ(status_of(client.read_all()), 200);
  }
  {
    TestClient client(port());
    client.send(head + "Content-Length: 15\r\nExpect: 100-continue\r\n\r\n");
    EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send(R"({"content":"a"})");
    EXPECT_EQ(status_of(client.read_answer()), 200);
  }
  {
    TestClient client(port());
    client.send(head + "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 200; ++i) client.send("40\r\n" + std::string(64, ' ') + "\r\n");
    EXPECT_EQ(status_of(client.read_all()), 413);
  }
  {
    TestClient client(port());
    client.send(head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n");
    EXPECT_EQ(status_of(client.read_all()), 400);
  }
  const std::string answer = post(port(), "/tokenize", std::string(2001, ' '));
  EXPECT_EQ(status_of(answer), 413);
  EXPECT_THAT(answer, HasSubstr("2001"));
  EXPECT_THAT(get(port(), "/health"), HasSubstr("\"ok\""));
}

TEST_F(HttpTest, RefusesOversizeAndMalformedHeads) {
  options_.http.max_head_bytes = 2000;
  options_.http.max_target_bytes = 500;
  start();
  EXPECT_EQ(status_of(get(port(), "/" + std::string(600, 'a'))), 414);
  EXPECT_EQ(status_of(get(port(), "/health", "A: " + std::string(3000, 'a') + "\r\n")), 431);
  for (const std::string& text :
       {std::string(1000, 'x'), std::string("\x16\x03\x01\x02\r\n\r\n"), std::string("GET / HTTP/1.1\n\n\r\n\r\n")}) {
    TestClient client(port());
    client.send(text);
    client.half_close();
    const std::string answer = client.read_all();
    EXPECT_TRUE(status_of(answer) == 400 || status_of(answer) == 414) << answer;
    EXPECT_THAT(answer, HasSubstr("{\"error\":"));
  }
  EXPECT_THAT(get(port(), "/health"), HasSubstr("\"ok\""));
}

TEST_F(HttpTest, SlowClientsAreDropped) {
  options_.http.head_timeout = Milliseconds(60);
  options_.http.body_timeout = Milliseconds(60);
  options_.http.idle_timeout = Milliseconds(60);
  start();
  TestClient silent(port());
  EXPECT_EQ(silent.read_all(), "");
  {
    TestClient drips(port());  // each byte comes in good time, the whole does not
    for (const char c : std::string_view("GET /health HTTP/1.1\r\nHost: localhost")) {
      drips.send(std::string(1, c));
      std::this_thread::sleep_for(Milliseconds(5));
    }
    EXPECT_EQ(status_of(drips.read_all()), 408);
  }
  {
    TestClient stops(port());
    stops.send(
        "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{");
    EXPECT_EQ(status_of(stops.read_all()), 408);
  }
  {
    TestClient stops(port());
    stops.send("POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{");
    EXPECT_EQ(status_of(stops.read_all()), 404);  // and then the connection ends
  }
  TestClient idle(port());
  idle.send(get_text("/health"));
  EXPECT_EQ(status_of(idle.read_answer()), 200);
  EXPECT_EQ(idle.read_all(), "");
}

TEST_F(HttpTest, OneConnectionTooManyIsToldAtOnce) {
  options_.http.max_connections = 3;
  start();
  std::vector<std::unique_ptr<TestClient>> held;
  for (int i = 0; i < 3; ++i) {
    held.push_back(std::make_unique<TestClient>(port()));
    held.back()->send(get_text("/health"));
    EXPECT_EQ(status_of(held.back()->read_answer()), 200);
  }
  const std::string answer = get(port(), "/health");
  EXPECT_EQ(status_of(answer), 503);
  EXPECT_THAT(answer, HasSubstr("Retry-After: "));
  EXPECT_THAT(answer, HasSubstr("too_many_connections"));
  held.pop_back();
  eventually([this] { return status_of(get(port(), "/health")) == 200; });
}

TEST_F(HttpTest, KeysAreAskedForEverywhereButAtTheDoor) {
  options_.service.keys.add("a-secret-key");
  start();
  const std::string key = "Authorization: Bearer a-secret-key\r\n";
  for (const char* const path : {"/health", "/", "/app.js"}) EXPECT_EQ(status_of(get(port(), path)), 200) << path;
  for (const char* const path : {"/metrics", "/v1/models", "/v1/models/mini"}) {
    const std::string refused = get(port(), path);
    EXPECT_EQ(status_of(refused), 401) << path;
    EXPECT_THAT(refused, HasSubstr("WWW-Authenticate: Bearer"));
    EXPECT_EQ(status_of(get(port(), path, "Authorization: Bearer another-key\r\n")), 401) << path;
    EXPECT_EQ(status_of(get(port(), path, "Authorization: Bearer a-secret%2Dkey\r\n")), 401) << path;
    EXPECT_EQ(status_of(get(port(), path, key)), 200) << path;
  }
  for (const char* const path : {"/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize"}) {
    EXPECT_EQ(status_of(post(port(), path, "{")), 401) << path;
    EXPECT_EQ(status_of(post(port(), path, "{", key)), 400) << path;
  }
  EXPECT_THAT(log(), Not(HasSubstr("secret")));
}

TEST_F(HttpTest, PagesOfOtherSitesAreKeptOut) {
  options_.service.cors_origin = "https://app.example";
  start();
  const std::string body = R"({"content":"a"})";
  TestClient rebound(port());
  rebound.send("GET /v1/models HTTP/1.1\r\nHost: evil.example:80\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(rebound.read_all(), HasSubstr("host_not_allowed"));
  EXPECT_EQ(status_of(post(port(), "/tokenize", body, "Origin: http://evil.example\r\n")), 403);
  EXPECT_EQ(status_of(post(port(), "/tokenize", body, "Origin: null\r\n")), 403);
  const std::string own = post(port(), "/tokenize", body, "Origin: http://localhost\r\n");
  EXPECT_EQ(status_of(own), 200);
  EXPECT_THAT(own, Not(HasSubstr("Access-Control")));
  const std::string allowed = post(port(), "/tokenize", body, "Origin: https://app.example\r\n");
  EXPECT_EQ(status_of(allowed), 200);
  EXPECT_THAT(allowed, HasSubstr("Access-Control-Allow-Origin: https://app.example\r\n"));
  TestClient asks(port());
  asks.send(get_text("/tokenize", "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n", "OPTIONS"));
  EXPECT_THAT(asks.read_answer(), HasSubstr("Access-Control-Allow-Headers: Authorization, *"));
  // What a form of another site can send is no JSON.
  TestClient form(port());
  form.send(
      "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 15\r\n"
      "Connection: close\r\n\r\n" +
      body);
  EXPECT_EQ(status_of(form.read_all()), 415);
}

TEST_F(HttpTest, IdsComeBackAndPromptsStayOutOfTheLog) {
  start();
  EXPECT_THAT(get(port(), "/health", "X-Request-Id: mine-1\r\n"), HasSubstr("X-Request-Id: mine-1\r\n"));
  const std::string hostile = get(port(), "/health", "X-Request-Id: a%0d%0aSet-Cookie: b\r\n");
  EXPECT_THAT(hostile, HasSubstr("X-Request-Id: req-"));
  EXPECT_THAT(hostile, Not(HasSubstr("Set-Cookie")));
  post(port(), "/v1/chat/completions", chat_body("a private matter", 2));
  eventually([this] { return log().find("POST /v1/chat/completions status=200") != std::string::npos; });
  EXPECT_THAT(log(), HasSubstr("id=mine-1 peer=127.0.0.1 GET /health status=200"));
  EXPECT_THAT(log(), Not(HasSubstr("private")));
}

TEST_F(HttpTest, PromptsAreLoggedOnRequest) {
  options_.service.log_prompts = true;
  start();
  post(port(), "/v1/chat/completions", chat_body("a private matter", 2));
  eventually([this] { return log().find("a private matter") != std::string::npos; });
}

TEST_F(HttpTest, WithoutAModelItSaysSo) {
  start(false);
  const std::string health = get(port(), "/health");
  EXPECT_EQ(status_of(health), 503);
  EXPECT_THAT(health, HasSubstr("loading"));
  const std::string answer = post(port(), "/v1/chat/completions", chat_body("a", 2));
  EXPECT_EQ(status_of(answer), 503);
  EXPECT_THAT(answer, HasSubstr("Retry-After: "));
  EXPECT_EQ(status_of(post(port(), "/tokenize", R"({"content":"a"})")), 503);
  EXPECT_EQ(metric("qwen35_ready"), 0);
}

TEST_F(HttpTest, APortInUseAndAnOpenNetworkAreRefusedWithTheRemedy) {
  start();
  ServerOptions again = options_;
  again.port = port();
  try {
    Server second(again);
    FAIL() << "two servers have one port";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("--port"));
  }
  again.port = 0;
  again.host = "0.0.0.0";
  try {
    Server open(again);
    FAIL() << "open to the network without a key";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("--api-key-file"));
  }
  again.no_auth_on_network = true;
  EXPECT_NO_THROW(Server open(again));
  again.host = "no.such.host.invalid";
  EXPECT_THROW(Server nowhere(again), Error);
}

}  // namespace
}  // namespace qwen35::server
