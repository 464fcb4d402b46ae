// The page's files as the binary carries them.
#include "server/page/assets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

namespace qwen35::server {
namespace {

using testing::HasSubstr;

std::string file_bytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(PageAssets, RootIsTheIndex) {
  const Asset* root = find_asset("/");
  ASSERT_NE(root, nullptr);
  EXPECT_EQ(root, find_asset("/index.html"));
  EXPECT_EQ(root->content_type, "text/html; charset=utf-8");
}

// Every file that a browser can ask for is embedded byte for byte: one that is missing in CMakeLists.txt shows here.
TEST(PageAssets, HoldsEveryFileOfTheFolder) {
  std::set<std::string_view> etags;
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(QWEN35_PAGE_FOLDER)) {
    const std::string ending = entry.path().extension().string();
    if (ending != ".html" && ending != ".css" && ending != ".js" && ending != ".svg") {
      continue;
    }
    const std::string name = "/" + entry.path().filename().string();
    const Asset* asset = find_asset(name);
    ASSERT_NE(asset, nullptr) << name << " is not listed in src/server/page/CMakeLists.txt";
    EXPECT_EQ(asset->body, file_bytes(entry.path())) << name;
    EXPECT_EQ(asset->path, name);
    EXPECT_TRUE(std::regex_match(std::string(asset->etag), std::regex("\"[0-9a-f]{32}\""))) << asset->etag;
    EXPECT_TRUE(etags.insert(asset->etag).second) << name;
    ++files;
  }
  EXPECT_GE(files, 3U);
}

// What the files ask for by name is there, and nothing else is asked for: the page works without a network.
TEST(PageAssets, AsksForNothingButItself) {
  const std::regex reference("(?:src|href)=\"([^\"]*)\"|(?:from|import) '([^']*)'");
  for (const auto& entry : std::filesystem::directory_iterator(QWEN35_PAGE_FOLDER)) {
    const std::string ending = entry.path().extension().string();
    if (ending != ".html" && ending != ".js") {
      continue;
    }
    const std::string text = file_bytes(entry.path());
    for (std::sregex_iterator match(text.begin(), text.end(), reference), end; match != end; ++match) {
      const std::string target = (*match)[1].matched ? (*match)[1].str() : (*match)[2].str();
      if (target.starts_with("#")) {
        continue;
      }
      const std::string path = target.starts_with("./") ? target.substr(1) : target;
      EXPECT_NE(find_asset(path), nullptr) << entry.path() << " asks for " << target;
    }
  }
}

// The policy forbids what these would do; here the sources do not even try.
TEST(PageAssets, NeverMakesMarkupOfText) {
  for (const auto& entry : std::filesystem::directory_iterator(QWEN35_PAGE_FOLDER)) {
    if (entry.path().extension() != ".js") {
      continue;
    }
    const std::string text = file_bytes(entry.path());
    for (const char* sink : {"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function",
                             "DOMParser", "createContextualFragment", "setHTMLUnsafe", "srcdoc"}) {
      EXPECT_THAT(text, testing::Not(HasSubstr(sink))) << entry.path();
    }
  }
}

TEST(PageAssets, OtherPathsAreNotFound) {
  for (const char* path : {"", "index.html", "//", "/../index.html", "/index.html/", "/index.html?x=1", "/%69ndex.html",
                           "/INDEX.HTML", "/etc/passwd", "/assets.h"}) {
    EXPECT_EQ(find_asset(path), nullptr) << path;
  }
  EXPECT_EQ(find_asset(std::string_view("/app.js\0", 8)), nullptr);
}

TEST(PageAssets, PolicyAllowsNothingInline) {
  const std::string policy(kContentSecurityPolicy);
  EXPECT_TRUE(policy.starts_with("default-src 'none'; ")) << policy;
  EXPECT_THAT(policy, HasSubstr("require-trusted-types-for 'script'"));
  EXPECT_THAT(policy, testing::Not(HasSubstr("unsafe")));
  EXPECT_THAT(policy, testing::Not(HasSubstr("*")));
}

}  // namespace
}  // namespace qwen35::server
