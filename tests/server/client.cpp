#include "server/client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <utility>

namespace qwen35::server {
namespace {

constexpr int kPatience = 20000;  ///< ms

}  // namespace

TestClient::TestClient(int port, int receive_buffer) {
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (receive_buffer > 0) setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) close();
}

TestClient::~TestClient() { close(); }

void TestClient::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void TestClient::half_close() { shutdown(fd_, SHUT_WR); }

void TestClient::send(std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
    if (count <= 0) return;  // the server has closed: what it said can be read
    text.remove_prefix(static_cast<std::size_t>(count));
  }
}

bool TestClient::receive() {
  if (fd_ < 0) return false;
  pollfd polled{fd_, POLLIN, 0};
  if (poll(&polled, 1, kPatience) <= 0) return false;
  std::array<char, 4096> buffer;
  const ssize_t count = recv(fd_, buffer.data(), buffer.size(), 0);
  if (count <= 0) return false;
  received_.append(buffer.data(), static_cast<std::size_t>(count));
  return true;
}

std::string TestClient::read_all() {
  while (receive()) {
  }
  return std::exchange(received_, {});
}

std::string TestClient::read_until(std::string_view end) {
  std::size_t at = received_.find(end);
  while (at == std::string::npos && receive()) at = received_.find(end);
  if (at == std::string::npos) return std::exchange(received_, {});
  std::string text = received_.substr(0, at + end.size());
  received_.erase(0, at + end.size());
  return text;
}

std::string TestClient::read_answer() {
  std::string head = read_until("\r\n\r\n");
  const std::size_t at = head.find("Content-Length: ");
  if (at == std::string::npos) return head;
  const auto length = static_cast<std::size_t>(std::atoll(head.c_str() + at + 16));
  while (received_.size() < length && receive()) {
  }
  head += received_.substr(0, length);
  received_.erase(0, length);
  return head;
}

std::string get_text(std::string_view path, std::string_view headers, std::string_view method) {
  std::string text(method);
  return text.append(" ").append(path).append(" HTTP/1.1\r\nHost: localhost\r\n").append(headers) += "\r\n";
}

std::string post_text(std::string_view path, std::string_view body, std::string_view headers) {
  std::string text = "POST ";
  text.append(path).append(" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ");
  return text.append(std::to_string(body.size())).append("\r\n").append(headers).append("\r\n").append(body);
}

std::string get(int port, std::string_view path, std::string_view headers) {
  TestClient client(port);
  client.send(get_text(path, std::string(headers) + "Connection: close\r\n"));
  return client.read_all();
}

std::string post(int port, std::string_view path, std::string_view body, std::string_view headers) {
  TestClient client(port);
  client.send(post_text(path, body, std::string(headers) + "Connection: close\r\n"));
  return client.read_all();
}

int status_of(std::string_view answer) {
  return answer.starts_with("HTTP/1.1 ") ? std::atoi(std::string(answer.substr(9, 3)).c_str()) : 0;
}

std::string body_of(std::string_view answer) {
  const std::size_t end = answer.find("\r\n\r\n");
  return end == std::string_view::npos ? "" : std::string(answer.substr(end + 4));
}

}  // namespace qwen35::server
