#include "text/unicode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "text/utf8.h"

namespace qwen35 {
namespace {

TEST(Unicode, ComposesCanonically) {
  EXPECT_EQ(to_nfc("cafe\u0301"), "caf\u00E9");
  EXPECT_EQ(to_nfc("\u212B"), "\u00C5");              // Angstrom sign
  EXPECT_EQ(to_nfc("\u1112\u1161\u11AB"), "\uD55C");  // Hangul
  EXPECT_EQ(to_nfc("\u0958"), "\u0915\u093C");        // excluded from composition
  EXPECT_EQ(to_nfc("a\u0315\u0300\u05AE\u0062"), "\u00E0\u05AE\u0315\u0062");
  EXPECT_EQ(to_nfc("\u1E9B\u0323"), "\u1E9B\u0323");
  EXPECT_EQ(to_nfc("a\u0328\u0301"), "\u0105\u0301");
  EXPECT_EQ(to_nfc(""), "");
  EXPECT_EQ(to_nfc("\uFB01"), "\uFB01");  // compatibility ligatures stay
}

TEST(Unicode, NormalisesByUnicode9) {
  EXPECT_EQ(to_nfc("\U00011935\U00011930"), "\U00011935\U00011930");  // composes since Unicode 13
  EXPECT_EQ(to_nfc("\U00011938"), "\U00011938");
  EXPECT_EQ(to_nfc("a\u0ECE\u0323"), "a\u0ECE\u0323");
  EXPECT_EQ(to_nfc("a\u1AC5\u0323\u0301"), "a\u1AC5\u0323\u0301");  // class 230 since Unicode 14, before it 0
  EXPECT_EQ(to_nfc("a\u1AB0\u0301\u0323"), "\u1EA1\u1AB0\u0301");
}

TEST(Unicode, NormalisingTwiceChangesNothing) {
  std::mt19937 random(2);
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (int i = 0; i < 12; ++i) {
      const char32_t ranges[][2] = {{0x41, 0x5A},     {0x300, 0x36F},   {0x900, 0x97F},    {0x1100, 0x11FF},
                                    {0xAC00, 0xAC40}, {0x1E00, 0x1FFF}, {0x11930, 0x11945}};
      const auto& range = ranges[random() % std::size(ranges)];
      append_utf8(text, range[0] + static_cast<char32_t>(random()) % (range[1] - range[0] + 1));
    }
    const std::string once = to_nfc(text);
    EXPECT_EQ(to_nfc(once), once);
  }
}

TEST(Unicode, ClassesFollowUnicode16) {
  EXPECT_EQ(char_class('a'), CharClass::letter);
  EXPECT_EQ(char_class('7'), CharClass::number);
  EXPECT_EQ(char_class('\n'), CharClass::newline);
  EXPECT_EQ(char_class('\t'), CharClass::space);
  EXPECT_EQ(char_class(0x1C), CharClass::other);
  EXPECT_EQ(char_class(0x85), CharClass::space);
  EXPECT_EQ(char_class(0x180E), CharClass::other);
  EXPECT_EQ(char_class(0x200B), CharClass::other);
  EXPECT_EQ(char_class(0x301), CharClass::mark);
  EXPECT_EQ(char_class(0xECE), CharClass::mark);      // Unicode 15
  EXPECT_EQ(char_class(0x2EBF0), CharClass::letter);  // Unicode 15.1
  EXPECT_EQ(char_class(0x1C89), CharClass::letter);   // Unicode 16
  EXPECT_EQ(char_class(0x897), CharClass::mark);
  EXPECT_EQ(char_class(0x1CCF9), CharClass::number);
  EXPECT_EQ(char_class(0x1CCFA), CharClass::other);
  EXPECT_EQ(char_class(0x10FFFF), CharClass::other);
}

TEST(Unicode, StripsAsPythonDoes) {
  EXPECT_EQ(strip(" \t\n\v\f\r\x1C\x1D\x1E\x1F\u0085\u00A0\u1680\u2000\u200A\u2028\u2029\u202F\u205F\u3000x "), "x");
  EXPECT_EQ(strip("\u200Bx\u180E"), "\u200Bx\u180E");
  EXPECT_EQ(strip("\uFEFFx"), "\uFEFFx");
  EXPECT_EQ(strip("   "), "");
  EXPECT_EQ(strip(""), "");
  EXPECT_EQ(strip_left(" x "), "x ");
  EXPECT_EQ(strip_right(" x "), " x");
  EXPECT_EQ(strip(std::string("\0x\0", 3)), std::string("\0x\0", 3));
}

}  // namespace
}  // namespace qwen35
