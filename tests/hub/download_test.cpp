// Downloads from a hub of ours that behaves: what comes, where it lies, what is not fetched twice; and a chat with it.
#include "hub/download.h"

#include <qwen35/chat.h>

#include <atomic>
#include <thread>

#include "hub/cache.h"
#include "hub/hub_fixture.h"
#include "hub/hub_server.h"

namespace qwen35::hub {
namespace {

using test::HubConnection;
using test::HubRequest;
using test::HubServer;
using test::noise;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kId = "org/model";
const std::string kCommit(40, 'a');

class DownloadTest : public HubTest {
 protected:
  DownloadTest() { set("HF_ENDPOINT", server_.endpoint()); }

  /// A repository with its files at the top.
  void serve_model(std::size_t weight_bytes = 300000) {
    server_.add_repository(kId, kCommit);
    server_.add_file("README.md", "nobody needs it", false);
    server_.add_file("config.json", "{\"model\": 1}", false);
    server_.add_file("tokenizer.json", noise(50000, 7), true);
    server_.add_file("model.safetensors", noise(weight_bytes), true);
    server_.add_file("onnx/model.onnx", noise(1000), true);
  }
  static DownloadOptions quick() { return {.retries = 3, .backoff_ms = 5, .stall_seconds = 20}; }

