// Requests that generate: answers, streams, queues, deadlines, clients that go, and the end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <future>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "server/fixture.h"

namespace qwen35::server {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

constexpr std::string_view kChat = "/v1/chat/completions";
constexpr std::string_view kStream = ",\"stream\":true";

class GenerationTest : public ServerTest {
 protected:
  std::string content(const std::string& answer) {
    EXPECT_EQ(status_of(answer), 200) << answer;
    return json::parse(body_of(answer)).at("choices").at(0).at("message").at("content");
  }
  /// A client whose endless stream has begun.
  std::unique_ptr<TestClient> streaming(std::string_view more = {}) {
    auto client = std::make_unique<TestClient>(port());
    client->send(post_text(kChat, endless(std::string(kStream) + std::string(more)), "Connection: close\r\n"));
    EXPECT_THAT(client->read_until("\"role\":\"assistant\""), HasSubstr("text/event-stream"));
    client->read_until("data: ");
    return client;
  }
};

TEST_F(GenerationTest, AStreamSaysWhatAWholeAnswerSays) {
  start();
  const std::string whole = content(post(port(), kChat, chat_body("What is gravity?", 12)));
  EXPECT_FALSE(whole.empty());
  const std::string answer = post(
      port(), kChat, chat_body("What is gravity?", 12, ",\"stream\":true,\"stream_options\":{\"include_usage\":true}"));
  EXPECT_THAT(answer, HasSubstr("Transfer-Encoding: chunked"));
  EXPECT_THAT(answer, HasSubstr("Cache-Control: no-store"));
  std::string text;
  std::size_t usages = 0;
  for (std::size_t at = answer.find("data: {"); at != std::string::npos; at = answer.find("data: {", at + 1)) {
    const json event = json::parse(answer.substr(at + 6, answer.find("\n\n", at) - at - 6));
    if (event.at("choices").empty()) {
      usages += event.at("usage").at("completion_tokens") == 12 ? 1U : 0U;
      continue;
    }
    text += event.at("choices").at(0).at("delta").value("content", "");
  }
  EXPECT_EQ(text, whole);
  EXPECT_EQ(usages, 1U);
  EXPECT_THAT(answer, testing::EndsWith("data: [DONE]\n\n\r\n0\r\n\r\n"));
}

TEST_F(GenerationTest, TextCompletionsChoicesAndTokens) {
  start();
  const json text = json::parse(body_of(
      post(port(), "/v1/completions",
           R"({"prompt":["Gravity is","Water is"],"n":2,"max_tokens":4,"temperature":1,"seed":3,"echo":true})")));
  ASSERT_EQ(text.at("choices").size(), 4U);
  EXPECT_THAT(text.at("choices").at(1).at("text").get<std::string>(), testing::StartsWith("Gravity is"));
  EXPECT_THAT(text.at("choices").at(2).at("text").get<std::string>(), testing::StartsWith("Water is"));

  const std::string body = chat_body("Name a colour.", 6, ",\"n\":3,\"temperature\":1.5,\"seed\":7");
  const json chat = json::parse(body_of(post(port(), kChat, body)));
  ASSERT_EQ(chat.at("choices").size(), 3U);
  EXPECT_EQ(chat.at("choices").at(2).at("index"), 2);
  EXPECT_EQ(chat.at("choices"), json::parse(body_of(post(port(), kChat, body))).at("choices"));

  const std::string original = "naïve ☃ <|im_end|> text\n";
  const json tokens = json::parse(body_of(post(port(), "/tokenize", json{{"content", original}}.dump())));
  EXPECT_GT(tokens.at("count"), 5);
  const json back = json::parse(body_of(post(port(), "/detokenize", json{{"tokens", tokens.at("tokens")}}.dump())));
  EXPECT_EQ(back.at("content"), original);
  EXPECT_EQ(status_of(post(port(), "/detokenize", R"({"tokens":[99999999]})")), 400);
}

TEST_F(GenerationTest, FiftyAtOnceAreAnsweredAsOneAtATime) {
  options_.service.parallel = 6;
  start();
  const auto ask = [this](int i) {
    return content(post(port(), kChat, chat_body("Say something about number " + std::to_string(i), 10)));
  };
  std::vector<std::future<std::string>> answers;
  for (int i = 0; i < 50; ++i) answers.push_back(std::async(std::launch::async, ask, i));
  std::vector<std::string> together;
  for (auto& answer : answers) together.push_back(answer.get());
  start();  // a fresh one
  for (int i = 0; i < 50; ++i) EXPECT_EQ(ask(i), together[static_cast<std::size_t>(i)]) << i;
  EXPECT_EQ(metric("qwen35_generations_running"), 0);
  EXPECT_EQ(metric("qwen35_generations_total{outcome=\"length\"}") +
                std::max(0.0, metric("qwen35_generations_total{outcome=\"stop\"}")),
            50);
}

TEST_F(GenerationTest, HostileBodiesAreTheClientsFault) {
  start();
  const std::string deep(100000, '[');
  for (const std::string& body :
       {std::string(), std::string("{"), std::string("null"), std::string("[]"), deep,
        std::string("{\"messages\":" + deep), std::string("{\"messages\":[]}"),
        std::string("{\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}"),
        R"({"messages":[{"role":"user","content":"a)" + std::string(1, '\0') + "\"}]}", chat_body("a", -1),
        chat_body("a", 1, ",\"temperature\":1e999"), chat_body("a", 1, ",\"n\":1000000"),
        chat_body("a", 1, ",\"timeout\":-1"), chat_body("a", 1, ",\"max_completion_tokens\":99999999999999999999")}) {
    const std::string answer = post(port(), kChat, body);
    EXPECT_EQ(status_of(answer), 400) << body.substr(0, 80) << answer;
    EXPECT_THAT(body_of(answer), HasSubstr("{\"error\":{\"message\":"));
  }
  EXPECT_THAT(post(port(), kChat, chat_body("a", 1, ",\"model\":\"/etc/passwd\"")), HasSubstr("model_not_found"));
  EXPECT_EQ(status_of(post(port(), kChat, chat_body("a", 1, ",\"model\":\"other-name\""))), 200);
  std::string words;
  for (int i = 0; i < 6000; ++i) words += "word ";
  const std::string large = post(port(), kChat, chat_body(words, 5));
  EXPECT_EQ(status_of(large), 400);
  EXPECT_THAT(large, HasSubstr("context_length_exceeded"));
  EXPECT_THAT(large, HasSubstr("4096"));
  EXPECT_EQ(status_of(post(port(), kChat, chat_body("a", 1), "X-Request-Timeout: soon\r\n")), 400);
  EXPECT_EQ(status_of(post(port(), kChat, chat_body("a", 1), "X-Request-Timeout: -1\r\n")), 400);
  EXPECT_EQ(status_of(post(port(), kChat, chat_body("a", 1))), 200);
}

