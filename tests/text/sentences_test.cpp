// Sentences out of a stream: where they end, what is said of markdown and emoji, that pieces do not matter.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/error.h>
#include <qwen35/sentences.h>

#include <random>
#include <string>
#include <vector>

#include "text/utf8.h"

namespace qwen35 {
namespace {

using Texts = std::vector<std::string>;

/// Whole sentences only: no early first chunk.
SentenceOptions whole() {
  SentenceOptions options;
  options.first_clause_words = 0;
  options.first_words = 0;
  return options;
}

Texts texts(const std::vector<Sentence>& sentences) {
  Texts out;
  for (const Sentence& sentence : sentences) out.push_back(sentence.text);
  return out;
}

struct Case {
  const char* name;
  std::string text;
  Texts sentences;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.text; }

class Splitting : public testing::TestWithParam<Case> {};

TEST_P(Splitting, EndsWhereASpeakerPauses) {
  EXPECT_EQ(texts(split_sentences(GetParam().text, whole())), GetParam().sentences);
}

const auto kCaseName = [](const testing::TestParamInfo<Case>& info) { return std::string(info.param.name); };

INSTANTIATE_TEST_SUITE_P(
    Marks, Splitting,
    testing::Values(
        Case{"Plain", "Hello there. How are you? Fine!", {"Hello there.", "How are you?", "Fine!"}},
        Case{"NoMark", "and so on", {"and so on"}}, Case{"Runs", "Really?! Yes!!! Ok.", {"Really?!", "Yes!!!", "Ok."}},
        Case{"Titles",
             "Dr. Smith met Mrs. Jones on Elm St. today. Good.",
             {"Dr. Smith met Mrs. Jones on Elm St. today.", "Good."}},
        Case{"Latin",
             "Fruit, e.g. apples, i.e. food, vs. stones. Yes.",
             {"Fruit, e.g. apples, i.e. food, vs. stones.", "Yes."}},
        Case{"Etc",
             "Bread, milk, etc. are food. We buy bread, milk, etc. Then we eat.",
             {"Bread, milk, etc. are food.", "We buy bread, milk, etc.", "Then we eat."}},
        Case{"Hours",
             "Come at 5 p.m. sharp. I leave at 6 a.m. The train waits.",
             {"Come at 5 p.m. sharp.", "I leave at 6 a.m.", "The train waits."}},
        Case{"Initialism",
             "The U.S. Army is in the U.S. It is large.",
             {"The U.S. Army is in the U.S.", "It is large."}},
        Case{"Initials",
             "J. R. R. Tolkien wrote it. He ate vitamin C. It helped.",
             {"J. R. R. Tolkien wrote it.", "He ate vitamin C.", "It helped."}},
        Case{"Numbered",
             "No. 5 is alive. No. It is dead. See Fig. 3 on Jan. 4 please.",
             {"No. 5 is alive.", "No.", "It is dead.", "See Fig. 3 on Jan. 4 please."}},
        Case{"Decimals",
             "Pi is 3.14159. Use v1.2.3 now. It costs $5.99.",
             {"Pi is 3.14159.", "Use v1.2.3 now.", "It costs $5.99."}},
        Case{"Times", "It is 10:30. Go at 11.45. Now.", {"It is 10:30.", "Go at 11.45.", "Now."}},
        Case{"Years", "It ended in 1945. 17 plus 25 is 42. Good.", {"It ended in 1945.", "17 plus 25 is 42.", "Good."}},
        Case{"Addresses",
             "See https://a.example.org/x.html?q=1.5 or mail a.b@example.org. Bye.",
             {"See https://a.example.org/x.html?q=1.5 or mail a.b@example.org.", "Bye."}},
        Case{"Files", "Open main.cpp and .NET docs. Done.", {"Open main.cpp and .NET docs.", "Done."}},
        Case{"Ellipsis",
             "Well... maybe so. Wait... No… I go. So… it is",
             {"Well... maybe so.", "Wait...", "No…", "I go.", "So… it is"}},
        Case{"Quotes",
             "He said \"Stop!\" and left. \"Why?\" she asked. “Go.” Then he went.",
             {"He said \"Stop!\" and left.", "\"Why?\" she asked.", "“Go.”", "Then he went."}},
        Case{"Brackets",
             "It works (mostly.) Then it fails (why?) and stops. [Done.] Bye.",
             {"It works (mostly.)", "Then it fails (why?) and stops.", "Done.", "Bye."}},
        Case{"ShortUnknown",
             "The st. of affairs. An abc. def is here.",
             {"The st. of affairs.", "An abc. def is here."}},
        Case{"SmallLetters",
             "hello there. how are you? fine then. ok",
             {"hello there.", "how are you?", "fine then.", "ok"}}),
    kCaseName);

INSTANTIATE_TEST_SUITE_P(
    Scripts, Splitting,
    testing::Values(Case{"Chinese",
                         "你好。你叫什么？我很好！「再见。」他说",
                         {"你好。", "你叫什么？", "我很好！", "「再见。」", "他说"}},
                    Case{"ChineseWithNumbers", "圆周率是3.14。对吗?对", {"圆周率是3.14。", "对吗?", "对"}},
                    Case{"Japanese", "元気ですか？！はい。", {"元気ですか？！", "はい。"}},
                    Case{"Hindi", "आप कैसे हैं? मैं ठीक हूँ। धन्यवाद॥ फिर", {"आप कैसे हैं?", "मैं ठीक हूँ।", "धन्यवाद॥", "फिर"}},
                    Case{"Arabic", "كيف حالك؟ أنا بخير.", {"كيف حالك؟", "أنا بخير."}},
                    Case{"Russian", "Привет, мир. Как дела?", {"Привет, мир.", "Как дела?"}}),
    kCaseName);

INSTANTIATE_TEST_SUITE_P(
    Markdown, Splitting,
    testing::Values(
        Case{"Emphasis",
             "This is **very** *good* and ***both*** and __so__ _on_. ~~No~~ yes.",
             {"This is very good and both and so on.", "No yes."}},
        Case{"StarsThatStay",
             "2 * 3 is 6 and 2*3 too. A snake_case name.",
             {"2 * 3 is 6 and 2*3 too.", "A snake case name."}},
        Case{"BoldSentence", "**Note.** Then *more*.\n\n**End**", {"Note.", "Then more.", "End"}},
        Case{"Code", "Run `make *all*` now. Use ``a`b``.", {"Run make *all* now.", "Use ab."}},
        Case{"Links",
             "See [the page](https://x.org/a_(b)) and [this][1]. ![A cat](cat.png) <https://y.org>.",
             {"See the page and this.", "A cat https://y.org."}},
        Case{"Brackets", "It is [sic] so!", {"It is sic so!"}},
        Case{"Headings", "# Title\nText here.\n## Next one\nMore", {"Title", "Text here.", "Next one", "More"}},
        Case{"Underlined", "Title\n=====\nText", {"Title", "Text"}},
        Case{"List",
             "You need:\n- two eggs\n- milk\n* 1 cup flour\n\nMix.",
             {"You need:", "two eggs", "milk", "1 cup flour", "Mix."}},
        Case{"Numbers",
             "Steps:\n1. First do. Then rest.\n2) Second\n10. Last",
             {"Steps:", "1. First do.", "Then rest.", "2) Second", "10. Last"}},
        Case{"NestedList", "- a b\n  - c d\n    1. e f\n• g h", {"a b", "c d", "1. e f", "g h"}},
        Case{"NumberLine", "3.14 is pi\n1945 was\n-5 degrees", {"3.14 is pi 1945 was -5 degrees"}},
        Case{"SoftWrap", "One sentence\nover two lines. And\nmore", {"One sentence over two lines.", "And more"}},
        Case{"Paragraphs", "No mark here\n\nNext part", {"No mark here", "Next part"}},
        Case{"Rules", "A b\n\n---\n* * *\n___\nC d", {"A b", "C d"}},
        Case{"Table", "Before\n| a | b |\n|---|---|\n| 1 | 2 |\nAfter", {"Before", "After"}},
        Case{"Quote", "> Said he.\n> Twice.", {"Said he.", "Twice."}},
        Case{"Fence", "Look:\n```cpp\nint main() {} // a. B\n```\nDone.", {"Look:", "Done."}},
        Case{"LongFence", "````\n```\ninner. X\n```\n````\nDone ~~~ here", {"Done here"}},
        Case{"OpenFence", "Text.\n~~~\nnever closed. X", {"Text."}},
        Case{"FenceOnALine", "```a b``` is code.", {"a b is code."}},
        Case{"Escapes", "\\*not bold\\* and \\# fine. C:\\dir", {"*not bold* and # fine.", "C:dir"}},
        Case{"Html",
             "Line one<br>two <b>bold</b> and 1 < 2 > 0, x<y. <notatag> &amp; &lt;3 &unknown; AT&T",
             {"Line one two bold and 1 < 2 > 0, x<y.", "<notatag> & <3 &unknown; AT&T"}}),
    kCaseName);

INSTANTIATE_TEST_SUITE_P(
    Emoji, Splitting,
    testing::Values(Case{"Dropped", "Great 😀! Yes 👍🏽. Bye 👋", {"Great !", "Yes .", "Bye"}},
                    Case{"Families",
                         "A 👩‍👩‍👧‍👦 family. Flags 🇩🇪🇫🇷 too. Rainbow 🏳️‍🌈 done.",
                         {"A family.", "Flags too.", "Rainbow done."}},
                    Case{"Keycaps", "Press 1️⃣ or #️⃣ now", {"Press 1 or # now"}},
                    Case{"Drawings", "A → B ✓ ★ ─ 25°C © 2024 ™", {"A B 25°C © 2024 ™"}}, Case{"OnlyEmoji", "😀😀 🎉", {}},
                    Case{"Joiners",
                         "नमस्ते क्‍ष می‌خواهم",
                         {"नमस्ते क्‍ष می‌خواهم"}},
                    Case{"Invisible", "a\u200Bb\uFEFFc\u00ADd\u202Ee", {"abcde"}}),
    kCaseName);

TEST(Sentences, CodeMayBeAnnounced) {
  SentenceOptions options = whole();
  options.code_block = "Code follows.";
  EXPECT_EQ(texts(split_sentences("So:\n```\nx = 1\n```\nThat is it.", options)),
            (Texts{"So:", "Code follows.", "That is it."}));
}

TEST(Sentences, TheFirstChunkIsSmall) {
  EXPECT_EQ(texts(split_sentences("When the sun shines through rain, a rainbow appears, and people look.")),
            (Texts{"When the sun shines through rain,", "a rainbow appears, and people look."}));
  EXPECT_EQ(texts(split_sentences("Yes, it is so, I think.")), (Texts{"Yes, it is so,", "I think."}));
  EXPECT_EQ(texts(split_sentences("我觉得今天天气很好，我们走吧。")), (Texts{"我觉得今天天气很好，", "我们走吧。"}));
  EXPECT_EQ(texts(split_sentences("It costs 1,000,000 at 10:30.")), (Texts{"It costs 1,000,000 at 10:30."}));
  SentenceOptions options;
  options.first_words = 5;
  const std::vector<Sentence> parts = split_sentences("one two three four five six seven eight nine ten", options);
  EXPECT_EQ(texts(parts), (Texts{"one two three four five", "six seven eight nine ten"}));
  EXPECT_FALSE(parts[0].complete);
  EXPECT_TRUE(parts[1].complete);
  options.first_words = 2;
  EXPECT_EQ(texts(split_sentences("about 300 000 kilometers away", options)),
            (Texts{"about 300 000 kilometers", "away"}));
}

TEST(Sentences, ComeAsSoonAsTheyAreKnown) {
  SentenceStream stream;
  EXPECT_THAT(stream.push("Gravity is a force"), testing::IsEmpty());
  EXPECT_THAT(stream.push("."), testing::IsEmpty());
  EXPECT_EQ(texts(stream.push(" It")), (Texts{"Gravity is a force."}));
  EXPECT_THAT(stream.push(" pulls"), testing::IsEmpty());
  EXPECT_EQ(texts(stream.push("!\n")), (Texts{"It pulls!"}));
  EXPECT_THAT(stream.push("- an item"), testing::IsEmpty());
  EXPECT_EQ(texts(stream.push("\n")), (Texts{"an item"}));
  EXPECT_EQ(texts(stream.push("你好。我")), (Texts{"你好。"}));
  EXPECT_EQ(texts(stream.finish()), (Texts{"我"}));
  EXPECT_EQ(texts(stream.push("New, as it was, again")), (Texts{"New, as it was,"}));
}

TEST(Sentences, RangesGiveWhatWasHeard) {
  const std::string text = "**Hello there.** It's [my page](http://x.org)! 😀 And `so`\n- on\n";
  const std::vector<Sentence> sentences = split_sentences(text, whole());
  ASSERT_EQ(texts(sentences), (Texts{"Hello there.", "It's my page!", "And so", "on"}));
  EXPECT_EQ(text.substr(0, sentences[0].end), "**Hello there.**");
  EXPECT_EQ(text.substr(0, sentences[1].end), "**Hello there.** It's [my page](http://x.org)!");
  EXPECT_EQ(text.substr(sentences[2].begin, sentences[2].end - sentences[2].begin), "And `so`");
  ASSERT_EQ(sentences[1].words.size(), 3U);
  EXPECT_EQ(text.substr(0, sentences[1].source_end(3)), "**Hello there.** ");  // "It'" is no whole word
  EXPECT_EQ(text.substr(0, sentences[1].source_end(4)), "**Hello there.** It's");
  EXPECT_EQ(text.substr(0, sentences[1].source_end(8)), "**Hello there.** It's [my");
  EXPECT_EQ(sentences[1].source_end(100), sentences[1].end);
  const std::vector<Sentence> chinese = split_sentences("你好吗？我好。", whole());
  ASSERT_EQ(chinese[0].words.size(), 3U);
  EXPECT_EQ(chinese[0].source_end(6), 6U);
}

/// Random text of what the splitter knows, well-formed or not.
std::string random_text(std::mt19937& random) {
  static const Texts parts = {"Hello",
                              "world",
                              " ",
                              " ",
                              " ",
                              ". ",
                              ".",
                              "! ",
                              "?",
                              "Mr.",
                              "e.g.",
                              "U.S.",
                              "3.14",
                              "1",
                              "2. ",
                              "\n",
                              "\n\n",
                              "- ",
                              "* ",
                              "**",
                              "*",
                              "_",
                              "`",
                              "```",
                              "```\n",
                              "# ",
                              "[",
                              "](",
                              ")",
                              "]",
                              "![",
                              "<b>",
                              "<",
                              ">",
                              "&amp;",
                              "&",
                              "|",
                              "---\n",
                              "…",
                              "...",
                              "你好",
                              "。",
                              "，",
                              "！",
                              "」",
                              "हूँ",
                              "।",
                              "😀",
                              "👩‍👩‍👧",
                              "🇩🇪",
                              "1️⃣",
                              "\xFF",
                              "\xE4\xBD",
                              "é",
                              "e\u0301",
                              "\"",
                              "”",
                              "\\",
                              "~~",
                              "~",
                              ", ",
                              "; ",
                              "— ",
                              "https://x.org",
                              "It",
                              "the",
                              "(",
                              "A",
                              "\t",
                              "\r\n",
                              "== "};
  std::string text;
  const std::size_t count = random() % 80;
  for (std::size_t i = 0; i < count; ++i) text += parts[random() % parts.size()];
  return text;
}

TEST(Sentences, PiecesDoNotMatter) {
  std::mt19937 random(7);
  for (int round = 0; round < 3000; ++round) {
    const std::string text = random_text(random);
    SentenceOptions options;
    options.max_bytes = 16 + random() % 60;
    const std::vector<Sentence> expected = split_sentences(text, options);
    SentenceStream stream(options);
    std::vector<Sentence> sentences;
    for (std::size_t pos = 0; pos < text.size();) {
      const std::size_t length = std::min<std::size_t>(1 + random() % 9, text.size() - pos);
      for (Sentence& s : stream.push(std::string_view(text).substr(pos, length))) sentences.push_back(std::move(s));
      pos += length;
    }
    for (Sentence& s : stream.finish()) sentences.push_back(std::move(s));
    ASSERT_EQ(sentences.size(), expected.size()) << testing::PrintToString(text);
    std::size_t end = 0;
    for (std::size_t i = 0; i < sentences.size(); ++i) {
      ASSERT_EQ(sentences[i].text, expected[i].text) << testing::PrintToString(text);
      ASSERT_EQ(sentences[i].end, expected[i].end);
      ASSERT_TRUE(is_valid_utf8(sentences[i].text));
      ASSERT_LE(sentences[i].text.size(), 5 * options.max_bytes);
      ASSERT_FALSE(sentences[i].words.empty());
      ASSERT_EQ(sentences[i].words.back().source_end, sentences[i].end);
      ASSERT_EQ(sentences[i].words.back().text_end, sentences[i].text.size());
      ASSERT_LE(end, sentences[i].begin);
      ASSERT_LT(sentences[i].begin, sentences[i].end);
      ASSERT_LE(sentences[i].end, text.size());
      std::size_t at = sentences[i].begin;
      for (const Sentence::Word& word : sentences[i].words) {
        ASSERT_LE(at, word.source_end);
        at = word.source_end;
      }
      end = sentences[i].end;
    }
  }
}

TEST(Sentences, LongOnesAreCutWhereItHurtsLeast) {
  SentenceOptions options = whole();
  options.max_bytes = 40;
  EXPECT_EQ(texts(split_sentences("one two three four five six, seven eight nine ten eleven", options)),
            (Texts{"one two three four five six,", "seven eight nine ten eleven"}));
  EXPECT_EQ(texts(split_sentences("one two three four five six seven eight nine ten eleven", options)),
            (Texts{"one two three four five six seven eight", "nine ten eleven"}));
  const std::string number(100, '7');
  EXPECT_EQ(texts(split_sentences("the number is about " + number + " or so", options)),
            (Texts{"the number is about", number + " or so"}));
  std::string marks;
  for (int i = 0; i < 30; ++i) marks += "e\u0301";
  for (const Sentence& sentence : split_sentences(marks, options)) {
    EXPECT_TRUE(sentence.text.starts_with("e")) << sentence.text;
    EXPECT_EQ(sentence.text.size() % 3, 0U);
  }
}

TEST(Sentences, HostileTextIsBounded) {
  const std::size_t size = 1 << 20;
  const auto repeat = [](const std::string& unit) {
    std::string text;
    while (text.size() < size) text += unit;
    return text;
  };
  for (const char* unit : {".",       "?",  "*",  "_*", "[",   "](", "![", "`",       "<a",     "&",      "\\",
                           "1",       "1.", "- ", "# ", "|\n", ">",  "\n", "e\u0301", "\u0301", "\u1100", "\u200D",
                           "😀\u200D", "a",  "，", "。", "(((", "a.", "\"", "J. ",     "\xFF",   "```",    "~~~\n"}) {
    std::size_t longest = 0;
    for (const Sentence& sentence : split_sentences("Go " + repeat(unit)))
      longest = std::max(longest, sentence.text.size());
    EXPECT_LE(longest, 5 * SentenceOptions().max_bytes) << testing::PrintToString(std::string(unit));
  }
}

TEST(Sentences, ATooSmallLimitIsRefused) {
  SentenceOptions options;
  options.max_bytes = 15;
  EXPECT_THROW(SentenceStream{options}, Error);
}

}  // namespace
}  // namespace qwen35
