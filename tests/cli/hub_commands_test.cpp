// pull, list, remove and --model ORG/NAME as processes, against a hub of ours.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/models.h"
#include "cli/process.h"
#include "hub/hub_server.h"

namespace qwen35::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr std::size_t kSize = 3000000;

std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class HubCommands : public testing::Test {
 protected:
  HubCommands() {
    for (const char* variable : {"HF_HOME", "HF_TOKEN", "HF_HUB_DISABLE_SYMLINKS", "TRANSFORMERS_OFFLINE", "http_proxy",
                                 "HTTP_PROXY", "all_proxy", "ALL_PROXY"}) {
      unsetenv(variable);
    }
    setenv("HF_HUB_CACHE", cache().c_str(), 1);
    setenv("HF_ENDPOINT", server_.endpoint().c_str(), 1);
    setenv("HF_HUB_OFFLINE", "0", 1);
    server_.add_repository("org/model");
    for (const char* variant : {"int4", "int8"}) {
      server_.add_file(std::string(variant) + "/config.json", "{}", false);
      server_.add_file(std::string(variant) + "/tokenizer.json", "{ }", false);
      hash_ = server_.add_file(std::string(variant) + "/model.safetensors", noise(kSize, static_cast<unsigned char>(variant[3])), true);
    }
  }
  ~HubCommands() override {
    setenv("HF_HUB_OFFLINE", "1", 1);
    unsetenv("HF_ENDPOINT");
    unsetenv("HF_HUB_CACHE");
  }
  [[nodiscard]] fs::path cache() const { return folder_.path() / "cache"; }
  /// The weights of int8 come slowly: a piece every 50 ms.
  void slow_down() {
    server_.set_hook([this](const HubRequest& request, const HubConnection& connection) {
      if (request.target != "/store/" + hash_) return false;
      const std::string bytes = noise(kSize, '8');
      const std::string range = request.header("range");
      const std::size_t first = range.empty() ? 0 : std::stoul(range.substr(6));
      std::string head = range.empty() ? "HTTP/1.1 200 OK\r\n"
                                       : "HTTP/1.1 206 Partial\r\nContent-Range: bytes " + std::to_string(first) + "-" +
                                             std::to_string(kSize - 1) + "/" + std::to_string(kSize) + "\r\n";
      head += "Content-Length: " + std::to_string(kSize - first) + "\r\n\r\n";
      bool there = connection.send(head);
      for (std::size_t at = first; there && at < kSize; at += 100000) {
        there = connection.send(std::string_view(bytes).substr(at, 100000));
        sent_ += 100000;
        connection.sleep(50);
      }
      return true;
    });
  }
  [[nodiscard]] fs::path incomplete() const {
    return cache() / "models--org--model" / "blobs" / (hash_ + ".incomplete");
  }
  void wait_for_bytes(std::size_t bytes) const {
    for (int i = 0; i < 1000; ++i) {
      std::error_code error;
      if (fs::file_size(incomplete(), error) >= bytes && !error) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    FAIL() << "the download does not come on";
  }

  TemporaryFolder folder_;
  HubServer server_;
  std::string hash_;  ///< of int8's weights
  std::atomic<std::size_t> sent_{0};
};

TEST_F(HubCommands, PullListRemove) {
  const Result pull = run({"pull", "org/model:int8", "--json"});
  ASSERT_EQ(pull.code, 0) << pull.err;
  EXPECT_THAT(pull.err, IsEmpty());
  const Json model = Json::parse(pull.out);
  EXPECT_EQ(model["variant"], "int8");
  EXPECT_EQ(model["commit"], std::string(40, 'a'));
  EXPECT_EQ(model["downloaded_bytes"], kSize + 5);
  EXPECT_EQ(bytes_of(fs::path(model["path"].get<std::string>()) / "model.safetensors"), noise(kSize, '8'));
  EXPECT_EQ(run({"pull", "org/model:int4"}).code, 0);
  EXPECT_THAT(run({"pull", "org/model:int4"}).out, HasSubstr("nothing new"));

  // The config.json of these says nothing: whole, but no models of this engine.
  EXPECT_THAT(run({"list"}).out, testing::Not(HasSubstr("org/model")));
  EXPECT_THAT(run({"list", "--all"}).out,
              AllOf(HasSubstr("org/model:int4"), HasSubstr("3.0 MB"), HasSubstr("aaaaaaaa")));
  const Json list = Json::parse(run({"list", "--all", "--json"}).out);
  ASSERT_GE(list.size(), 2U);
  EXPECT_EQ(list.back()["model"], "org/model:int8");
  EXPECT_EQ(list.back()["runs"], false);

  const Result unasked = run({"remove", "org/model:int8"});
  EXPECT_EQ(unasked.code, 1);
  EXPECT_THAT(unasked.err, HasSubstr("--yes"));
  EXPECT_THAT(run({"remove", "org/model:int8", "--yes"}).out, StartsWith("removed 1 model, 3.0 MB freed"));
  EXPECT_EQ(Json::parse(run({"remove", "org/model", "-y", "--json"}).out)["models"], 1);
  EXPECT_EQ(run({"remove", "org/model", "-y"}).code, 1);
  EXPECT_THAT(run({"remove", "mini", "-y"}).err, HasSubstr("comes with this program"));
}

TEST_F(HubCommands, TheTerminalIsAskedAndShown) {
  slow_down();
  Terminal pull({"pull", "org/model:int8"}, folder_.path().string());
  EXPECT_THAT(pull.read_until("left"),
              AllOf(HasSubstr("org/model:int8: "), HasSubstr("of 3.0 MB ("), HasSubstr("/s, ")));
  EXPECT_EQ(pull.wait(), 0);
  Terminal no({"remove", "org/model"}, folder_.path().string());
  EXPECT_THAT(no.read_until("[y/N]"), HasSubstr("org/model with all its variants"));
  no.type("\n");
  EXPECT_EQ(no.wait(), 1);
  Terminal yes({"remove", "org/model"}, folder_.path().string());
  (void)yes.read_until("[y/N]");
  yes.type("y\n");
  EXPECT_THAT(yes.read_until("freed"), HasSubstr("removed 1 model"));
  EXPECT_EQ(yes.wait(), 0);
}

TEST_F(HubCommands, LinesTellWhereThereIsNoTerminal) {
  const Result result = run({"pull", "org/model:int4"});
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.err, AllOf(StartsWith("downloading org/model:int4: 3 files, 3.0 MB of 3.0 MB to come\n"),
                                HasSubstr("(100 %)")));
  EXPECT_THAT(result.err, testing::Not(HasSubstr("\r")));
  EXPECT_THAT(result.out, AllOf(StartsWith("org/model:int4  3.0 MB, 3.0 MB received\n"), HasSubstr(cache().string())));
}

