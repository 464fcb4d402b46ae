#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/error.h>
#include <qwen35/hub.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

namespace qwen35::hub {

namespace fs = std::filesystem;

inline std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A cache of its own, and an environment that says nothing.
class HubTest : public testing::Test {
 protected:
  HubTest() {
    std::string name = (fs::temp_directory_path() / "qwen35-hub-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    folder_ = name;
    for (const char* variable :
         {"HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN",
          "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "XDG_CACHE_HOME", "HF_HUB_DISABLE_SYMLINKS",
          "HF_HUB_DISABLE_IMPLICIT_TOKEN", "HF_HUB_DOWNLOAD_TIMEOUT", "http_proxy", "https_proxy", "all_proxy",
          "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}) {
      if (const char* value = getenv(variable)) before_[variable] = value;
      unsetenv(variable);
    }
    set("HF_HUB_CACHE", cache().string());
    set("HF_TOKEN_PATH", (folder_ / "token").string());
  }
  ~HubTest() override {
    for (const auto& [variable, value] : before_) setenv(variable.c_str(), value.c_str(), 1);
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  [[nodiscard]] fs::path cache() const { return folder_ / "cache"; }
  [[nodiscard]] const fs::path& folder() const { return folder_; }

  void set(const std::string& variable, const std::string& value) {
    before_.try_emplace(variable, "");
    setenv(variable.c_str(), value.c_str(), 1);
  }

  /// What `work` is refused with.
  template <typename Work>
  static std::string refusal(ErrorCode expected, const Work& work) {
    try {
      work();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), expected) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "nothing was refused";
    return {};
  }

 private:
  fs::path folder_;
  std::map<std::string, std::string> before_;
};

}  // namespace qwen35::hub
