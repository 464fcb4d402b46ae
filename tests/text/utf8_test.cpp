#include "text/utf8.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "text/utf8_stream.h"

namespace qwen35 {
namespace {

struct Example {
  std::string bytes;
  std::string text;
};

/// Table 3-8 of the Unicode Standard and the borders of every range.
const std::vector<Example>& examples() {
  static const std::vector<Example> list = {
      {"", ""},
      {"abc", "abc"},
      {"\x80", "\uFFFD"},
      {"\xC0\xAF", "\uFFFD\uFFFD"},
      {"\xC2\x80", "\u0080"},
      {"\xE0\x80\x80", "\uFFFD\uFFFD\uFFFD"},
      {"\xE0\xA0\x80", "\u0800"},
      {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"},
      {"\xED\x9F\xBF", "\uD7FF"},
      {"\xF0\x80\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
      {"\xF0\x90\x80\x80", "\U00010000"},
      {"\xF4\x8F\xBF\xBF", "\U0010FFFF"},
      {"\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
      {"\xF5\x80", "\uFFFD\uFFFD"},
      {"\xFF", "\uFFFD"},
      {"\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64", "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd"},
      {"\xE2\x82", "\uFFFD"},
      {"\xF0\x9F\x98", "\uFFFD"},
      {"a\xF0\x9F\x98z", "a\uFFFDz"},
  };
  return list;
}

TEST(Utf8, IllFormedSubpartsAreReplaced) {
  for (const Example& e : examples()) {
    EXPECT_EQ(to_valid_utf8(e.bytes), e.text);
    EXPECT_EQ(is_valid_utf8(e.bytes), e.bytes == e.text);
  }
}

TEST(Utf8, EveryScalarValueIsReadBack) {
  for (char32_t c = 0; c < 0x110000; c += c < 0x3000 ? 1 : 61) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_utf8(text, c);
    const Utf8Step step = decode_utf8(text);
    ASSERT_EQ(step.code_point, c);
    ASSERT_EQ(step.length, text.size());
    std::size_t pos = 0;
    ASSERT_EQ(next_code_point(text, pos), c);
    ASSERT_EQ(pos, text.size());
    ASSERT_TRUE(is_valid_utf8(text));
  }
}

TEST(Utf8Stream, CutsChangeNothing) {
  std::mt19937 random(9);
  for (int round = 0; round < 500; ++round) {
    std::string bytes;
    std::string text;
    for (int i = 0; i < 6; ++i) {
      const Example& e = examples()[random() % examples().size()];
      bytes += e.bytes + "|";  // keeps the examples apart
      text += e.text + "|";
    }
    Utf8Stream stream;
    std::string out;
    for (std::size_t pos = 0; pos < bytes.size();) {
      const std::size_t count = 1 + random() % 4;
      const std::string piece = stream.push(std::string_view(bytes).substr(pos, count));
      EXPECT_TRUE(is_valid_utf8(piece));
      out += piece;
      pos += count;
    }
    EXPECT_EQ(out + stream.finish(), text);
  }
}

TEST(Utf8Stream, HoldsBackNoMoreThanItMust) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("a\xF0\x9F"), "a");
  EXPECT_EQ(stream.push("\x98"), "");
  EXPECT_EQ(stream.push("\x80"), "\U0001F600");
  EXPECT_EQ(stream.push("\xE2\x82"), "");
  EXPECT_EQ(stream.push("x"), "\uFFFDx");  // known to be ill-formed now
  EXPECT_EQ(stream.push("\xE0"), "");
  EXPECT_EQ(stream.push("\x80"), "\uFFFD\uFFFD");
  EXPECT_EQ(stream.push("\xC3"), "");
  EXPECT_EQ(stream.finish(), "\uFFFD");
  EXPECT_EQ(stream.finish(), "");
  EXPECT_EQ(stream.push("\xA9"), "\uFFFD");
}

}  // namespace
}  // namespace qwen35
