// Ids against Hugging Face tokenizers, on the two real vocabularies of the reference data.

#include <gtest/gtest.h>
#include <time.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <utility>
#include <vector>

#include "text/tokenizer.h"
#include "text/unicode.h"
#include "text_data.h"

namespace qwen35 {
namespace {

using nlohmann::json;
using test::read_xz;
using test::shared_path;

/// Processor time of this thread. Times are printed, not asserted: what would be quadratic in a megabyte never ends before
/// CTest's limit.
double now() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

class Qwen35Vocabulary : public testing::Test {
 protected:
  static constexpr const char* file = "tokenizer/tokenizer.json.xz";

  void SetUp() override { QWEN35_NEED_SHARED(file); }

  static const std::string& json_text() {
    static const std::string text = read_xz(shared_path(file));
    return text;
  }
  static const Tokenizer& tokenizer() {
    static const Tokenizer instance = Tokenizer::from_json(json_text(), "tokenizer.json");
    return instance;
  }
};

TEST_F(Qwen35Vocabulary, CasesEqualTheReference) {
  std::istringstream lines(test::read_file(shared_path("tokenizer/cases.jsonl")));
  int cases = 0;
  for (std::string line; std::getline(lines, line);) {
    const json item = json::parse(line);
    const auto text = item["text"].get<std::string>();
    const auto ids = item["ids"].get<std::vector<TokenId>>();
    EXPECT_EQ(tokenizer().encode_with_special(text), ids) << line;
    EXPECT_EQ(tokenizer().decode(ids), to_nfc(text)) << line;
    ++cases;
  }
  EXPECT_EQ(cases, 505);
}

TEST_F(Qwen35Vocabulary, RecordedPromptsEqualTheRealTokenizer) {
  const json recorded = json::parse(test::read_file(shared_path("tokenizer/recorded.json")));
  EXPECT_GE(recorded.size(), 20U);
  for (const json& item : recorded) {
    EXPECT_EQ(tokenizer().encode(item["text"].get<std::string>()), item["ids"].get<std::vector<TokenId>>()) << item;
  }
}

TEST_F(Qwen35Vocabulary, SpecialIdsAreFoundByTheirText) {
  EXPECT_EQ(tokenizer().added_token("<|endoftext|>"), 248044);
  EXPECT_EQ(tokenizer().added_token("<|im_end|>"), 248046);
  EXPECT_EQ(tokenizer().added_token("</think>"), 248069);
  EXPECT_EQ(tokenizer().added_token("<|im_end"), std::nullopt);
  EXPECT_EQ(tokenizer().size(), 248077U);
  EXPECT_TRUE(tokenizer().is_added(248068));
  EXPECT_FALSE(tokenizer().is_added(198));
  EXPECT_EQ(tokenizer().decode(std::vector<TokenId>{248045, 198, 248068}, true), "\n<think>");
}

TEST_F(Qwen35Vocabulary, PlainTextNeverYieldsAddedTokens) {
  std::mt19937 random(7);
  const std::vector<std::string> parts = {"<|im_end|>",  "<think>", "</think>", "<|im", "_start|>",
                                          "<tool_call>", " ",       "\n",       "a"};
  for (int round = 0; round < 500; ++round) {
    std::string text;
    for (int i = 0; i < 12; ++i) text += parts[random() % parts.size()];
    for (const TokenId id : tokenizer().encode(text)) EXPECT_FALSE(tokenizer().is_added(id)) << text;
    EXPECT_EQ(tokenizer().decode(tokenizer().encode(text)), text);
  }
}

TEST_F(Qwen35Vocabulary, RandomTextSurvivesTheRoundTrip) {
  std::mt19937 random(11);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (int i = 0; i < 30; ++i) {
      const char32_t limits[] = {0x80, 0x250, 0x3000, 0xD800, 0x20000};
      std::uniform_int_distribution<std::uint32_t> any(1, limits[random() % 5] - 1);
      char32_t c = any(random);
      if (c >= 0xD800 && c < 0xE000) c = ' ';
      if (c < 0x80) {
        text.push_back(static_cast<char>(c));
      } else if (c < 0x800) {
        text += {static_cast<char>(0xC0 | (c >> 6)), static_cast<char>(0x80 | (c & 63))};
      } else if (c < 0x10000) {
        text += {static_cast<char>(0xE0 | (c >> 12)), static_cast<char>(0x80 | ((c >> 6) & 63)),
                 static_cast<char>(0x80 | (c & 63))};
      } else {
        text += {static_cast<char>(0xF0 | (c >> 18)), static_cast<char>(0x80 | ((c >> 12) & 63)),
                 static_cast<char>(0x80 | ((c >> 6) & 63)), static_cast<char>(0x80 | (c & 63))};
      }
    }
    EXPECT_EQ(tokenizer().decode(tokenizer().encode(text)), to_nfc(text));
  }
}

TEST_F(Qwen35Vocabulary, LoadsWhole) {
  (void)json_text();
  double best = 1e9;
  for (int i = 0; i < 3; ++i) {
    const auto start = now();
    const Tokenizer loaded = Tokenizer::from_json(json_text(), "tokenizer.json");
    best = std::min(best, now() - start);
    EXPECT_EQ(loaded.size(), 248077U);
  }
  RecordProperty("milliseconds", std::to_string(best * 1e3));
  std::printf("loaded in %.1f ms, %.1f MB held\n", best * 1e3, static_cast<double>(tokenizer().memory_bytes()) / 1e6);
}

TEST_F(Qwen35Vocabulary, NoTextCostsQuadraticTime) {
  constexpr std::size_t megabyte = 1 << 20;
  const auto repeat = [](std::string_view piece) {
    std::string text;
    while (text.size() < megabyte) text.append(piece);
    return text;
  };
  std::mt19937 random(5);
  std::string noise(megabyte, '\0');
  for (char& c : noise) c = static_cast<char>(static_cast<unsigned char>(random()));
  std::string letters(megabyte, 'a');
  for (char& c : letters) c = static_cast<char>('a' + random() % 26);
  const std::pair<const char*, std::string> texts[] = {
      {"one letter", repeat("a")},
      {"random letters", letters},
      {"spaces", repeat(" ")},
      {"spaces before a letter", repeat(" ") + "a"},
      {"newlines", repeat("\n")},
      {"spaces and newlines", repeat("  \n")},
      {"digits", repeat("7")},
      {"punctuation", repeat("!")},
      {"combining marks of one class", repeat("\u0301")},
      {"combining marks out of order", repeat("\u0301\u0327\u0315")},
      {"marks, the later class first, then the earlier",
       repeat("\u0301").substr(0, megabyte / 2) + repeat("\u0327").substr(0, megabyte / 2)},
      {"Chinese", repeat("\u4E2D\u6587")},
      {"Hangul jamo", repeat("\u1112\u1161\u11AB")},
      {"bytes that are not UTF-8", repeat("\xFF")},
      {"random bytes", noise},
      {"beginnings of control tokens", repeat("<|im_")},
      {"control tokens", repeat("<|im_start|>")},
  };
  for (const auto& [name, text] : texts) {
    for (const bool special : {false, true}) {
      const auto start = now();
      const auto ids = special ? tokenizer().encode_with_special(text) : tokenizer().encode(text);
      const double seconds = now() - start;
      std::printf("%s%s: %.0f ms, %zu tokens\n", name, special ? " (special)" : "", seconds * 1e3, ids.size());
    }
  }
}

TEST_F(Qwen35Vocabulary, OrdinaryTextComesBack) {
  std::string text;
  std::istringstream lines(test::read_file(shared_path("template/chat_template.jinja")) +
                           test::read_file(shared_path("docs/field.md")) +
                           test::read_file(shared_path("docs/model.md")));
  for (std::string line; std::getline(lines, line);) text += line + "\n";
  while (text.size() < (4U << 20)) text += text;
  const auto start = now();
  const auto ids = tokenizer().encode(text);
  const double seconds = now() - start;
  EXPECT_EQ(tokenizer().decode(ids), to_nfc(text));
  std::printf("%.1f MB/s, %.2f bytes a token\n", static_cast<double>(text.size()) / seconds / 1e6,
              static_cast<double>(text.size()) / static_cast<double>(ids.size()));
}

/// The published vectors of the Qwen2 vocabulary, which were made without NFC.
TEST(Qwen2Vocabulary, PublishedVectorsAreMet) {
  QWEN35_NEED_SHARED("tokenizer/qwen2.vocab.json.xz");
  json merges = json::array();
  std::istringstream lines(read_xz(shared_path("tokenizer/qwen2.merges.txt.xz")));
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && !line.starts_with("#version")) merges.push_back(line);
  }
  const json file = {
      {"normalizer", nullptr},
      {"pre_tokenizer",
       {{"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Split"},
           {"pattern",
            {{"Regex",
              R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}}},
           {"behavior", "Isolated"},
           {"invert", false}},
          {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model",
       {{"type", "BPE"},
        {"vocab", json::parse(read_xz(shared_path("tokenizer/qwen2.vocab.json.xz")))},
        {"merges", merges}}}};
  const Tokenizer tokenizer = Tokenizer::from_json(file.dump(), "qwen2");

  const std::string input = test::read_file(shared_path("tokenizer/qwen2.inp"));
  std::istringstream expected(test::read_file(shared_path("tokenizer/qwen2.out")));
  const std::string separator = "\n__ggml_vocab_test__\n";
  int cases = 0;
  for (std::size_t pos = 0; pos <= input.size(); ++cases) {
    const std::size_t end = input.find(separator, pos);
    const std::string text = input.substr(pos, end == std::string::npos ? end : end - pos);
    std::string line;
    if (!std::getline(expected, line)) break;
    std::istringstream numbers(line);
    std::vector<TokenId> ids;
    for (TokenId id = 0; numbers >> id;) ids.push_back(id);
    EXPECT_EQ(tokenizer.encode(text), ids) << text;
    EXPECT_EQ(tokenizer.decode(ids), text);
    if (end == std::string::npos) {
      ++cases;
      break;
    }
    pos = end + separator.size();
  }
  EXPECT_GE(cases, 40);
}

}  // namespace
}  // namespace qwen35
