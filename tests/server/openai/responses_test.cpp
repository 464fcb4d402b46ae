#include "server/openai/responses.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "server/openai/chat_stream.h"

namespace qwen35::server {
namespace {

using Json = nlohmann::json;

const ResponseHead kHead{.id = "chatcmpl-ab12", .created = 1700000000, .model = "mini"};

Reply reply_of(std::string text, std::size_t thinking = 3, std::size_t answer = 5) {
  Reply reply;
  reply.text = std::move(text);
  reply.metrics.prompt_tokens = 20;
  reply.metrics.reused_tokens = 8;
  reply.metrics.thinking_tokens = thinking;
  reply.metrics.reply_tokens = answer;
  reply.metrics.total_ms = 12.34567;
  reply.metrics.decode_tokens_per_second = std::numeric_limits<double>::infinity();
  return reply;
}

TokenLogprob token(std::string bytes, float logprob) {
  TokenLogprob result{.id = 1, .bytes = bytes, .logprob = logprob, .top = {}};
  result.top.push_back({.id = 1, .bytes = std::move(bytes), .logprob = logprob});
  return result;
}

TEST(ChatResponses, HoldChoicesUsageAndTimings) {
  std::vector<Reply> replies = {reply_of("one"), reply_of("two", 0, 7)};
  replies[0].thinking = "Hm.";
  replies[1].metrics.reused_tokens = 19;
  replies[1].metrics.total_ms = 99;
  replies[1].finish_reason = FinishReason::length;
  const Json body = Json::parse(chat_response(kHead, replies));
  EXPECT_EQ(body["id"], "chatcmpl-ab12");
  EXPECT_EQ(body["object"], "chat.completion");
  EXPECT_EQ(body["created"], 1700000000);
  EXPECT_EQ(body["model"], "mini");
  ASSERT_EQ(body["choices"].size(), 2U);
  const Json& first = body["choices"][0];
  EXPECT_EQ(first["index"], 0);
  EXPECT_EQ(first["message"]["role"], "assistant");
  EXPECT_EQ(first["message"]["content"], "one");
  EXPECT_EQ(first["message"]["reasoning_content"], "Hm.");
  EXPECT_FALSE(first["message"].contains("tool_calls"));
  EXPECT_TRUE(first["logprobs"].is_null());
  EXPECT_EQ(first["finish_reason"], "stop");
  EXPECT_EQ(body["choices"][1]["finish_reason"], "length");
  EXPECT_FALSE(body["choices"][1]["message"].contains("reasoning_content"));
  EXPECT_EQ(body["usage"], Json::parse(R"({"prompt_tokens": 20, "completion_tokens": 15, "total_tokens": 35,
    "prompt_tokens_details": {"cached_tokens": 8}, "completion_tokens_details": {"reasoning_tokens": 3}})"));
  EXPECT_EQ(body["timings"]["total_ms"], 99);
  EXPECT_EQ(body["timings"]["tokens_per_second"], 0) << "JSON knows no infinity";
}

TEST(ChatResponses, HoldToolCallsWithIdsOfTheirOwn) {
  Reply reply = reply_of("");
  reply.tool_calls = {{"timer", R"({"m": 5})"}, {"light", "{}"}};
  reply.finish_reason = FinishReason::tool_calls;
  const std::vector<Reply> replies = {reply, reply};
  const Json body = Json::parse(chat_response(kHead, replies));
  const Json& message = body["choices"][0]["message"];
  EXPECT_TRUE(message["content"].is_null());
  EXPECT_EQ(message["tool_calls"][0]["type"], "function");
  EXPECT_EQ(message["tool_calls"][0]["function"], Json::parse(R"({"name": "timer", "arguments": "{\"m\": 5}"})"));
  EXPECT_EQ(body["choices"][0]["finish_reason"], "tool_calls");
  std::set<std::string> ids;
  for (const Json& choice : body["choices"]) {
    for (const Json& call : choice["message"]["tool_calls"]) ids.insert(call["id"]);
  }
  EXPECT_EQ(ids.size(), 4U);
  EXPECT_TRUE(ids.begin()->starts_with("call_ab12"));
}

TEST(ChatResponses, SayWhatCutAReplyShort) {
  const auto ended = [](FinishReason reason) {
    Reply reply = reply_of("x");
    reply.finish_reason = reason;
    const Json choice = Json::parse(chat_response(kHead, std::vector{reply}))["choices"][0];
    return choice["finish_reason"].get<std::string>() + " " + choice.value("finish_detail", "");
  };
  EXPECT_EQ(ended(FinishReason::stop), "stop ");
  EXPECT_EQ(ended(FinishReason::length), "length ");
  EXPECT_EQ(ended(FinishReason::loop), "length loop");
  EXPECT_EQ(ended(FinishReason::cancelled), "length cancelled");
  Reply reply = reply_of("");
  reply.truncated_tool_call = "<function=f>";
  EXPECT_EQ(Json::parse(chat_response(kHead, std::vector{reply}))["choices"][0]["message"]["truncated_tool_call"],
            "<function=f>");
}

TEST(ChatResponses, AreJsonWhateverTheReplyHolds) {
  Reply reply = reply_of("a\xFF\"\n\xE2\x82");
  reply.logprobs = {token("\xE2\x82", -std::numeric_limits<float>::infinity())};
  ResponseHead head = kHead;
  head.logprobs = true;
  const Json choice = Json::parse(chat_response(head, std::vector{reply}))["choices"][0];
  EXPECT_EQ(choice["message"]["content"], "a\xEF\xBF\xBD\"\n\xEF\xBF\xBD");
  const Json entry = choice["logprobs"]["content"][0];
  EXPECT_EQ(entry["bytes"], Json::parse("[226, 130]"));
  EXPECT_EQ(entry["logprob"], -9999);
  EXPECT_EQ(entry["top_logprobs"][0]["token"], entry["token"]);
}

TEST(ChatStreams, GoFromTheRoleToTheFinishReason) {
  ChatStream stream(kHead, 2);
  const Json begin = Json::parse(stream.begin());
  EXPECT_EQ(begin["object"], "chat.completion.chunk");
  EXPECT_EQ(begin["choices"][0]["index"], 2);
  EXPECT_EQ(begin["choices"][0]["delta"]["role"], "assistant");
  EXPECT_TRUE(begin["choices"][0]["finish_reason"].is_null());
  EXPECT_FALSE(begin.contains("usage"));
  EXPECT_EQ(Json::parse(stream.reasoning("hm"))["choices"][0]["delta"], Json::parse(R"({"reasoning_content": "hm"})"));
  EXPECT_EQ(Json::parse(stream.content("one"))["choices"][0]["delta"], Json::parse(R"({"content": "one"})"));
  const Json end = Json::parse(stream.end(reply_of("one")));
  EXPECT_EQ(end["choices"][0]["delta"], Json::object());
  EXPECT_EQ(end["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(end["timings"]["total_ms"], 12.346);
  EXPECT_EQ(end["timings"]["reused_tokens"], 8);
  for (const Json& chunk : {begin, end}) EXPECT_EQ(chunk["id"], "chatcmpl-ab12");
}

TEST(ChatStreams, SendCallsInTwoPieces) {
  ChatStream stream(kHead);
  std::vector<std::string> payloads = stream.tool_call({"timer", R"({"m": 5})"});
  ASSERT_EQ(payloads.size(), 2U);
  const Json first = Json::parse(payloads[0])["choices"][0]["delta"]["tool_calls"][0];
  EXPECT_EQ(first["index"], 0);
  EXPECT_EQ(first["type"], "function");
  EXPECT_EQ(first["function"], Json::parse(R"({"name": "timer", "arguments": ""})"));
  const Json second = Json::parse(payloads[1])["choices"][0]["delta"]["tool_calls"][0];
  EXPECT_EQ(second, Json::parse(R"({"index": 0, "function": {"arguments": "{\"m\": 5}"}})"));
  payloads = stream.tool_call({"light", "{}"});
  const Json next = Json::parse(payloads[0])["choices"][0]["delta"]["tool_calls"][0];
  EXPECT_EQ(next["index"], 1);
  EXPECT_NE(next["id"], first["id"]);
  EXPECT_EQ(stream.tool_calls(), 2U);

  // The same ids as in a whole response.
  Reply reply = reply_of("");
  reply.tool_calls = {{"timer", "{}"}, {"light", "{}"}};
  const Json whole = Json::parse(chat_response(kHead, std::vector{reply}))["choices"][0]["message"]["tool_calls"];
  EXPECT_EQ(whole[0]["id"], first["id"]);
  EXPECT_EQ(whole[1]["id"], next["id"]);
}

TEST(ChatStreams, CarryLogprobsWithTheNextPiece) {
  ChatStream stream(kHead);
  stream.logprob(token("o", -0.5F));
  stream.logprob(token("ne", -0.25F));
  const Json chunk = Json::parse(stream.content("one"));
  ASSERT_EQ(chunk["choices"][0]["logprobs"]["content"].size(), 2U);
  EXPECT_EQ(chunk["choices"][0]["logprobs"]["content"][1]["logprob"], -0.25);
  EXPECT_TRUE(Json::parse(stream.content("x"))["choices"][0]["logprobs"].is_null());
  stream.logprob(token("!", -1));
  EXPECT_EQ(Json::parse(stream.end(reply_of("onex!")))["choices"][0]["logprobs"]["content"].size(), 1U);
}

TEST(ChatStreams, EndWithTheUsageIfAskedFor) {
  ResponseHead head = kHead;
  head.include_usage = true;
  ChatStream stream(head);
  EXPECT_TRUE(Json::parse(stream.begin()).at("usage").is_null());
  EXPECT_TRUE(Json::parse(stream.end(reply_of("x"))).at("usage").is_null());
  const Json last = Json::parse(chat_usage_chunk(head, std::vector{reply_of("x")}));
  EXPECT_EQ(last["object"], "chat.completion.chunk");
  EXPECT_EQ(last["choices"], Json::array());
  EXPECT_EQ(last["usage"]["completion_tokens"], 8);
}

TEST(TextResponses, EchoAndCountPerPrompt) {
  const std::vector<Reply> replies = {reply_of("a", 0), reply_of("b", 0), reply_of("c", 0), reply_of("d", 0)};
  const std::vector<std::string> echoes = {"P", "P", "Q", "Q"};
  const Json body = Json::parse(text_response(kHead, replies, echoes, 2));
  EXPECT_EQ(body["object"], "text_completion");
  EXPECT_EQ(body["choices"][1]["text"], "Pb");
  EXPECT_EQ(body["choices"][2]["text"], "Qc");
  EXPECT_EQ(body["choices"][3]["index"], 3);
  EXPECT_EQ(body["usage"]["prompt_tokens"], 40) << "each prompt once";
  EXPECT_EQ(body["usage"]["prompt_tokens_details"]["cached_tokens"], 16);
  EXPECT_EQ(body["usage"]["completion_tokens"], 20);
  EXPECT_EQ(Json::parse(text_response(kHead, replies))["choices"][0]["text"], "a");
}

TEST(TextResponses, HaveLogprobsInColumns) {
  Reply reply = reply_of("é!");
  reply.logprobs = {token("\xC3", -1), token("\xA9", -2), token("!", -3)};
  ResponseHead head = kHead;
  head.logprobs = true;
  const std::string echo = "ü ";
  const Json whole = Json::parse(text_response(head, std::vector{reply}, std::vector{echo}))["choices"][0]["logprobs"];
  EXPECT_EQ(whole["token_logprobs"], Json::parse("[-1, -2, -3]"));
  EXPECT_EQ(whole["text_offset"], Json::parse("[2, 3, 3]"));
  EXPECT_EQ(whole["top_logprobs"][2], Json::parse(R"({"!": -3})"));

  TextStream stream(head, 0, echo);
  EXPECT_EQ(Json::parse(stream.begin())["choices"][0]["text"], echo);
  stream.logprob(reply.logprobs[0]);
  stream.logprob(reply.logprobs[1]);
  EXPECT_EQ(Json::parse(stream.content("é"))["choices"][0]["logprobs"]["text_offset"], Json::parse("[2, 3]"));
  stream.logprob(reply.logprobs[2]);
  EXPECT_EQ(Json::parse(stream.content("!"))["choices"][0]["logprobs"]["text_offset"], Json::parse("[3]"));
  const Json end = Json::parse(stream.end(reply));
  EXPECT_EQ(end["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(end["choices"][0]["text"], "");
  EXPECT_EQ(TextStream(head).begin(), "");
}

TEST(Models, AreListed) {
  const std::vector<ModelEntry> models = {{.id = "mini", .created = 5, .context = 4096}};
  const Json body = Json::parse(models_response(models));
  EXPECT_EQ(body["object"], "list");
  EXPECT_EQ(body["data"][0], Json::parse(model_response(models[0])));
  EXPECT_EQ(body["data"][0]["id"], "mini");
  EXPECT_EQ(body["data"][0]["object"], "model");
  EXPECT_EQ(body["data"][0]["max_model_len"], 4096);
}

}  // namespace
}  // namespace qwen35::server
