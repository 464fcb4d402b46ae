#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace qwen35::test {

/// What came in.
struct HubRequest {
  std::string target;                          ///< path and query
  std::map<std::string, std::string> headers;  ///< names in lower case
  [[nodiscard]] std::string header(const std::string& name) const;
};

/// The other end of a request: whatever is sent goes out as it is.
class HubConnection {
 public:
  HubConnection(int fd, const std::atomic<bool>& stopping) : fd_(fd), stopping_(stopping) {}
  /// false: the client has gone.
  bool send(std::string_view bytes) const;
  /// A whole response. `headers`: further lines, each with "\r\n".
  void respond(int status, std::string_view body, const std::string& headers = {}) const;
  /// Keeps the connection open and silent until the client or the server goes.
  void stall() const;
  void sleep(int milliseconds) const;

 private:
  int fd_;
  const std::atomic<bool>& stopping_;
};

/// A hub on 127.0.0.1 that speaks the part of the Hugging Face interface that downloads use: revision, tree (in pages),
/// resolve, and a store that large files are redirected to. A hook may answer any request in its place, and misbehave.
class HubServer {
 public:
  /// true: the request was answered.
  using Hook = std::function<bool(const HubRequest&, const HubConnection&)>;

  HubServer();
  ~HubServer();
  HubServer(const HubServer&) = delete;
  HubServer& operator=(const HubServer&) = delete;

  [[nodiscard]] std::string endpoint() const { return "http://127.0.0.1:" + std::to_string(port_); }
  /// Another name for the same port: another host to a client.
  [[nodiscard]] std::string other_host() const { return "http://localhost:" + std::to_string(port_); }

  /// A repository's commit; `revision` points to it. Files are added to the commit of the last call.
  void add_repository(const std::string& id, const std::string& commit = std::string(40, 'a'),
                      const std::string& revision = "main");
  /// `large`: kept in the store, named by SHA-256; else by git's SHA-1. Returns the hash.
  std::string add_file(const std::string& path, const std::string& bytes, bool large);
  /// Replaces the last commit's listing.
  void set_tree(const std::string& json);
  void set_page_size(std::size_t entries) { page_size_ = entries; }
  void set_hook(Hook hook);
  /// Where large files are redirected to; "": here.
  void set_store(const std::string& endpoint) { store_ = endpoint; }

  [[nodiscard]] std::vector<HubRequest> requests() const;
  /// How many targets hold `part`.
  [[nodiscard]] std::size_t count(std::string_view part) const;

 private:
  struct File {
    std::string path;
    std::string bytes;
    std::string hash;
    bool large = false;
  };
  struct Repository {
    std::string id;
    std::string commit;
    std::string revision;
    std::vector<File> files;
    std::string tree;
  };

  void accept_all();
  void serve(int fd);
  void answer(const HubRequest& request, const HubConnection& connection) const;
  void answer_tree(const Repository& repository, const HubRequest& request, const HubConnection& connection) const;
  static void send_file(const File& file, const HubRequest& request, const HubConnection& connection,
                        const std::string& headers);

  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> stopping_{false};
  std::thread acceptor_;
  mutable std::mutex mutex_;
  std::vector<std::thread> workers_;
  std::vector<HubRequest> requests_;
  std::vector<Repository> repositories_;
  std::size_t page_size_ = 1000;
  std::string store_;
  Hook hook_;
};

std::string sha256(std::string_view bytes);
std::string git_sha1(std::string_view bytes);
/// Bytes that look like nothing, always the same for a seed.
std::string noise(std::size_t size, unsigned seed = 1);

}  // namespace qwen35::test
