// The parts that bench measures with.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/mapped_file.h"
#include "base/usable_cores.h"
#include "cli/benchmark.h"
#include "cli/memory_bandwidth.h"
#include "cli/models.h"
#include "cli/system_memory.h"

namespace qwen35::cli {
namespace {

TEST(Summary, MedianAndRange) {
  const Summary odd = summarize({3, 1, 10});
  EXPECT_EQ(odd.median, 3);
  EXPECT_EQ(odd.min, 1);
  EXPECT_EQ(odd.max, 10);
  EXPECT_EQ(summarize({4, 1, 10, 2}).median, 3);
  EXPECT_EQ(summarize({7}).median, 7);
}

TEST(Agreement, OfEqualLogitsIsPerfect) {
  const std::vector<float> logits = {1, -2, 3, 0, 5, 0.5F};
  const Agreement result = compare_logits(logits, logits, 3);
  EXPECT_EQ(result.positions, 2U);
  EXPECT_NEAR(result.worst_cosine, 1, 1e-15);
  EXPECT_NEAR(result.mean_cosine, 1, 1e-15);
  EXPECT_NEAR(result.mean_kl, 0, 1e-15);
}

TEST(Agreement, OfKnownRows) {
  const float a = std::log(3.0F);
  const float b = std::log(9.0F);
  // Cosines: 0 and 1. Probabilities: 1/4, 3/4 against 3/4, 1/4; 1/4, 3/4 against 1/10, 9/10.
  const Agreement result = compare_logits(std::vector{0.0F, a, 0.0F, a}, std::vector{a, 0.0F, 0.0F, b}, 2);
  EXPECT_NEAR(result.worst_cosine, 0, 1e-7);
  EXPECT_NEAR(result.mean_cosine, 0.5, 1e-7);
  const double first = 0.25 * std::log(0.25 / 0.75) + 0.75 * std::log(0.75 / 0.25);
  const double second = 0.25 * std::log(0.25 / 0.1) + 0.75 * std::log(0.75 / 0.9);
  EXPECT_NEAR(result.mean_kl, (first + second) / 2, 1e-6);
}

TEST(Agreement, LogitsThatAreNoNumbersAgreeWithNothing) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(compare_logits(std::vector{1.0F, 2.0F, 1.0F, 2.0F}, std::vector{nan, 2.0F, 1.0F, 2.0F}, 2).worst_cosine, 0);
  EXPECT_EQ(compare_logits(std::vector{0.0F, 0.0F}, std::vector{1.0F, 0.0F}, 2).worst_cosine, 0);
}

TEST(ReadTest, EveryRoundReadsWithEveryNumberOfThreads) {
  for (const std::size_t threads : {1U, 3U}) {
    ReadTest test(threads, usable_cores());
    for (int round = 0; round < 3; ++round) EXPECT_GT(test.sample(), 0);
  }
}

TEST(SystemMemory, PeakCountsFromTheReset) {
#if defined(QWEN35_SANITIZED)
  GTEST_SKIP() << "a sanitizer keeps freed memory";
#endif
  if (!peak_resident_bytes() || !reset_peak_resident()) GTEST_SKIP() << "this system has no peak that can be reset";
  constexpr std::size_t kSize = std::size_t{64} << 20;
  const std::size_t before = *peak_resident_bytes();
  std::vector<char> memory(kSize, 'x');
  EXPECT_EQ(memory[kSize / 2], 'x');
  EXPECT_GE(*peak_resident_bytes(), before + kSize / 2);
  std::vector<char>().swap(memory);
  release_freed_memory();
  ASSERT_TRUE(reset_peak_resident());
  EXPECT_LT(*peak_resident_bytes(), before + kSize / 2);
}

TEST(SystemMemory, PagesInUseAreReportedAsKept) {
  const test::TemporaryFolder folder;
  const std::string text(1'000'000, 'x');
  const std::filesystem::path path = folder.write("file", text);
  std::filesystem::create_directory(folder.path() / "inner");
  fill_page_cache(folder.path());
  {
    const MappedFile file(path);
    EXPECT_EQ(file.bytes()[text.size() / 2], std::byte{'x'});  // a page that somebody maps cannot be dropped
    EXPECT_FALSE(drop_page_cache(folder.path()));
  }
  drop_page_cache(folder.path());  // whether they go now is the file system's affair
  EXPECT_EQ(std::filesystem::file_size(path), text.size());
}

TEST(SystemMemory, AFolderThatIsNotThereIsPassedOver) {
  const test::TemporaryFolder folder;
  fill_page_cache(folder.path() / "absent");
  EXPECT_NO_THROW(drop_page_cache(folder.path() / "absent"));
}

}  // namespace
}  // namespace qwen35::cli
