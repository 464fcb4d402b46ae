#include "chat/stop_strings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/error.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "text/utf8.h"

namespace qwen35 {
namespace {

struct Cut {
  std::string text;
  std::optional<std::string> found;
};

/// By definition, with std::string::find.
Cut cut_by_definition(const std::string& text, const std::vector<std::string>& strings) {
  std::size_t first_end = std::string::npos;
  Cut cut{text, std::nullopt};
  for (const std::string& string : strings) {
    const std::size_t begin = text.find(string);
    if (begin == std::string::npos) continue;
    const std::size_t end = begin + string.size();
    if (end < first_end || (end == first_end && begin < cut.text.size())) {
      first_end = end;
      cut = {text.substr(0, begin), string};
    }
  }
  return cut;
}

TEST(StopStrings, CutTheTextBeforeTheFirst) {
  StopStrings stop({"END", "\n\n"});
  EXPECT_EQ(stop.push("Hello E"), "Hello ");
  EXPECT_FALSE(stop.found());
  EXPECT_EQ(stop.push("N"), "");
  EXPECT_EQ(stop.push("Glish\n"), "ENGlish");
  EXPECT_EQ(stop.push("EN"), "\n");
  EXPECT_EQ(stop.push("Dmore"), "");
  EXPECT_EQ(stop.found(), "END");
  EXPECT_EQ(stop.push("never\n\n"), "");
  EXPECT_EQ(stop.finish(), "");
  EXPECT_EQ(stop.found(), "END");
}

TEST(StopStrings, WhatWasHeldBackComesAtTheEnd) {
  StopStrings stop({"</done>"});
  EXPECT_EQ(stop.push("a</done"), "a");
  EXPECT_EQ(stop.finish(), "</done");
  EXPECT_FALSE(stop.found());
  EXPECT_EQ(stop.push(">"), ">");  // a new text
}

TEST(StopStrings, NoneLetsEverythingPass) {
  StopStrings none;
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.push("any\xC3"), "any\xC3");
  EXPECT_EQ(none.finish(), "");
}

TEST(StopStrings, TheOneCompleteFirstWinsAndOfThoseTheLongest) {
  StopStrings inner({"abcd", "bc"});
  EXPECT_EQ(inner.push("xabcd"), "xa");
  EXPECT_EQ(inner.found(), "bc");
  StopStrings together({"c", "abc", "bc"});
  EXPECT_EQ(together.push("xabc"), "x");
  EXPECT_EQ(together.found(), "abc");
}

TEST(StopStrings, CharactersStayWhole) {
  // The first bytes of 中 and 丯 are the same.
  StopStrings stop({"中国", "。"});
  EXPECT_EQ(stop.push("a丯"), "a丯");
  EXPECT_EQ(stop.push("中"), "");
  EXPECT_EQ(stop.push("文"), "中文");
  EXPECT_EQ(stop.push("😀。x"), "😀");
  EXPECT_EQ(stop.found(), "。");
}

TEST(StopStrings, RefusesHostileLists) {
  for (const auto& bad : std::vector<std::vector<std::string>>{
           {""}, {"a", ""}, {std::string(257, 'x')}, {"\xC3"}, {"\xFF"}, std::vector<std::string>(17, "x")}) {
    try {
      StopStrings stop(bad);
      FAIL() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      EXPECT_THAT(error.what(), testing::StartsWith("stop holds "));
    }
  }
  EXPECT_FALSE(StopStrings(std::vector<std::string>(16, std::string(256, 'x'))).empty());
}

/// Random texts over few characters (so that prefixes overlap), cut at random: the same text and string as the
/// definition's, nothing held longer than it may be.
TEST(StopStrings, AgreeWithFindHoweverTheTextIsCut) {
  std::mt19937 random(11);
  const std::vector<std::string> letters = {"a", "b", "\n", "é", "è", "中", "丯"};
  const auto draw = [&](std::size_t length) {
    std::string text;
    for (std::size_t i = 0; i < length; ++i) text += letters[random() % letters.size()];
    return text;
  };
  std::size_t founds = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::string> strings;
    for (std::size_t i = random() % 4; i > 0; --i) strings.push_back(draw(1 + random() % 5));
    const std::string text = draw(random() % 40);
    StopStrings stop(strings);
    std::string out;
    const bool whole_characters = random() % 2 == 0;
    for (std::size_t at = 0; at < text.size();) {
      std::size_t end = std::min(text.size(), at + random() % 8);
      while (whole_characters && end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80) ++end;
      const std::string piece = stop.push(std::string_view(text).substr(at, end - at));
      if (whole_characters) {
        ASSERT_TRUE(is_valid_utf8(piece));
      }
      out += piece;
      at = end;
      ASSERT_TRUE(text.starts_with(out));
      std::size_t longest = 0;
      for (const std::string& string : strings) longest = std::max(longest, string.size());
      if (!stop.found()) {
        ASSERT_LT(at - out.size(), std::max<std::size_t>(longest, 1));
      }
    }
    out += stop.finish();
    const Cut expected = cut_by_definition(text, strings);
    ASSERT_EQ(out, expected.text) << text;
    ASSERT_EQ(stop.found(), expected.found) << text;
    founds += stop.found() ? 1 : 0;
  }
  EXPECT_GT(founds, 3000U);
}

}  // namespace
}  // namespace qwen35
