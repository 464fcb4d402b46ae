// The cache as huggingface_hub lays it out: read, listed and emptied without any network.
#include "hub/cache.h"

#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chat/model_locator.h"
#include "hub/environment.h"
#include "hub/file_lock.h"
#include "hub/hub_fixture.h"

namespace qwen35::hub {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kId = "some-org/A.Model";
const std::string kOld(40, '1');
const std::string kNew(40, '2');

class HubCacheTest : public HubTest {
 protected:
  /// As the documents of huggingface_hub describe it, made by hand.
  void add(const std::string& commit, const std::string& path, const std::string& bytes, char hash) {
    const fs::path repository = cache() / "models--some-org--A.Model";
    const std::string name(40, hash);
    fs::create_directories(repository / "blobs");
    std::ofstream(repository / "blobs" / name) << bytes;
    const fs::path place = repository / "snapshots" / commit / path;
    fs::create_directories(place.parent_path());
    fs::path target = "../..";
    for (const char c : path) {
      if (c == '/') target /= "..";
    }
    fs::create_symlink(target / "blobs" / name, place);
  }
  void add_ref(const std::string& revision, const std::string& commit) {
    const fs::path place = cache() / "models--some-org--A.Model" / "refs" / revision;
    fs::create_directories(place.parent_path());
    std::ofstream(place) << commit;
  }
  /// Two revisions that share their tokenizer.
  void add_all() {
    add(kOld, "config.json", "{}", 'a');
    add(kOld, "tokenizer.json", "shared", 'b');
    add(kOld, "model.safetensors", "old weights", 'c');
    add(kNew, "config.json", "{}", 'a');
    add(kNew, "tokenizer.json", "shared", 'b');
    add(kNew, "model.safetensors", "new weights!", 'd');
    add_ref("main", kNew);
    add_ref("refs/pr/1", kOld);
  }
  [[nodiscard]] bool has_blob(char hash) const {
    return fs::exists(cache() / "models--some-org--A.Model" / "blobs" / std::string(40, hash));
  }
};

TEST_F(HubCacheTest, WhatAnotherToolBroughtIsFound) {
  add_all();
  const auto model = find(kId);
  ASSERT_TRUE(model);
  EXPECT_EQ(model->commit, kNew);
  EXPECT_EQ(model->path, cache() / "models--some-org--A.Model" / "snapshots" / kNew);
  EXPECT_EQ(model->bytes, 2U + 6U + 12U);
  EXPECT_THAT(model->revisions, ElementsAre("main"));
  EXPECT_EQ(bytes_of(model->path / "model.safetensors"), "new weights!");
  EXPECT_EQ(find(kId, {.revision = "refs/pr/1"})->commit, kOld);
  EXPECT_EQ(find(kId, {.revision = kOld})->commit, kOld);
  EXPECT_FALSE(find(kId, {.variant = "int4"}));
  EXPECT_FALSE(find(kId, {.revision = "v9"}));
  EXPECT_FALSE(find("some-org/Other"));
  EXPECT_EQ(resolve_model(kId), model->path);
  EXPECT_EQ(resolve_model(std::string(kId) + "@refs/pr/1"), find(kId, {.revision = kOld})->path);
  EXPECT_EQ(name_of_folder(model->path), kId);
  EXPECT_EQ(name_of_folder("/x/models--a--b/snapshots/" + kOld + "/int4/"), "a/b:int4");
  EXPECT_EQ(name_of_folder("/x/int4"), "");
}

TEST_F(HubCacheTest, APartOfAModelIsNoModel) {
  add(kNew, "config.json", "{}", 'a');
  add(kNew, "tokenizer.json", "x", 'b');
  add_ref("main", kNew);
  EXPECT_FALSE(find(kId));  // as transformers' AutoConfig leaves it
  add(kNew, "model.safetensors", "weights", 'c');
  EXPECT_TRUE(find(kId));
  fs::remove(cache() / "models--some-org--A.Model" / "blobs" / std::string(40, 'c'));
  EXPECT_FALSE(find(kId));  // a link to nothing
  add_ref("main", "garbage");
  EXPECT_FALSE(find(kId));
}

TEST_F(HubCacheTest, VariantsAreFoundWithTheTokenizerTheyShare) {
  add(kNew, "tokenizer.json", "shared", 'a');
  add(kNew, "int4/config.json", "{}", 'b');
  add(kNew, "int4/model.safetensors", "weights", 'c');
  add_ref("main", kNew);
  const auto model = find(kId, {.variant = "int4"});
  ASSERT_TRUE(model);
  EXPECT_EQ(model->path.filename(), "int4");
  EXPECT_EQ(bytes_of(tokenizer_file(model->path)), "shared");
  EXPECT_EQ(resolve_model(std::string(kId) + ":int4"), model->path);
  EXPECT_EQ(resolve_model(kId, {.variant = "int4"}), model->path);
  refusal(ErrorCode::invalid_argument, [] { (void)resolve_model(std::string(kId) + ":int4", {.variant = "int8"}); });
  // In any other folder nothing is taken from above.
  EXPECT_EQ(tokenizer_file(folder() / "int4"), folder() / "int4" / "tokenizer.json");
}

TEST_F(HubCacheTest, AFolderMayHaveVariantsToo) {
  fs::create_directories(folder() / "local" / "int4");
  const std::string local = (folder() / "local").string();
  EXPECT_EQ(resolve_model(local, {.variant = "int4"}), folder() / "local" / "int4");
  refusal(ErrorCode::not_found, [&] { (void)resolve_model(local, {.variant = "int8"}); });
  refusal(ErrorCode::invalid_argument, [&] { (void)resolve_model(local, {.variant = "../.."}); });
  refusal(ErrorCode::invalid_argument, [&] { (void)resolve_model(local, {.revision = "main"}); });
}

TEST_F(HubCacheTest, OfflineOnlyTheCacheCounts) {
  add_all();
  EXPECT_EQ(download(kId, {.offline = true}).commit, kNew);
  EXPECT_THAT(refusal(ErrorCode::not_found, [] { (void)resolve_model("some-org/Other", {.offline = true}); }),
              HasSubstr("some-org/Other"));
  set("HF_HUB_OFFLINE", "1");
  if (can_download()) {
    EXPECT_THAT(refusal(ErrorCode::not_found, [] { (void)download("some-org/Other"); }), HasSubstr("HF_HUB_OFFLINE"));
    // The default model, and what helps without a network.
    EXPECT_THAT(refusal(ErrorCode::not_found, [] { (void)resolve_model(kDefaultModel); }), HasSubstr("--model mini"));
  } else {
    EXPECT_THAT(refusal(ErrorCode::unsupported, [] { (void)resolve_model(kDefaultModel); }),
                testing::AllOf(HasSubstr("QWEN35_HUB"), HasSubstr("--model mini")));
  }
}

TEST_F(HubCacheTest, EveryRevisionIsListed) {
  EXPECT_THAT(list(), IsEmpty());
  add_all();
  fs::create_directories(cache() / "datasets--some-org--data");
  fs::create_directories(cache() / "models--gpt2" / "snapshots" / kOld);
  fs::create_directories(cache() / "models--a--b--c");
  const auto models = list(cache());
  ASSERT_EQ(models.size(), 2U);
  EXPECT_EQ(models[0].commit, kOld);
  EXPECT_THAT(models[0].revisions, ElementsAre("refs/pr/1"));
  EXPECT_EQ(models[1].commit, kNew);
}

TEST_F(HubCacheTest, RemovingARevisionKeepsWhatOthersUse) {
  add_all();
  const Removed removed = remove(kId, {.revision = "refs/pr/1"});
  EXPECT_EQ(removed.models, 1U);
  EXPECT_EQ(removed.bytes, std::string("old weights").size() + kOld.size());  // and the ref
  EXPECT_FALSE(has_blob('c'));
  EXPECT_TRUE(has_blob('b'));
  EXPECT_TRUE(find(kId));
  EXPECT_EQ(list().size(), 1U);
}

TEST_F(HubCacheTest, RemovingAVariantKeepsTheOthers) {
  add(kNew, "tokenizer.json", "shared", 'a');
  for (const char* variant : {"int4", "int8"}) {
    add(kNew, std::string(variant) + "/config.json", "{}", 'b');
    add(kNew, std::string(variant) + "/model.safetensors", variant, variant[3]);
  }
  add_ref("main", kNew);
  EXPECT_EQ(remove(kId, {.variant = "int4"}).bytes, 4U);
  EXPECT_FALSE(has_blob('4'));
  EXPECT_TRUE(has_blob('b'));
  EXPECT_TRUE(find(kId, {.variant = "int8"}));
  refusal(ErrorCode::not_found, [] { (void)remove(kId, {.variant = "int4"}); });
  EXPECT_EQ(remove(kId, {.variant = "int8"}).models, 1U);
  EXPECT_FALSE(fs::exists(cache() / "models--some-org--A.Model"));  // the tokenizer served nobody any more
}

TEST_F(HubCacheTest, RemovingEverythingLeavesWhatIsBeingReceived) {
  add_all();
  const CachedRepository repository(cache(), kId);
  const std::string running(64, 'e');
  const std::string broken(64, 'f');
  std::ofstream(repository.incomplete(running)) << "half";
  std::ofstream(repository.incomplete(broken)) << "half";
  {
    const auto lock = FileLock::try_lock(repository.lock(running));
    ASSERT_TRUE(lock);
    EXPECT_EQ(remove(kId).models, 2U);
  }
  EXPECT_TRUE(fs::exists(repository.incomplete(running)));
  EXPECT_FALSE(fs::exists(repository.incomplete(broken)));
  EXPECT_THAT(list(), IsEmpty());
  (void)remove(kId);
  EXPECT_FALSE(fs::exists(repository.folder()));
  refusal(ErrorCode::not_found, [] { (void)remove(kId); });
  refusal(ErrorCode::invalid_argument, [] { (void)remove("../.."); });
}

TEST_F(HubCacheTest, NamesOfLinksThatLeadElsewhereHarmNobody) {
  add_all();
  std::ofstream(folder() / "precious") << "precious";
  const fs::path snapshot = cache() / "models--some-org--A.Model" / "snapshots" / kNew;
  fs::create_symlink(folder() / "precious", snapshot / "x.safetensors");
  fs::create_directory_symlink(folder(), snapshot / "folder");
  (void)remove(kId);
  EXPECT_EQ(bytes_of(folder() / "precious"), "precious");
}

TEST_F(HubCacheTest, TheLockIsTheOneThatOthersTake) {
  const fs::path path = cache() / ".locks" / "models--a--b" / "x.lock";
  auto lock = FileLock::try_lock(path);
  ASSERT_TRUE(lock);
  EXPECT_FALSE(FileLock::try_lock(path));
  const int fd = open(path.c_str(), O_RDWR);
  EXPECT_NE(flock(fd, LOCK_EX | LOCK_NB), 0);  // as the filelock module does it
  lock.reset();
  EXPECT_EQ(flock(fd, LOCK_EX | LOCK_NB), 0);
  EXPECT_FALSE(FileLock::try_lock(path));
  close(fd);
  // Some programs delete the file when they are done with it.
  lock = FileLock::try_lock(path);
  fs::remove(path);
  EXPECT_TRUE(FileLock::try_lock(path));
}

TEST_F(HubCacheTest, TheEnvironmentDecides) {
  set("HF_HUB_CACHE", "");
  set("HOME", "/home/x");
  EXPECT_EQ(read_environment({}).cache, "/home/x/.cache/huggingface/hub");
  set("XDG_CACHE_HOME", "/xdg");
  EXPECT_EQ(read_environment({}).cache, "/xdg/huggingface/hub");
  set("HF_HOME", "~/hf");
  EXPECT_EQ(read_environment({}).cache, "/home/x/hf/hub");
  set("HF_HUB_CACHE", "/elsewhere");
  EXPECT_EQ(read_environment({}).cache, "/elsewhere");
  EXPECT_EQ(read_environment({.cache = "/given"}).cache, "/given");

  EXPECT_EQ(read_environment({}).endpoint, "https://huggingface.co");
  set("HF_ENDPOINT", "http://mirror:8080/");
  EXPECT_EQ(read_environment({}).endpoint, "http://mirror:8080");
  for (const char* endpoint : {"mirror", "ftp://mirror", "file:///etc", "https://", "http://a b"}) {
    set("HF_ENDPOINT", endpoint);
    refusal(ErrorCode::invalid_argument, [] { (void)read_environment({}); });
  }
  set("HF_ENDPOINT", "");

  EXPECT_EQ(read_environment({}).token, "");
  std::ofstream(folder() / "token") << "hf_stored\n";
  EXPECT_EQ(read_environment({}).token, "hf_stored");
  set("HF_TOKEN", "hf_set");
  EXPECT_EQ(read_environment({}).token, "hf_set");
  EXPECT_EQ(read_environment({.token = "hf_given"}).token, "hf_given");
  refusal(ErrorCode::invalid_argument, [] { (void)read_environment({.token = "a\r\nX-Evil: 1"}); });

  for (const char* yes : {"1", "true", "YES", "on"}) {
    set("HF_HUB_OFFLINE", yes);
    EXPECT_TRUE(read_environment({}).offline) << yes;
  }
  set("HF_HUB_OFFLINE", "0");
  EXPECT_FALSE(read_environment({}).offline);
  set("HF_HUB_DOWNLOAD_TIMEOUT", "77");
  EXPECT_EQ(read_environment({}).stall_seconds, 77);
  EXPECT_EQ(read_environment({.stall_seconds = 3}).stall_seconds, 3);
  refusal(ErrorCode::invalid_argument, [] { (void)read_environment({.parallel = 0}); });
  refusal(ErrorCode::invalid_argument, [] { (void)read_environment({.retries = -1}); });
}

}  // namespace
}  // namespace qwen35::hub