  HubServer server_;
};

TEST_F(DownloadTest, TheNeededFilesComeAndLieAsHuggingFaceHubLaysThem) {
  serve_model();
  const CachedModel model = download(kId, quick());
  const fs::path repository = cache() / "models--org--model";
  EXPECT_EQ(model.path, repository / "snapshots" / kCommit);
  EXPECT_EQ(model.commit, kCommit);
  EXPECT_EQ(model.bytes, 350012U);
  EXPECT_EQ(model.downloaded_bytes, 350012U);
  EXPECT_THAT(model.revisions, ElementsAre("main"));

  const std::string hash = test::sha256(noise(300000));
  EXPECT_EQ(fs::read_symlink(model.path / "model.safetensors"), "../../blobs/" + hash);
  EXPECT_EQ(fs::read_symlink(model.path / "config.json"), "../../blobs/" + test::git_sha1("{\"model\": 1}"));
  EXPECT_EQ(bytes_of(model.path / "model.safetensors"), noise(300000));
  EXPECT_EQ(bytes_of(repository / "refs" / "main"), kCommit);  // and no line end
  EXPECT_TRUE(fs::exists(cache() / ".locks" / "models--org--model" / (hash + ".lock")));
  std::size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(repository)) files += entry.is_directory() ? 0 : 1;
  EXPECT_EQ(files, 3U + 3U + 1U);  // blobs, links, ref: nothing else, README.md and onnx not either
  EXPECT_EQ(server_.count("README"), 0U);
  EXPECT_EQ(find(kId)->path, model.path);
}

TEST_F(DownloadTest, NothingComesTwice) {
  serve_model();
  (void)download(kId, quick());
  const std::size_t before = server_.count("/resolve/");
  EXPECT_EQ(download(kId, quick()).downloaded_bytes, 0U);
  EXPECT_EQ(server_.count("/resolve/"), before);

  // A new commit with other weights: its config and tokenizer are there already.
  const std::string next(40, 'b');
  server_.add_repository(kId, next);
  server_.add_file("config.json", "{\"model\": 1}", false);
  server_.add_file("tokenizer.json", noise(50000, 7), true);
  const std::string hash = server_.add_file("model.safetensors", noise(1000, 9), true);
  const CachedModel model = download(kId, quick());
  EXPECT_EQ(model.commit, next);
  EXPECT_EQ(model.downloaded_bytes, 1000U);
  EXPECT_EQ(find(kId)->commit, next);
  EXPECT_EQ(download(kId, {.revision = kCommit}).downloaded_bytes, 0U);  // the old one is still there
  EXPECT_EQ(list().size(), 2U);
}

TEST_F(DownloadTest, AVariantComesAlone) {
  server_.add_repository("aufklarer/Qwen3.5-0.8B-Chat-MLX", kCommit);
  for (const char* variant : {"int4", "int5"}) {
    server_.add_file(std::string(variant) + "/config.json", "{}", false);
    server_.add_file(std::string(variant) + "/tokenizer.json", "{}", false);
    server_.add_file(std::string(variant) + "/model.safetensors", variant, true);
  }
  const std::string id = "aufklarer/Qwen3.5-0.8B-Chat-MLX";
  const CachedModel standard = download(id, quick());
  EXPECT_EQ(standard.variant, "int5");
  EXPECT_EQ(bytes_of(standard.path / "model.safetensors"), "int5");
  EXPECT_EQ(fs::read_symlink(standard.path / "config.json"), "../../../blobs/" + test::git_sha1("{}"));
  EXPECT_FALSE(fs::exists(standard.path.parent_path() / "int4"));
  EXPECT_THAT(refusal(ErrorCode::not_found, [&] { (void)download(id, {.variant = "int8"}); }),
              AllOf(HasSubstr("\"int8\""), HasSubstr("\"int4\", \"int5\"")));
  DownloadOptions options = quick();
  options.variant = "int4";
  EXPECT_EQ(bytes_of(download(id, options).path / "model.safetensors"), "int4");
}

TEST_F(DownloadTest, TheListingMayComeInPages) {
  serve_model();
  server_.set_page_size(2);  // with the original hub's address in the links, as mirrors send them
  EXPECT_EQ(download(kId, quick()).bytes, 350012U);
  EXPECT_EQ(server_.count("cursor="), 2U);
}

TEST_F(DownloadTest, RevisionsHaveTheirOwnRefs) {
  server_.add_repository(kId, kCommit, "refs%2Fpr%2F1");  // as it stands in the address
  server_.add_file("config.json", "{}", false);
  server_.add_file("tokenizer.json", "{}", false);
  server_.add_file("model.safetensors", "w", true);
  DownloadOptions options = quick();
  options.revision = "refs/pr/1";
  EXPECT_THAT(download(kId, options).revisions, ElementsAre("refs/pr/1"));
  EXPECT_EQ(bytes_of(cache() / "models--org--model" / "refs" / "refs" / "pr" / "1"), kCommit);
  options.revision = "no-such";
  EXPECT_THAT(refusal(ErrorCode::not_found, [&] { (void)download(kId, options); }), HasSubstr("org/model@no-such"));
}

TEST_F(DownloadTest, ProgressCountsAllFilesTogether) {
  serve_model(3000000);
  server_.set_hook([](const HubRequest& request, const HubConnection& connection) {
    if (request.target.find("/store/") != std::string::npos) connection.sleep(150);
    return false;
  });
  std::vector<DownloadProgress> seen;
  DownloadOptions options = quick();
  options.on_progress = [&seen](const DownloadProgress& progress) { seen.push_back(progress); };
  (void)download(kId, options);
  ASSERT_GE(seen.size(), 3U);
  EXPECT_EQ(seen.front().phase, DownloadProgress::Phase::listing);
  EXPECT_EQ(seen.back().phase, DownloadProgress::Phase::done);
  EXPECT_EQ(seen.back().bytes, 3050012U);
  EXPECT_EQ(seen.back().bytes_done, 3050012U);
  EXPECT_EQ(seen.back().files, 3U);
  EXPECT_EQ(seen.back().files_done, 3U);
  EXPECT_GT(seen.back().bytes_per_second, 0);
  EXPECT_EQ(seen.back().seconds_left, 0);
}

TEST_F(DownloadTest, SeveralFilesComeAtOnce) {
  server_.add_repository(kId, kCommit);
  server_.add_file("config.json", "{}", false);
  server_.add_file("tokenizer.json", "{ }", false);
  server_.add_file("model.safetensors.index.json", "{  }", false);
  for (int i = 1; i <= 3; ++i) {
    server_.add_file("model-0000" + std::to_string(i) + "-of-00003.safetensors", noise(5000, static_cast<unsigned>(i)),
                     true);
  }
  std::atomic<int> now{0};
  std::atomic<int> most{0};
  server_.set_hook([&](const HubRequest& request, const HubConnection& connection) {
    if (request.target.find("/store/") == std::string::npos) return false;
    const int here = ++now;
    for (int seen = most; seen < here && !most.compare_exchange_weak(seen, here);) {
    }
    connection.sleep(200);
    --now;
    return false;
  });
  (void)download(kId, quick());
  EXPECT_GE(most, 2);
  fs::remove_all(cache());
  most = 0;
  DownloadOptions options = quick();
  options.parallel = 1;
  (void)download(kId, options);
  EXPECT_EQ(most, 1);
}

TEST_F(DownloadTest, ThreadsThatAskForTheSameReceiveItOnce) {
  serve_model(2000000);
  server_.set_hook([](const HubRequest& request, const HubConnection& connection) {
    if (request.target.find("/store/") != std::string::npos) connection.sleep(100);
    return false;
  });
  std::vector<std::thread> threads;
  std::atomic<std::uint64_t> received{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] { received += download(kId, quick()).downloaded_bytes; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(received, 2050012U);
  EXPECT_EQ(server_.count("/store/"), 2U);
}

TEST_F(DownloadTest, WithoutLinksTheFilesStandInTheSnapshot) {
  serve_model();
  server_.add_file("generation_config.json", "{\"model\": 1}", false);  // the same bytes as config.json
  set("HF_HUB_DISABLE_SYMLINKS", "1");
  const CachedModel model = download(kId, quick());
  for (const char* file : {"config.json", "generation_config.json", "tokenizer.json", "model.safetensors"}) {
    EXPECT_TRUE(fs::is_regular_file(fs::symlink_status(model.path / file))) << file;
  }
  EXPECT_EQ(bytes_of(model.path / "model.safetensors"), noise(300000));
  EXPECT_TRUE(fs::is_empty(cache() / "models--org--model" / "blobs"));
  EXPECT_EQ(download(kId, quick()).downloaded_bytes, 0U);
  EXPECT_EQ(remove(kId).models, 1U);
  EXPECT_FALSE(fs::exists(cache() / "models--org--model"));
}

TEST_F(DownloadTest, TheTokenGoesToTheHubAndNowhereElse) {
  serve_model();
  HubServer store;  // another port: another host to a client
  store.add_repository(kId, kCommit);
  store.add_file("tokenizer.json", noise(50000, 7), true);
  store.add_file("model.safetensors", noise(300000), true);
  server_.set_store(store.endpoint());
  DownloadOptions options = quick();
  options.token = "hf_secret";
  (void)download(kId, options);
  for (const HubRequest& request : server_.requests()) EXPECT_EQ(request.header("authorization"), "Bearer hf_secret");
  ASSERT_EQ(store.requests().size(), 2U);
  for (const HubRequest& request : store.requests()) EXPECT_EQ(request.header("authorization"), "") << request.target;

  fs::remove_all(cache());
  server_.set_store(server_.other_host());  // another name of the same machine
  const std::size_t before = server_.requests().size();
  (void)download(kId, options);
  std::size_t elsewhere = 0;
  for (std::size_t i = before; i < server_.requests().size(); ++i) {
    const HubRequest request = server_.requests()[i];
    if (!request.header("host").starts_with("localhost")) continue;
    ++elsewhere;
    EXPECT_EQ(request.header("authorization"), "") << request.target;
  }
  EXPECT_EQ(elsewhere, 2U);
}

TEST_F(DownloadTest, AProxyIsUsed) {
  serve_model();
  // Nobody answers for this name but the proxy, which is the server itself.
  set("HF_ENDPOINT", "http://hub.invalid");
  set("http_proxy", server_.endpoint());
  set("no_proxy", "");
  server_.set_hook([this](const HubRequest& request, const HubConnection& connection) {
    constexpr std::string_view kHost = "http://hub.invalid";
    if (!request.target.starts_with(kHost)) return false;
    if (request.target.find("/resolve/") != std::string::npos) {
      const std::string body = request.target.ends_with("config.json")      ? "{\"model\": 1}"
                               : request.target.ends_with("tokenizer.json") ? noise(50000, 7)
                                                                            : noise(300000);
      connection.respond(200, body);
    } else if (request.target.find("/tree/") != std::string::npos) {
      connection.respond(307, "", "Location: " + server_.endpoint() + request.target.substr(kHost.size()) + "\r\n");
    } else {
      connection.respond(200, R"({"sha": ")" + kCommit + "\"}");
    }
    return true;
  });
  set("no_proxy", "127.0.0.1");
  EXPECT_EQ(download(kId, quick()).bytes, 350012U);
}

/// From the hub to an answer: nothing but the name of a repository.
TEST_F(DownloadTest, AChatWithAModelOfTheHub) {
  const fs::path mini = QWEN35_TEST_DATA "/../../models/qwen35-mini";
  if (!fs::exists(mini / "config.json")) GTEST_SKIP() << "skipped: the bundled model is not in this tree";
  server_.add_repository("org/mini-chat", kCommit);
  for (const auto& entry : fs::directory_iterator(mini)) {
    const std::string name = entry.path().filename().string();
    server_.add_file("int8/" + name, bytes_of(entry.path()), !name.ends_with("config.json"));
  }
  std::size_t reports = 0;
  Chat chat = Chat::from_pretrained(
      "org/mini-chat", {.variant = "int8", .threads = 1, .on_download = [&](const DownloadProgress&) { ++reports; }});
  EXPECT_EQ(chat.generate("What is 17 plus 25?", {.temperature = 0, .enable_thinking = false}), "17 plus 25 is 42.");
  EXPECT_EQ(chat.info().name, "org/mini-chat:int8");
  EXPECT_GT(reports, 0U);
  // From now on without the hub, unloaded and loaded again too.
  const std::size_t before = server_.requests().size();
  chat.unload();
  chat.reload();
  reports = 0;
  Chat again = Chat::from_pretrained("org/mini-chat:int8",
                                     {.threads = 1, .on_download = [&](const DownloadProgress&) { ++reports; }});
  EXPECT_EQ(server_.requests().size(), before);
  EXPECT_EQ(reports, 0U);
}

}  // namespace
}  // namespace qwen35::hub