TEST_F(GenerationTest, TooLargeAPromptIsRefusedWithTheNumbers) {
  options_.service.max_prompt_tokens = 20;
  start();
  EXPECT_EQ(status_of(post(port(), kChat, chat_body("Hi", 2))), 200);
  const std::string answer =
      post(port(), kChat, chat_body("one two three four five six seven eight nine ten eleven", 2));
  EXPECT_EQ(status_of(answer), 400);
  EXPECT_THAT(answer, HasSubstr("more than the 20"));
}

TEST_F(GenerationTest, AClientThatGoesEndsItsGeneration) {
  start();
  streaming()->close();
  eventually([this] { return metric("qwen35_generations_total{outcome=\"client_gone\"}") == 1; });
  {
    TestClient whole(port());  // the same while nothing has been sent yet, and by half a close
    whole.send(post_text(kChat, endless()));
    eventually([this] { return metric("qwen35_generations_running") == 1; });
    whole.half_close();
    eventually([this] { return metric("qwen35_generations_total{outcome=\"client_gone\"}") == 2; });
  }
  eventually([this] { return log().find("status=499") != std::string::npos; });
  EXPECT_EQ(metric("qwen35_generations_running"), 0);
  EXPECT_LT(metric("qwen35_generated_tokens_total"), 7000);  // two whole ones would have taken 8000
  EXPECT_EQ(status_of(post(port(), kChat, chat_body("a", 1))), 200);
}

TEST_F(GenerationTest, AClientThatReadsNothingIsDropped) {
  options_.http.write_timeout = Milliseconds(30);
  start();
  TestClient client(port(), 4096);
  client.send(post_text(kChat, endless(",\"stream\":true,\"logprobs\":true,\"top_logprobs\":20")));
  eventually([this] { return metric("qwen35_generations_total{outcome=\"client_gone\"}") == 1; });
}