TEST_F(HubCommands, CtrlCStopsAndTheNextRunGoesOn) {
  slow_down();
  Process process({"pull", "org/model:int8"});
  wait_for_bytes(300000);
  process.interrupt();
  EXPECT_EQ(process.wait(), 130);
  const std::size_t kept = fs::file_size(incomplete());
  const Json model = Json::parse(run({"pull", "org/model:int8", "--json"}).out);
  EXPECT_LE(model["downloaded_bytes"], kSize + 5 - kept);
  EXPECT_EQ(bytes_of(fs::path(model["path"].get<std::string>()) / "model.safetensors"), noise(kSize, '8'));
}

TEST_F(HubCommands, AKillInTheMiddleLeavesNothingBroken) {
  slow_down();
  {
    const Process process({"pull", "org/model:int8"});
    wait_for_bytes(300000);
  }  // SIGKILL
  const Result offline = [] {
    setenv("HF_HUB_OFFLINE", "1", 1);
    Result result = run({"pull", "org/model:int8"});
    setenv("HF_HUB_OFFLINE", "0", 1);
    return result;
  }();
  EXPECT_EQ(offline.code, 1);  // half a model is none
  const std::size_t kept = fs::file_size(incomplete());
  EXPECT_GE(kept, 300000U);
  const Json model = Json::parse(run({"pull", "org/model:int8", "--json"}).out);
  const auto received = model["downloaded_bytes"].get<std::size_t>();
  EXPECT_GE(received + kept, kSize);
  EXPECT_LE(received + kept, kSize + 5);
  EXPECT_EQ(bytes_of(fs::path(model["path"].get<std::string>()) / "model.safetensors"), noise(kSize, '8'));
  EXPECT_FALSE(fs::exists(incomplete()));
}

