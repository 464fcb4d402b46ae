#include "server/request_head.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace qwen35::server {
namespace {

std::string lines(std::string_view request, std::string_view headers) {
  std::string text(request);
  return text.append("\r\nHost: localhost\r\n").append(headers) += "\r\n";
}

int status(std::string_view head, const HttpLimits& limits = {}) {
  const auto result = check_head(head, limits);
  const auto* const refusal = std::get_if<HeadRefusal>(&result);
  if (refusal != nullptr) {
    EXPECT_FALSE(refusal->message.empty());
    EXPECT_FALSE(refusal->code.empty());
  }
  return refusal == nullptr ? 200 : refusal->status;
}

TEST(RequestHead, WellFormedOnesPass) {
  EXPECT_EQ(status(lines("GET / HTTP/1.1", "")), 200);
  EXPECT_EQ(status("GET /health HTTP/1.0\r\n\r\n"), 200);  // balancers ask so
  EXPECT_EQ(status(lines("POST /a?b=c HTTP/1.1", "Content-Length: 12\r\nX-Empty:\r\n")), 200);
  EXPECT_EQ(status(lines("OPTIONS * HTTP/1.1", "")), 200);
}

TEST(RequestHead, RefusesWhatIsMalformedOrCouldBeReadInTwoWays) {
  const std::string nul("X: a\0b\r\n", 8);
  for (const std::string& head : {std::string("GET / HTTP/1.1\nHost: a\n\n"),
                                  std::string("GET / HTTP/1.1\r\nHost: a\r\n"),
                                  std::string("\r\n\r\n"),
                                  std::string(),
                                  std::string("GET /\r\n\r\n"),
                                  std::string("GET  HTTP/1.1\r\nHost: a\r\n\r\n"),
                                  std::string("GET / a HTTP/1.1\r\nHost: a\r\n\r\n"),
                                  std::string("G\"T / HTTP/1.1\r\nHost: a\r\n\r\n"),
                                  std::string("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
                                  std::string("GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n"),
                                  std::string("GET / HTTP/1.1\r\n\r\n"),  // no Host
                                  lines("GET / HTTP/1.1", "Host: two\r\n"),
                                  lines("GET / HTTP/1.1", "X : spaced\r\n"),
                                  lines("GET / HTTP/1.1", " folded\r\n"),
                                  lines("GET / HTTP/1.1", "no colon\r\n"),
                                  lines("GET / HTTP/1.1", nul),
                                  lines("GET / HTTP/1.1", "X: a\rb\r\n"),
                                  lines("POST / HTTP/1.1", "Content-Length: -1\r\n"),
                                  lines("POST / HTTP/1.1", "Content-Length: +1\r\n"),
                                  lines("POST / HTTP/1.1", "Content-Length: 1 1\r\n"),
                                  lines("POST / HTTP/1.1", "Content-Length: 0x1\r\n"),
                                  lines("POST / HTTP/1.1", "Content-Length:\r\n"),
                                  lines("POST / HTTP/1.1", "Content-Length: 1\r\nContent-Length: 1\r\n"),
                                  lines("POST / HTTP/1.1", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
                                  std::string("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
                                  lines("GET / HTTP/1.1", "") + "\r\n"}) {
    EXPECT_EQ(status(head), 400) << head;
  }
}

TEST(RequestHead, RefusesWithTheStatusThatSaysWhy) {
  EXPECT_EQ(status(lines("POST / HTTP/1.1", "")), 411);
  EXPECT_EQ(status(lines("BREW / HTTP/1.1", "")), 501);
  EXPECT_EQ(status(lines("GET / HTTP/2.0", "")), 505);
  EXPECT_EQ(status(lines("POST / HTTP/1.1", "Transfer-Encoding: gzip, chunked\r\n")), 501);
  EXPECT_EQ(status(lines("POST / HTTP/1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")), 501);
  EXPECT_EQ(status(lines("POST / HTTP/1.1", "Content-Length: 9\r\nContent-Encoding: gzip\r\n")), 415);
  EXPECT_EQ(status(lines("POST / HTTP/1.1", "Content-Length: 9\r\nExpect: miracles\r\n")), 417);
  EXPECT_EQ(status(lines("POST / HTTP/1.1", "Content-Length: 99999999999999999999999\r\n")), 413);
}

TEST(RequestHead, LimitsHoldToTheByte) {
  HttpLimits limits;
  limits.max_target_bytes = 10;
  EXPECT_EQ(status(lines("GET /123456789 HTTP/1.1", ""), limits), 200);
  EXPECT_EQ(status(lines("GET /1234567890 HTTP/1.1", ""), limits), 414);
  limits.max_headers = 2;
  EXPECT_EQ(status(lines("GET / HTTP/1.1", "A: b\r\n"), limits), 200);
  EXPECT_EQ(status(lines("GET / HTTP/1.1", "A: b\r\nC: d\r\n"), limits), 431);
  limits.max_body_bytes = 100;
  EXPECT_EQ(status(lines("POST / HTTP/1.1", "Content-Length: 100\r\n"), limits), 200);
  EXPECT_EQ(status(lines("POST / HTTP/1.1", "Content-Length: 101\r\n"), limits), 413);
  const std::string head = lines("GET / HTTP/1.1", "");
  limits.max_head_bytes = head.size();
  EXPECT_EQ(status(head, limits), 200);
  limits.max_head_bytes = head.size() - 1;
  EXPECT_EQ(status(head, limits), 431);
  EXPECT_EQ(status(lines("GET / HTTP/1.1", "A: " + std::string(9000, '%') + "\r\n"), {.max_head_bytes = 1 << 20}), 431);
}

TEST(RequestHead, HandsOnOnlyWhatTheLibraryMayActUpon) {
  const auto result =
      check_head(lines("POST /x HTTP/1.1",
                       "content-length: 5\r\nRange: bytes=0-1,0-1\r\nAccept-Encoding: gzip\r\nREMOTE_ADDR: 1.2.3.4\r\n"
                       "Authorization: Bearer a%62c\r\nConnection: Keep-Alive, Close\r\nExpect: 100-Continue\r\n"),
                 {});
  const auto& head = std::get<RequestHead>(result);
  EXPECT_EQ(head.text,
            "POST /x HTTP/1.1\r\nHost: localhost\r\ncontent-length: 5\r\nAuthorization: Bearer a%2562c\r\n"
            "Connection: close\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(head.method, "POST");
  EXPECT_EQ(head.content_length, 5U);
  EXPECT_FALSE(head.keep_alive);
  EXPECT_FALSE(head.chunked);
  EXPECT_TRUE(
      std::get<RequestHead>(check_head(lines("POST / HTTP/1.1", "Transfer-Encoding: Chunked\r\n"), {})).chunked);
}

}  // namespace
}  // namespace qwen35::server
