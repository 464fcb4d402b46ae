// Downloads from a hub that cuts, lies, redirects, throttles, stalls and sends what nobody asked for; and from a disk
// that is full.
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>

#include "hub/cache.h"
#include "hub/digest.h"
#include "hub/download.h"
#include "hub/hub_fixture.h"
#include "hub/hub_server.h"
#include "hub/transfer.h"

namespace qwen35::hub {
namespace {

using test::HubConnection;
using test::HubRequest;
using test::HubServer;
using test::noise;
using testing::AllOf;
using testing::HasSubstr;

constexpr const char* kId = "org/model";
const std::string kCommit(40, 'a');
constexpr std::size_t kSize = 400000;

class MisbehaviourTest : public HubTest {
 protected:
  MisbehaviourTest() {
    set("HF_ENDPOINT", server_.endpoint());
    server_.add_repository(kId, kCommit);
    server_.add_file("config.json", "{\"model\": 1}", false);
    server_.add_file("tokenizer.json", noise(5000, 7), true);
    hash_ = server_.add_file("model.safetensors", weights_, true);
  }

  static DownloadOptions quick() { return {.retries = 3, .backoff_ms = 5, .stall_seconds = 20}; }

  /// `answer` gets each request for the weights, from 1 on; true: answered.
  void on_weights(const std::function<bool(int, const HubRequest&, const HubConnection&)>& answer) {
    server_.set_hook([this, answer](const HubRequest& request, const HubConnection& connection) {
      return request.target == "/store/" + hash_ && answer(++tries_, request, connection);
    });
  }
  [[nodiscard]] std::string head(std::size_t size, const std::string& more = {}) const {
    return "HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"" + hash_ + "\"\r\n" + more +
           (size == 0 ? "" : "Content-Length: " + std::to_string(size) + "\r\n") + "\r\n";
  }
  void expect_whole(const CachedModel& model) const { EXPECT_EQ(bytes_of(model.path / "model.safetensors"), weights_); }
  /// What a failed download must leave: no name for bytes that are not what they should be.
  void expect_nothing_wrong_is_there() const {
    EXPECT_FALSE(find(kId));
    EXPECT_FALSE(fs::exists(cache() / "models--org--model" / "blobs" / hash_));
  }
  [[nodiscard]] fs::path incomplete() const { return CachedRepository(cache(), kId).incomplete(hash_); }

