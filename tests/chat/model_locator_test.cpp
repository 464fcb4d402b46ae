#include "chat/model_locator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/chat.h>
#include <qwen35/error.h>
#include <qwen35/hub.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace qwen35 {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class ModelLocatorTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("qwen35-locator-" + std::to_string(getpid()));
    fs::create_directories(root_);
  }
  void TearDown() override {
    unsetenv("QWEN35_MODELS");
    unsetenv("HF_HUB_CACHE");
    fs::remove_all(root_);
  }

  static std::string refusal(const std::string& name, ErrorCode expected = ErrorCode::not_found) {
    try {
      resolve_model(name);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), expected);
      return error.what();
    }
    return "no error";
  }

  fs::path root_;
};

TEST_F(ModelLocatorTest, AFolderIsItself) {
  EXPECT_EQ(resolve_model(root_.string()), root_);
  EXPECT_EQ(resolve_model(root_.string() + "/"), root_.string() + "/");
}

TEST_F(ModelLocatorTest, ABundledNameIsLookedForInTheEnvironmentFirst) {
  fs::create_directories(root_ / "qwen35-mini");
  setenv("QWEN35_MODELS", root_.c_str(), 1);
  EXPECT_EQ(resolve_model("mini"), root_ / "qwen35-mini");
}

TEST_F(ModelLocatorTest, RefusalsSayWhatWouldWork) {
  EXPECT_THAT(refusal("", ErrorCode::invalid_argument), HasSubstr("\"mini\""));
  setenv("HF_HUB_CACHE", (root_ / "no-cache").c_str(), 1);
  setenv("HF_HUB_OFFLINE", "1", 1);
  EXPECT_THAT(
      refusal("qwen35-no-such-org/Qwen3.5-0.8B", hub::can_download() ? ErrorCode::not_found : ErrorCode::unsupported),
      AllOf(HasSubstr("qwen35-no-such-org/Qwen3.5-0.8B"), HasSubstr("not in the cache")));
  EXPECT_THAT(refusal("no-such-model"), AllOf(HasSubstr("\"no-such-model\""), HasSubstr("\"mini\"")));
  EXPECT_THAT(refusal("./no/such/folder"), HasSubstr("no folder"));
  const fs::path file = root_ / "config.json";
  std::ofstream(file) << "{}";
  EXPECT_THAT(refusal(file.string()), HasSubstr("is a file"));
}

TEST_F(ModelLocatorTest, FromPretrainedNamesWhatIsMissing) {
  try {
    Chat::from_pretrained(root_.string());
    FAIL() << "an empty folder was loaded";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
    EXPECT_THAT(error.what(), HasSubstr("tokenizer.json"));
  }
}

}  // namespace
}  // namespace qwen35
