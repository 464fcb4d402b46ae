#include "base/mapped_file.h"

#include <gtest/gtest.h>
#include <qwen35/error.h>
#include <sys/stat.h>

#include <cstring>
#include <fstream>

namespace qwen35 {
namespace {

std::filesystem::path write_file(const std::string& name, const std::string& text) {
  const auto path = std::filesystem::path(testing::TempDir()) / name;
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

TEST(MappedFile, HoldsTheBytes) {
  const std::string text(10000, 'x');
  MappedFile file(write_file("mapped", text));
  ASSERT_EQ(file.bytes().size(), text.size());
  EXPECT_EQ(std::memcmp(file.bytes().data(), text.data(), text.size()), 0);
  file.release(file.bytes());  // pages leave and come back with the same content
  EXPECT_EQ(std::memcmp(file.bytes().data(), text.data(), text.size()), 0);
}

TEST(MappedFile, EmptyFileIsEmpty) { EXPECT_TRUE(MappedFile(write_file("empty", "")).bytes().empty()); }

TEST(MappedFile, NamesWhatIsMissing) {
  try {
    MappedFile file(std::filesystem::path(testing::TempDir()) / "no-such-file");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
    EXPECT_NE(std::string(error.what()).find("no-such-file"), std::string::npos);
  }
  EXPECT_THROW(MappedFile{std::filesystem::path(testing::TempDir())}, Error);
}

TEST(MappedFile, RefusesAPipeInsteadOfWaiting) {
  const auto path = std::filesystem::path(testing::TempDir()) / "pipe";
  std::filesystem::remove(path);
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_THROW(MappedFile{path}, Error);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace qwen35
