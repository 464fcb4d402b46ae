#include "text/splitter.h"

#include <gtest/gtest.h>
#include <qwen35/error.h>

#include <random>
#include <string>
#include <vector>

#include "text/utf8.h"

namespace qwen35 {
namespace {

std::vector<std::string> words(const Splitter& splitter, std::string_view text) {
  std::vector<std::string> out;
  splitter.split(text, [&](std::string_view word) { out.emplace_back(word); });
  return out;
}

using Words = std::vector<std::string>;

TEST(Splitter, FollowsEveryAlternative) {
  const Splitter splitter(std::string(Splitter::qwen35_regex), "test");
  EXPECT_EQ(words(splitter, "I'll we'VE it's"), (Words{"I", "'ll", " we", "'VE", " it", "'s"}));
  EXPECT_EQ(words(splitter, "it'\u017F"), (Words{"it", "'\u017F"}));
  EXPECT_EQ(words(splitter, "'rx 'l 'll"), (Words{"'rx", " '", "l", " '", "ll"}));
  EXPECT_EQ(words(splitter, " 123"), (Words{" ", "1", "2", "3"}));
  EXPECT_EQ(words(splitter, "a  b"), (Words{"a", " ", " b"}));
  EXPECT_EQ(words(splitter, "a   "), (Words{"a", "   "}));
  EXPECT_EQ(words(splitter, "a \n \n b"), (Words{"a", " \n \n", " b"}));
  EXPECT_EQ(words(splitter, "x = {\n\n"), (Words{"x", " =", " {\n\n"}));
  EXPECT_EQ(words(splitter, "\u0928\u094D\u0928"), (Words{"\u0928\u094D\u0928"}));
  EXPECT_EQ(words(splitter, "\u180Ea"), (Words{"\u180Ea"}));
  EXPECT_EQ(words(splitter, ""), Words{});
}

TEST(Splitter, Qwen2CutsBeforeMarks) {
  const Splitter splitter(std::string(Splitter::qwen2_regex), "test");
  EXPECT_EQ(words(splitter, "\u0928\u094D\u0928"), (Words{"\u0928", "\u094D\u0928"}));
}

TEST(Splitter, TheScannerEqualsPcre2) {
  // Characters of Unicode 14 and before, which PCRE2 10.42 knows.
  const std::vector<std::string> parts = {
      "a",      "Z",      "\u00E9", "\u4E2D", "\u0928",     "\u094D", "\u0301", "\u20DD", "1",       "\u0664", "\u00BD",
      "\u2163", " ",      " ",      "\t",     "\n",         "\r",     "\r\n",   "\v",     "\u0085",  "\u00A0", "\u2028",
      "\u3000", "\u180E", "\u200B", "\u001C", "!",          "'",      "'s",     "'S",     "'\u017F", "'re",    "'Ve",
      "'ll",    "'L",     "'d",     "<",      "\U0001F600", "_",      "\u00AD", "\uFFFD", "\u0000"};
  for (const std::string_view regex : {Splitter::qwen35_regex, Splitter::qwen2_regex}) {
    const Splitter scanner(std::string(regex), "test");
    const Splitter pcre2 = Splitter::with_pcre2(std::string(regex), "test");
    std::mt19937 random(1);
    for (int round = 0; round < 20'000; ++round) {
      std::string text;
      for (std::size_t i = random() % 14; i > 0; --i) text += parts[random() % parts.size()];
      ASSERT_EQ(words(scanner, text), words(pcre2, text)) << text;
    }
  }
}

// They may differ only where PCRE2's Unicode, 14 in Debian 12, is behind the reference's 16.
TEST(Splitter, EveryCharacterIsClassedAsByPcre2) {
  const Splitter scanner(std::string(Splitter::qwen35_regex), "test");
  const Splitter pcre2 = Splitter::with_pcre2(std::string(Splitter::qwen35_regex), "test");
  const auto text_of = [](char32_t first, char32_t last) {
    std::string text;
    for (char32_t c = first; c <= last; ++c) {
      if (c >= 0xD800 && c < 0xE000) continue;
      text += "a";
      append_utf8(text, c);
      append_utf8(text, c);
      text += " b";
    }
    return text;
  };
  const auto same = [&](const std::string& text) { return words(scanner, text) == words(pcre2, text); };
  const Splitter unassigned("x\\p{Cn}", "test");
  constexpr char32_t block = 0x200;
  for (char32_t first = 0; first < 0x110000; first += block) {
    if (same(text_of(first, first + block - 1))) continue;
    for (char32_t c = first; c < first + block; ++c) {
      if (same(text_of(c, c))) continue;
      std::string text = "yx";
      append_utf8(text, c);
      EXPECT_EQ(words(unassigned, text).size(), 2U) << "U+" << std::hex << static_cast<std::uint32_t>(c);
    }
  }
}

TEST(Splitter, GapsAndEmptyMatchesOfOtherExpressionsKeepTheText) {
  EXPECT_EQ(words(Splitter("b*", "test"), "abba\u00E9"), (Words{"a", "bb", "a\u00E9"}));
  EXPECT_EQ(words(Splitter("\\d+", "test"), "a12b"), (Words{"a", "12", "b"}));
  EXPECT_EQ(words(Splitter("x", "test"), "abc"), (Words{"abc"}));
  EXPECT_EQ(words(Splitter("[\\s,]+", "test"), "a,\u180E b"), (Words{"a", ",", "\u180E", " ", "b"}));
}

TEST(Splitter, BadAndRunawayExpressionsAreRefused) {
  EXPECT_THROW(Splitter("(a", "test"), Error);
  EXPECT_THROW(Splitter(std::string(5000, 'a'), "test"), Error);
  const Splitter runaway("(a|aa)+\\d", "test");
  try {
    (void)words(runaway, std::string(60, 'a') + "!1");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::unsupported);
  }
}

}  // namespace
}  // namespace qwen35