TEST_F(GenerationTest, AFullQueueSaysWhenToComeBack) {
  options_.service.parallel = 1;
  options_.service.queue = 1;
  start();
  const auto first = streaming();
  auto second = std::async(std::launch::async, [this] { return post(port(), kChat, chat_body("a", 2)); });
  eventually([this] { return metric("qwen35_generations_queued") == 1; });
  const std::string third = post(port(), kChat, chat_body("a", 2, kStream));
  EXPECT_EQ(status_of(third), 429);
  EXPECT_THAT(third, HasSubstr("Retry-After: "));
  EXPECT_THAT(third, HasSubstr("rate_limit_exceeded"));
  EXPECT_EQ(status_of(get(port(), "/health")), 200);
  first->close();
  EXPECT_EQ(status_of(second.get()), 200);
}

TEST_F(GenerationTest, DeadlinesEndWaitingAndGenerating) {
  options_.service.parallel = 1;
  start();
  EXPECT_EQ(status_of(post(port(), kChat, endless(",\"timeout\":0.05"))), 408);
  const std::string stream = post(port(), kChat, endless(",\"stream\":true,\"timeout\":0.2"));
  EXPECT_EQ(status_of(stream), 200);
  EXPECT_THAT(stream, HasSubstr("data: {\"error\":{"));
  EXPECT_THAT(stream, Not(HasSubstr("[DONE]")));
  const auto busy = streaming();
  EXPECT_EQ(status_of(post(port(), kChat, chat_body("a", 2), "X-Request-Timeout: 0.03\r\n")), 408);
  busy->close();
  eventually([this] { return metric("qwen35_generations_running") == 0; });
  EXPECT_EQ(metric("qwen35_generations_total{outcome=\"timeout\"}"), 2);
}

TEST_F(GenerationTest, ASilentStreamIsKeptAliveByComments) {
  options_.service.parallel = 1;
  options_.service.ping = Milliseconds(20);
  start();
  const auto busy = streaming();
  TestClient waits(port());
  waits.send(post_text(kChat, chat_body("a", 2, kStream)));
  EXPECT_THAT(waits.read_until(": ping\n\n"), HasSubstr("200 OK"));
  EXPECT_THAT(waits.read_until(": ping\n\n"), Not(HasSubstr("data:")));
  busy->close();
  EXPECT_THAT(waits.read_until("[DONE]"), HasSubstr("data: {"));
}

TEST_F(GenerationTest, StoppingLetsThoseThatRunEnd) {
  options_.service.parallel = 1;
  options_.drain_delay = Milliseconds(200);
  start();
  TestClient client(port());
  client.send(post_text(kChat, chat_body("Tell me about the sea.", 400, kStream)));
  client.read_until("\"role\"");
  const auto idle = std::make_unique<TestClient>(port());
  idle->send(get_text("/health"));
  EXPECT_EQ(status_of(idle->read_answer()), 200);
  auto drained = std::async(std::launch::async, [this] { return server_->drain(); });
  eventually([&] {
    idle->send(get_text("/health"));
    return status_of(idle->read_answer()) == 503;
  });
  EXPECT_THAT(client.read_until("[DONE]"), HasSubstr("data: "));
  client.close();
  EXPECT_EQ(idle->read_all(), "");
  EXPECT_EQ(drained.get(), 0U);
  EXPECT_EQ(get(port(), "/health"), "");
}

TEST_F(GenerationTest, StoppingDoesNotWaitForEver) {
  options_.service.parallel = 1;
  options_.drain_timeout = Milliseconds(50);
  start();
  const auto client = streaming();
  auto waiting = std::async(std::launch::async, [this] { return post(port(), kChat, chat_body("a", 2)); });
  eventually([this] { return metric("qwen35_generations_queued") == 1; });
  EXPECT_EQ(server_->drain(), 1U);
  EXPECT_EQ(status_of(waiting.get()), 503);
  EXPECT_THAT(client->read_all(), HasSubstr("data: {\"error\":{"));
}

TEST_F(GenerationTest, ASecondSignalEndsAtOnce) {
  start();
  const auto client = streaming();
  const int hurry = eventfd(1, 0);
  EXPECT_EQ(server_->drain(hurry), 1U);
  close(hurry);
  EXPECT_THAT(client->read_all(), Not(HasSubstr("[DONE]")));
}

}  // namespace
}  // namespace qwen35::server
