#include "hub/hub_server.h"

#include <netinet/in.h>
#include <openssl/evp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>

namespace qwen35::test {
namespace {

std::string hash_of(const EVP_MD* kind, std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), hash.data(), &size, kind, nullptr) != 1) throw std::runtime_error("hash");
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    std::array<char, 3> digits{};
    std::snprintf(digits.data(), digits.size(), "%02x", hash[i]);
    text += digits.data();
  }
  return text;
}

std::string json_string(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + "\"";
}

}  // namespace

std::string sha256(std::string_view bytes) { return hash_of(EVP_sha256(), bytes); }

std::string git_sha1(std::string_view bytes) {
  std::string blob = "blob " + std::to_string(bytes.size());
  blob += '\0';
  return hash_of(EVP_sha1(), blob.append(bytes));
}

std::string noise(std::size_t size, unsigned seed) {
  std::minstd_rand random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random() >> 7U);
  return bytes;
}

std::string HubRequest::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

bool HubConnection::send(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t count = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

void HubConnection::respond(int status, std::string_view body, const std::string& headers) const {
  (void)(send("HTTP/1.1 " + std::to_string(status) + " X\r\nConnection: close\r\nContent-Length: " +
              std::to_string(body.size()) + "\r\n" + headers + "\r\n") &&
         send(body));
}

void HubConnection::stall() const {
  pollfd gone{.fd = fd_, .events = POLLRDHUP, .revents = 0};
  while (!stopping_ && poll(&gone, 1, 20) == 0) {
  }
}

void HubConnection::sleep(int milliseconds) const {
  for (int slept = 0; slept < milliseconds && !stopping_; slept += 10) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

HubServer::HubServer() : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (listener_ < 0 || bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(listener_, 64) != 0 || getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("cannot listen on 127.0.0.1");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_all(); });
}

HubServer::~HubServer() {
  stopping_ = true;
  acceptor_.join();
  for (std::thread& worker : workers_) worker.join();
  close(listener_);
}

void HubServer::accept_all() {
  while (!stopping_) {
    pollfd waiting{.fd = listener_, .events = POLLIN, .revents = 0};
    if (poll(&waiting, 1, 20) <= 0) continue;
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    const std::lock_guard lock(mutex_);
    workers_.emplace_back([this, fd] {
      serve(fd);
      shutdown(fd, SHUT_RDWR);
      close(fd);
    });
  }
}

void HubServer::serve(int fd) {
  std::string text;
  while (text.find("\r\n\r\n") == std::string::npos) {
    pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
    if (stopping_) return;
    if (poll(&waiting, 1, 20) == 0) continue;
    std::array<char, 4096> block{};
    const ssize_t count = recv(fd, block.data(), block.size(), 0);
    if (count <= 0) return;
    text.append(block.data(), static_cast<std::size_t>(count));
  }
  HubRequest request;
  const std::size_t first = text.find(' ') + 1;
  request.target = text.substr(first, text.find(' ', first) - first);
  for (std::size_t at = text.find("\r\n") + 2; at < text.size();) {
    const std::size_t end = text.find("\r\n", at);
    const std::size_t colon = text.find(": ", at);
    if (end == at || colon == std::string::npos || colon > end) break;
    std::string name = text.substr(at, colon - at);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    request.headers[name] = text.substr(colon + 2, end - colon - 2);
    at = end + 2;
  }
  Hook hook;
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
    hook = hook_;
  }
  const HubConnection connection(fd, stopping_);
  if (hook && hook(request, connection)) return;
  answer(request, connection);
}

void HubServer::answer(const HubRequest& request, const HubConnection& connection) const {
  std::vector<Repository> repositories;
  {
    const std::lock_guard lock(mutex_);
    repositories = repositories_;
  }
  for (const Repository& repository : repositories) {
    const std::string api = "/api/models/" + repository.id;
    for (const std::string& revision : {repository.revision, repository.commit}) {
      if (request.target == api + "/revision/" + revision) {
        return connection.respond(200, R"({"id": "x", "sha": ")" + repository.commit + "\"}",
                                  "Content-Type: application/json; charset=utf-8\r\n");
      }
    }
    if (request.target.starts_with(api + "/tree/" + repository.commit + "?recursive=true")) {
      return answer_tree(repository, request, connection);
    }
    for (const File& file : repository.files) {
      if (request.target == "/" + repository.id + "/resolve/" + repository.commit + "/" + file.path) {
        if (!file.large) return send_file(file, request, connection, "X-Repo-Commit: " + repository.commit + "\r\n");
        return connection.respond(302, "Found. Redirecting",
                                  "Location: " + store_ + "/store/" + file.hash + "\r\nX-Linked-Etag: \"" + file.hash +
                                      "\"\r\nX-Linked-Size: " + std::to_string(file.bytes.size()) + "\r\n");
      }
      if (file.large && request.target == "/store/" + file.hash) return send_file(file, request, connection, "");
    }
  }
  connection.respond(request.target.starts_with("/api/") ? 401 : 404, "Invalid username or password.",
                     "X-Error-Code: RepoNotFound\r\n");
}