TEST_F(HubCommands, TwoProcessesReceiveItOnce) {
  slow_down();
  Process first({"pull", "org/model:int8"});
  wait_for_bytes(100000);
  const Result second = run({"pull", "org/model:int8"});
  EXPECT_EQ(second.code, 0) << second.err;
  EXPECT_THAT(second.err, HasSubstr("another process"));
  EXPECT_THAT(second.out, HasSubstr("nothing new"));
  EXPECT_EQ(first.wait(), 0);
  EXPECT_EQ(sent_, kSize);
  EXPECT_EQ(server_.count("/store/" + hash_), 1U);
}

TEST_F(HubCommands, WhatCannotBeHadIsSaid) {
  EXPECT_EQ(run({"pull", "no-id"}).code, 1);
  EXPECT_THAT(run({"pull", "org/model:int5"}).err, AllOf(StartsWith("error: "), HasSubstr("\"int4\", \"int8\"")));
  EXPECT_THAT(run({"pull", "org/model"}).err, HasSubstr("several variants"));
  setenv("HF_HUB_OFFLINE", "1", 1);
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"chat"}, {"generate", "--prompt", "x"}, {"tokenize"}}) {
    const Result result = run(arguments, "x");
    EXPECT_EQ(result.code, 1);
    EXPECT_THAT(result.err, AllOf(StartsWith("error: aufklarer/Qwen3.5-0.8B-Chat-MLX"), HasSubstr("--model mini")));
  }
}

TEST_F(HubCommands, AModelOfTheHubAnswers) {
  const auto mini = mini_model();
  if (!mini) GTEST_SKIP() << "skipped: the bundled model is not in this tree";
  server_.add_repository("aufklarer/Qwen3.5-0.8B-Chat-MLX");
  for (const auto& entry : fs::directory_iterator(*mini)) {
    const std::string name = entry.path().filename().string();
    server_.add_file("int5/" + name, bytes_of(entry.path()), name.ends_with(".safetensors"));
  }
  const std::vector<std::string> ask = {"generate", "--temp", "0", "--no-thinking", "--prompt", "What is 17 plus 25?"};
  const Result first = run(ask);
  EXPECT_EQ(first.out, "17 plus 25 is 42.\n");
  EXPECT_THAT(first.err, HasSubstr("downloading aufklarer/Qwen3.5-0.8B-Chat-MLX:int5"));
  const std::size_t before = server_.requests().size();
  const Result second = run(ask);
  EXPECT_EQ(second.out, "17 plus 25 is 42.\n");
  EXPECT_THAT(second.err, IsEmpty());
  EXPECT_EQ(server_.requests().size(), before);  // what is here is not asked for
  EXPECT_THAT(run({"list"}).out, HasSubstr("aufklarer/Qwen3.5-0.8B-Chat-MLX:int5"));
  EXPECT_EQ(run({"tokenize"}, "x").code, 0);
  EXPECT_EQ(run({"info", "--model", "aufklarer/Qwen3.5-0.8B-Chat-MLX:int5"}).code, 0);
}

}  // namespace
}  // namespace qwen35::test