  const std::string weights_ = noise(kSize);
  std::string hash_;
  HubServer server_;
  std::atomic<int> tries_{0};
};

TEST_F(MisbehaviourTest, HashesAreTheKnownOnes) {
  const auto hash = [](std::size_t digits, std::string_view text) {
    Digest digest(std::string(digits, '0'), text.size());
    digest.add(std::as_bytes(std::span(text)));
    return digest.finish();
  };
  EXPECT_EQ(hash(64, "abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hash(40, "hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");  // git hash-object
  EXPECT_EQ(hash(40, ""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
}

TEST_F(MisbehaviourTest, ACutConnectionIsTakenUpWhereItWasCut) {
  on_weights([this](int attempt, const HubRequest& request, const HubConnection& connection) {
    if (attempt > 5) return false;
    // More cuts than retries: each brings something.
    const std::size_t first = attempt == 1 ? 0 : std::stoul(request.header("range").substr(6));
    EXPECT_EQ(first, static_cast<std::size_t>(attempt - 1) * 50000);
    const std::string range = "Content-Range: bytes " + std::to_string(first) + "-" + std::to_string(kSize - 1) + "/" +
                              std::to_string(kSize) + "\r\n";
    std::string start = head(kSize - first, attempt == 1 ? "" : range);
    if (attempt > 1) start.replace(9, 3, "206");
    (void)(connection.send(start) && connection.send(std::string_view(weights_).substr(first, 50000)));
    return true;
  });
  const CachedModel model = download(kId, quick());
  expect_whole(model);
  EXPECT_EQ(model.downloaded_bytes, model.bytes);  // no byte twice
  EXPECT_EQ(tries_, 6);
}

TEST_F(MisbehaviourTest, WhatAnEarlierRunLeftIsContinued) {
  fs::create_directories(incomplete().parent_path());
  std::ofstream(incomplete(), std::ios::binary) << weights_.substr(0, 300000);
  const CachedModel model = download(kId, quick());
  expect_whole(model);
  EXPECT_EQ(model.downloaded_bytes, model.bytes - 300000);
}

TEST_F(MisbehaviourTest, RubbishOfAnEarlierRunIsThrownAway) {
  fs::create_directories(incomplete().parent_path());
  std::ofstream(incomplete(), std::ios::binary) << noise(300000, 99);
  expect_whole(download(kId, quick()));
  fs::remove_all(cache());
  fs::create_directories(incomplete().parent_path());
  std::ofstream(incomplete(), std::ios::binary) << noise(kSize + 1, 99);
  expect_whole(download(kId, quick()));
  fs::remove_all(cache());
  fs::create_directories(incomplete().parent_path());
  fs::create_symlink(folder() / "victim", incomplete());
  EXPECT_THAT(refusal(ErrorCode::bad_file, [] { (void)download(kId, quick()); }), HasSubstr("incomplete"));
  EXPECT_FALSE(fs::exists(folder() / "victim"));
}

TEST_F(MisbehaviourTest, AServerWithoutRangesBeginsAnew) {
  on_weights([this](int attempt, const HubRequest&, const HubConnection& connection) {
    if (attempt == 1) {
      (void)(connection.send(head(kSize)) && connection.send(std::string_view(weights_).substr(0, 100000)));
    } else {
      connection.respond(200, weights_);
    }
    return true;
  });
  expect_whole(download(kId, quick()));
  EXPECT_EQ(tries_, 2);
}

TEST_F(MisbehaviourTest, AFileThatChangesMeanwhileBeginsAnew) {
  const std::string stale = noise(kSize, 5);
  on_weights([&](int attempt, const HubRequest& request, const HubConnection& connection) {
    if (attempt > 1) {
      EXPECT_EQ(request.header("if-range"), "\"stale\"");
      return false;  // its ETag differs: the whole of the right one comes
    }
    (void)(connection.send("HTTP/1.1 200 OK\r\nETag: \"stale\"\r\nContent-Length: " + std::to_string(kSize) +
                           "\r\n\r\n") &&
           connection.send(std::string_view(stale).substr(0, 100000)));
    return true;
  });
  expect_whole(download(kId, quick()));
  EXPECT_EQ(tries_, 2);
}

TEST_F(MisbehaviourTest, AMixOfTwoFilesIsNoticedByItsHash) {
  const std::string stale = noise(kSize, 5);
  on_weights([&](int attempt, const HubRequest&, const HubConnection& connection) {
    if (attempt > 1) return false;  // without an ETag there is no If-Range: half of another file follows
    (void)(connection.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(kSize) + "\r\n\r\n") &&
           connection.send(std::string_view(stale).substr(0, 100000)));
    return true;
  });
  expect_whole(download(kId, quick()));
  EXPECT_EQ(tries_, 3);
}

TEST_F(MisbehaviourTest, WrongBytesNeverGetTheName) {
  on_weights([](int, const HubRequest&, const HubConnection& connection) {
    connection.respond(200, noise(kSize, 5));
    return true;
  });
  EXPECT_THAT(refusal(ErrorCode::bad_file, [] { (void)download(kId, quick()); }),
              AllOf(HasSubstr("model.safetensors"), HasSubstr("SHA-256"), HasSubstr(hash_)));
  expect_nothing_wrong_is_there();
  EXPECT_FALSE(fs::exists(incomplete()));
}

TEST_F(MisbehaviourTest, SmallFilesAreCheckedToo) {
  server_.set_hook([](const HubRequest& request, const HubConnection& connection) {
    if (!request.target.ends_with("config.json")) return false;
    connection.respond(200, "{\"model\": 2}");
    return true;
  });
  EXPECT_THAT(refusal(ErrorCode::bad_file, [] { (void)download(kId, quick()); }), HasSubstr("git SHA-1"));
  EXPECT_FALSE(find(kId));
}

TEST_F(MisbehaviourTest, ALieAboutTheSizeIsTold) {
  on_weights([](int, const HubRequest&, const HubConnection& connection) {
    connection.respond(200, noise(1000));
    return true;
  });
  EXPECT_THAT(refusal(ErrorCode::bad_file, [] { (void)download(kId, quick()); }),
              AllOf(HasSubstr("1000 bytes"), HasSubstr(std::to_string(kSize))));
  expect_nothing_wrong_is_there();
}

TEST_F(MisbehaviourTest, AnEndlessBodyEndsAtTheDeclaredSize) {
  std::atomic<std::size_t> sent{0};
  on_weights([&](int, const HubRequest&, const HubConnection& connection) {
    const std::string block = noise(100000, 3);
    if (!connection.send(head(0))) return true;
    while (sent < 1000 * kSize && connection.send(block)) sent += block.size();
    return true;
  });
  EXPECT_THAT(refusal(ErrorCode::bad_file, [] { (void)download(kId, quick()); }), HasSubstr("more than the"));
  EXPECT_LT(sent, 100 * kSize);
  expect_nothing_wrong_is_there();
}

TEST_F(MisbehaviourTest, AnotherPartThanAskedForIsRefused) {
  fs::create_directories(incomplete().parent_path());
  std::ofstream(incomplete(), std::ios::binary) << weights_.substr(0, 1000);
  on_weights([this](int attempt, const HubRequest&, const HubConnection& connection) {
    if (attempt > 1) return false;
    connection.respond(206, weights_.substr(0, kSize - 1000),
                       "Content-Range: bytes 0-" + std::to_string(kSize - 1001) + "/" + std::to_string(kSize) + "\r\n");
    return true;
  });
  expect_whole(download(kId, quick()));
}

TEST_F(MisbehaviourTest, ThrottlingIsWaitedOut) {
  on_weights([](int attempt, const HubRequest&, const HubConnection& connection) {
    if (attempt == 1) connection.respond(429, "slow down", "Retry-After: 1\r\n");
    if (attempt == 2) connection.respond(503, "");
    return attempt <= 2;
  });
  std::vector<std::string> remarks;
  DownloadOptions options = quick();
  options.on_progress = [&](const DownloadProgress& progress) { remarks.push_back(progress.remark); };
  const auto start = Clock::now();
  expect_whole(download(kId, options));
  EXPECT_GE(Clock::now() - start, std::chrono::seconds(1));  // as it was asked to
  EXPECT_THAT(remarks, testing::Contains(AllOf(HasSubstr("429"), HasSubstr("wait 1 s"))));
}

TEST_F(MisbehaviourTest, TheListingIsRetriedToo) {
  std::atomic<int> tries{0};
  server_.set_hook([&](const HubRequest& request, const HubConnection& connection) {
    if (!request.target.starts_with("/api/") || ++tries > 3) return false;
    if (tries == 1) connection.respond(500, "");
    if (tries == 2) (void)connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{");
    return true;  // the third closes without a word
  });
  expect_whole(download(kId, quick()));
}

TEST_F(MisbehaviourTest, PatienceEnds) {
  on_weights([](int, const HubRequest&, const HubConnection& connection) {
    connection.respond(502, "");
    return true;
  });
  EXPECT_THAT(refusal(ErrorCode::network, [] { (void)download(kId, quick()); }),
              AllOf(HasSubstr("502"), HasSubstr("given up after 4 tries")));
  EXPECT_EQ(tries_, 4);
}

TEST_F(MisbehaviourTest, WaitsGrowAndHeedTheServer) {
  const Patience patience{.retries = 5, .backoff_ms = 1000};
  for (int i = 0; i < 100; ++i) {
    EXPECT_GE(patience.wait(1, 0).count(), 750);
    EXPECT_LE(patience.wait(1, 0).count(), 1000);
    EXPECT_GE(patience.wait(3, 0).count(), 3000);
    EXPECT_LE(patience.wait(1000000, 0).count(), 30000);
  }
  EXPECT_EQ(patience.wait(1, 7).count(), 7000);
  EXPECT_EQ(patience.wait(1, 1e9).count(), 300000);
}

TEST_F(MisbehaviourTest, AStalledConnectionIsDropped) {
  on_weights([this](int attempt, const HubRequest&, const HubConnection& connection) {
    if (attempt > 1) return false;
    (void)(connection.send(head(kSize)) && connection.send(std::string_view(weights_).substr(0, 100000)));
    connection.stall();
    return true;
  });
  DownloadOptions options = quick();
  options.stall_seconds = 1;
  const CachedModel model = download(kId, options);
  expect_whole(model);
  EXPECT_EQ(model.downloaded_bytes, model.bytes);
}

TEST_F(MisbehaviourTest, AWebPageIsNoFile) {
  on_weights([](int, const HubRequest&, const HubConnection& connection) {
    connection.respond(200, "<html>Please log in</html>", "Content-Type: text/html; charset=utf-8\r\n");
    return true;
  });
  EXPECT_THAT(refusal(ErrorCode::network, [] { (void)download(kId, quick()); }), HasSubstr("web page"));
  expect_nothing_wrong_is_there();
  server_.set_hook([](const HubRequest&, const HubConnection& connection) {
    connection.respond(200, "<html>Please log in</html>", "Content-Type: Text/HTML\r\n");
    return true;
  });
  EXPECT_THAT(refusal(ErrorCode::network, [] { (void)download(kId, quick()); }), HasSubstr("web page"));
}

TEST_F(MisbehaviourTest, RedirectsLeadToTheWebOnlyAndEnd) {
  std::ofstream(folder() / "secret") << weights_;
  for (const std::string& target : {"file://" + (folder() / "secret").string(), std::string("ftp://127.0.0.1/x"),
                                    std::string("dict://127.0.0.1:1/x")}) {
    on_weights([&](int, const HubRequest&, const HubConnection& connection) {
      connection.respond(302, "", "Location: " + target + "\r\n");
      return true;
    });
    EXPECT_THAT(refusal(ErrorCode::network, [] { (void)download(kId, quick()); }), HasSubstr("redirect")) << target;
  }
  tries_ = 0;
  on_weights([this](int, const HubRequest&, const HubConnection& connection) {
    connection.respond(302, "", "Location: /store/" + hash_ + "\r\n");
    return true;
  });
  EXPECT_THAT(refusal(ErrorCode::network, [] { (void)download(kId, quick()); }), HasSubstr("redirect"));
  EXPECT_LE(tries_, 9);
  expect_nothing_wrong_is_there();
}

TEST_F(MisbehaviourTest, HostileNamesAreRefusedBeforeAnythingIsWritten) {
  for (const char* path : {"../../../../evil.safetensors", "/tmp/evil.safetensors", "a\\\\..\\\\evil", "evil\\u0007"}) {
    server_.set_tree(std::string(R"([{"type": "file", "path": "config.json", "size": 2, "oid": ")") +
                     std::string(40, '0') + R"("}, {"type": "file", "path": ")" + path + R"(", "size": 2, "oid": ")" +
                     std::string(40, '0') + R"("}])");
    EXPECT_THAT(refusal(ErrorCode::bad_file, [] { (void)download(kId, quick()); }), HasSubstr("refused")) << path;
  }
  EXPECT_FALSE(fs::exists(cache()));
  EXPECT_EQ(server_.count("/resolve/"), 0U);
}

TEST_F(MisbehaviourTest, AListingMayNotNameAFileTwiceOrGrowForEver) {
  const std::string entry =
      R"({"type": "file", "path": "config.json", "size": 2, "oid": ")" + std::string(40, '0') + "\"}";
  server_.set_tree("[" + entry + "," + entry + "]");
  EXPECT_THAT(refusal(ErrorCode::bad_file, [] { (void)download(kId, quick()); }), HasSubstr("twice"));
  server_.set_tree("[]");
  EXPECT_THAT(refusal(ErrorCode::not_found, [] { (void)download(kId, quick()); }), HasSubstr("no checkpoint"));
  server_.set_hook([](const HubRequest& request, const HubConnection& connection) {
    if (request.target.find("/tree/") == std::string::npos) return false;
    if (!connection.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[")) return true;
    const std::string blanks(1 << 20, ' ');
    for (int i = 0; i < 1000 && connection.send(blanks); ++i) {
    }
    return true;
  });
  EXPECT_THAT(refusal(ErrorCode::bad_file, [] { (void)download(kId, quick()); }), HasSubstr("larger than"));
}

TEST_F(MisbehaviourTest, WhatIsNotThereIsSaidSo) {
  EXPECT_THAT(refusal(ErrorCode::not_found, [] { (void)download("org/nothing", quick()); }),
              AllOf(HasSubstr("org/nothing"), HasSubstr("HF_TOKEN")));
  server_.set_hook([](const HubRequest& request, const HubConnection& connection) {
    if (request.target.find("/resolve/") == std::string::npos) return false;
    connection.respond(403, "", "X-Error-Code: GatedRepo\r\n");
    return true;
  });
  EXPECT_THAT(refusal(ErrorCode::not_found, [] { (void)download(kId, quick()); }), HasSubstr("terms"));
  set("HF_ENDPOINT", "http://127.0.0.1:1");  // nobody listens there
  EXPECT_THAT(refusal(ErrorCode::network, [] { (void)download(kId, quick()); }), HasSubstr("127.0.0.1:1"));
}

TEST_F(MisbehaviourTest, ACancelStopsSoonAndKeepsWhatCame) {
  on_weights([this](int attempt, const HubRequest&, const HubConnection& connection) {
    if (attempt > 1) return false;
    (void)(connection.send(head(kSize)) && connection.send(std::string_view(weights_).substr(0, 200000)));
    connection.stall();
    return true;
  });
  std::stop_source stop;
  DownloadOptions options = quick();
  options.stall_seconds = 60;
  options.cancel = stop.get_token();
  options.on_progress = [&](const DownloadProgress& progress) {
    if (progress.bytes_done >= 200000) stop.request_stop();
  };
  EXPECT_THAT(refusal(ErrorCode::cancelled, [&] { (void)download(kId, options); }), HasSubstr("goes on from there"));
  EXPECT_EQ(fs::file_size(incomplete()), 200000U);
  const CachedModel model = download(kId, quick());
  expect_whole(model);
  EXPECT_LE(model.downloaded_bytes, 200000U + 5000 + 12);
}

TEST_F(MisbehaviourTest, AFullDiskIsToldBefore) {
  Disk disk = Disk::system();
  disk.free_bytes = [](const fs::path&) { return std::uint64_t{100000}; };
  EXPECT_THAT(refusal(ErrorCode::bad_file, [&] { (void)download_onto(kId, quick(), disk); }),
              AllOf(HasSubstr("405.0 kB are still to come"), HasSubstr("100.0 kB are free"),
                    HasSubstr("305.0 kB are missing")));
  EXPECT_EQ(server_.count("/resolve/"), 0U);
  EXPECT_GT(Disk::system().free_bytes(cache() / "not" / "yet"), 0U);
}

TEST_F(MisbehaviourTest, ADiskThatFillsUpMeanwhileIsTold) {
  Disk disk = Disk::system();
  std::atomic<std::size_t> room{150000};
  disk.write = [&](int fd, const void* bytes, std::size_t size) -> ssize_t {
    if (room == 0) {
      errno = ENOSPC;
      return -1;
    }
    const ssize_t written = ::write(fd, bytes, std::min(size, room.load()));
    room -= static_cast<std::size_t>(written);
    return written;
  };
  EXPECT_THAT(refusal(ErrorCode::bad_file, [&] { (void)download_onto(kId, quick(), disk); }),
              AllOf(HasSubstr("No space left"), HasSubstr("still to come"), HasSubstr("HF_HUB_CACHE")));
  expect_nothing_wrong_is_there();
  const std::uint64_t kept = fs::file_size(incomplete());
  EXPECT_GT(kept, 0U);
  const CachedModel model = download(kId, quick());  // there is room again
  expect_whole(model);
  EXPECT_LT(model.downloaded_bytes, model.bytes);
}

TEST_F(MisbehaviourTest, ALimitOfTheSystemIsToldToo) {
  // A limit of the process stands in for a disk that refuses, this time in the system itself.
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{.rlim_cur = 100000, .rlim_max = 100000};
    setrlimit(RLIMIT_FSIZE, &limit);
    try {
      (void)download(kId, quick());
    } catch (const Error& error) {
      _exit(std::string(error.what()).find("File too large") != std::string::npos ? 7 : 8);
    }
    _exit(9);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 7);
  expect_nothing_wrong_is_there();
}

}  // namespace
}  // namespace qwen35::hub