void HubServer::answer_tree(const Repository& repository, const HubRequest& request,
                            const HubConnection& connection) const {
  const std::string type = "Content-Type: application/json; charset=utf-8\r\n";
  if (!repository.tree.empty()) return connection.respond(200, repository.tree, type);
  const std::size_t cursor = request.target.find("&cursor=");
  const std::size_t first = cursor == std::string::npos ? 0 : std::stoul(request.target.substr(cursor + 8));
  const std::size_t last = std::min(first + page_size_, repository.files.size());
  std::string body = R"([{"type": "directory", "oid": ")" + std::string(40, 'd') + R"(", "size": 0, "path": "folder"})";
  for (std::size_t i = first; i < last; ++i) {
    const File& file = repository.files[i];
    const std::string size = std::to_string(file.bytes.size());
    body += R"(, {"type": "file", "path": )" + json_string(file.path) + R"(, "size": )" + size;
    if (file.large) {
      body += R"(, "oid": ")" + git_sha1("pointer to " + file.hash) + R"(", "lfs": {"oid": ")" + file.hash +
              R"(", "size": )" + size + R"(, "pointerSize": 134})";
    } else {
      body += R"(, "oid": ")" + file.hash + "\"";
    }
    body += "}";
  }
  const std::string link = last == repository.files.size()
                               ? ""
                               : "Link: <https://huggingface.co/api/models/" + repository.id + "/tree/" +
                                     repository.commit + "?recursive=true&cursor=" + std::to_string(last) +
                                     ">; rel=\"next\"\r\n";
  connection.respond(200, body + "]", type + link);
}

void HubServer::send_file(const File& file, const HubRequest& request, const HubConnection& connection,
                          const std::string& headers) {
  const std::string etag = "\"" + file.hash + "\"";
  const std::string common = headers + "ETag: " + etag + "\r\nContent-Type: application/octet-stream\r\n";
  const std::string range = request.header("range");
  const std::string condition = request.header("if-range");
  if (range.empty() || (!condition.empty() && condition != etag)) return connection.respond(200, file.bytes, common);
  const std::size_t first = std::stoul(range.substr(std::string_view("bytes=").size()));
  const std::string size = std::to_string(file.bytes.size());
  if (first >= file.bytes.size()) return connection.respond(416, "", "Content-Range: bytes */" + size + "\r\n");
  connection.respond(206, file.bytes.substr(first),
                     common + "Content-Range: bytes " + std::to_string(first) + "-" +
                         std::to_string(file.bytes.size() - 1) + "/" + size + "\r\n");
}

void HubServer::add_repository(const std::string& id, const std::string& commit, const std::string& revision) {
  const std::lock_guard lock(mutex_);
  for (Repository& repository : repositories_) {  // a revision points to one commit
    if (repository.id == id && repository.revision == revision) repository.revision = repository.commit;
  }
  repositories_.push_back({.id = id, .commit = commit, .revision = revision, .files = {}, .tree = {}});
}

std::string HubServer::add_file(const std::string& path, const std::string& bytes, bool large) {
  const std::lock_guard lock(mutex_);
  const std::string hash = large ? sha256(bytes) : git_sha1(bytes);
  repositories_.back().files.push_back({.path = path, .bytes = bytes, .hash = hash, .large = large});
  return hash;
}

void HubServer::set_tree(const std::string& json) {
  const std::lock_guard lock(mutex_);
  repositories_.back().tree = json;
}

void HubServer::set_hook(Hook hook) {
  const std::lock_guard lock(mutex_);
  hook_ = std::move(hook);
}

std::vector<HubRequest> HubServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

std::size_t HubServer::count(std::string_view part) const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(std::count_if(requests_.begin(), requests_.end(), [part](const HubRequest& request) {
    return request.target.find(part) != std::string::npos;
  }));
}

}  // namespace qwen35::test
