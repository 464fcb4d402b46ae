#pragma once

#include <string>
#include <string_view>

namespace qwen35::server {

/// A client that may misbehave: a plain socket to 127.0.0.1. Waits at most 20 s for anything.
class TestClient {
 public:
  /// `receive_buffer`: bytes the system keeps for a client that does not read; 0: as usual.
  explicit TestClient(int port, int receive_buffer = 0);
  ~TestClient();
  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;

  [[nodiscard]] bool connected() const { return fd_ >= 0; }
  void send(std::string_view text);
  /// All that comes until the server closes, or the time is up.
  std::string read_all();
  /// All up to and with `end`, or what came before the connection ended.
  std::string read_until(std::string_view end);
  /// One answer of known length: head and body.
  std::string read_answer();
  /// Nothing more will be sent; what the server says can still be read.
  void half_close();
  void close();

 private:
  bool receive();
  int fd_ = -1;
  std::string received_;
};

/// Requests in HTTP/1.1 as clients make them; `headers`: further lines, each with its CR LF.
std::string get_text(std::string_view path, std::string_view headers = {}, std::string_view method = "GET");
std::string post_text(std::string_view path, std::string_view body, std::string_view headers = {});

/// One request over a connection of its own: the whole answer.
std::string get(int port, std::string_view path, std::string_view headers = {});
std::string post(int port, std::string_view path, std::string_view body, std::string_view headers = {});

int status_of(std::string_view answer);  ///< 0: no answer
std::string body_of(std::string_view answer);

}  // namespace qwen35::server
