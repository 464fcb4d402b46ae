#include "text/tokenizer.h"

#include <gtest/gtest.h>
#include <qwen35/error.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "text/splitter.h"
#include "text/unicode.h"
#include "text/utf8.h"
#include "text_data.h"

namespace qwen35 {
namespace {

using nlohmann::json;

const json& tiny_json() {
  static const json value = json::parse(test::read_file(test::data_path("tiny_tokenizer.json")));
  return value;
}

const Tokenizer& tiny() {
  static const Tokenizer tokenizer = Tokenizer::from_file(test::data_path("tiny_tokenizer.json"));
  return tokenizer;
}

/// The definition, as slowly as it reads: of all adjacent pairs the one of lowest rank, of equals the leftmost.
class SlowTokenizer {
 public:
  explicit SlowTokenizer(const json& file)
      : splitter_(Splitter::with_pcre2(std::string(Splitter::qwen35_regex), "test")) {
    for (const auto& [text, id] : file["model"]["vocab"].items()) ids_[text] = id.get<TokenId>();
    for (const auto& merge : file["model"]["merges"]) {
      ranks_.try_emplace({merge[0].get<std::string>(), merge[1].get<std::string>()}, ranks_.size());
    }
    char32_t next = 256;
    for (char32_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
      append_utf8(alphabet_[byte], printable ? byte : next++);
    }
  }

  std::vector<TokenId> encode(std::string_view text) const {
    std::vector<TokenId> out;
    splitter_.split(to_nfc(to_valid_utf8(text)), [&](std::string_view word) {
      std::vector<std::string> parts;
      for (const char c : word) parts.push_back(alphabet_[static_cast<unsigned char>(c)]);
      while (true) {
        std::size_t best = ranks_.size();
        std::size_t where = 0;
        for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
          const auto found = ranks_.find({parts[i], parts[i + 1]});
          if (found != ranks_.end() && found->second < best) {
            best = found->second;
            where = i;
          }
        }
        if (best == ranks_.size()) break;
        parts[where] += parts[where + 1];
        parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(where) + 1);
      }
      for (const std::string& part : parts) out.push_back(ids_.at(part));
    });
    return out;
  }

 private:
  Splitter splitter_;
  std::map<std::string, TokenId> ids_;
  std::map<std::pair<std::string, std::string>, std::size_t> ranks_;
  std::array<std::string, 256> alphabet_;
};

PromptText prompt_of(std::initializer_list<std::pair<bool, std::string_view>> pieces) {
  PromptText prompt;
  for (const auto& [control, text] : pieces) control ? prompt.append_control(text) : prompt.append_plain(text);
  return prompt;
}

TokenId id_of(std::string_view text) { return tiny().added_token(text).value(); }

TEST(Tokenizer, EqualsTheDefinitionOnShortAndLongWords) {
  const SlowTokenizer slow(tiny_json());
  std::mt19937 random(3);
  const std::vector<std::string> parts = {"a",
                                          "aa",
                                          " the",
                                          "the",
                                          "er",
                                          " ",
                                          "  ",
                                          "\n",
                                          "7",
                                          "!",
                                          "'s",
                                          "What",
                                          "\u0928\u092E\u0938\u094D\u0924\u0947",
                                          "\u4F60\u597D",
                                          "e\u0301",
                                          "\u00E9",
                                          "l",
                                          "ll",
                                          "o",
                                          "\xFF",
                                          "in"};
  for (int round = 0; round < 600; ++round) {
    std::string text;
    const std::size_t length = random() % (round % 10 == 0 ? 150 : 25);
    // Every third text is one long word of letters, to reach the long-word path.
    for (std::size_t i = 0; i < length; ++i)
      text += round % 3 == 0 ? std::string(1, "aehlorstin"[random() % 10]) : parts[random() % parts.size()];
    ASSERT_EQ(tiny().encode(text), slow.encode(text)) << text;
  }
}

TEST(Tokenizer, MergesEqualPairsFromTheLeft) {
  const SlowTokenizer slow(tiny_json());
  for (std::size_t length = 1; length < 130; ++length) {
    const std::string text(length, 'a');
    EXPECT_EQ(tiny().encode(text), slow.encode(text)) << length;
    EXPECT_EQ(tiny().decode(tiny().encode(text)), text);
  }
}

TEST(Tokenizer, EmptyTextHasNoTokens) {
  EXPECT_TRUE(tiny().encode("").empty());
  EXPECT_TRUE(tiny().encode(PromptText{}).empty());
  EXPECT_TRUE(tiny().encode_with_special("").empty());
  EXPECT_EQ(tiny().decode({}), "");
}

TEST(Tokenizer, AddedTokensAreReadInControlRangesOnly) {
  const std::string_view end = "<|im_end|>";
  EXPECT_EQ(tiny().encode(prompt_of({{true, end}})), std::vector<TokenId>{id_of(end)});
  EXPECT_EQ(tiny().encode(prompt_of({{false, end}})), tiny().encode(end));
  EXPECT_EQ(tiny().encode_with_special(end), std::vector<TokenId>{id_of(end)});
  // Half in, half out: not wholly inside one range.
  EXPECT_EQ(tiny().encode(prompt_of({{true, "<|im_"}, {false, "end|>"}})), tiny().encode(end));
  EXPECT_EQ(tiny().encode(prompt_of({{false, "<|im_"}, {true, "end|>"}})), tiny().encode(end));
  EXPECT_EQ(tiny().encode(prompt_of({{true, "<|im_"}, {true, "end|>"}})), std::vector<TokenId>{id_of(end)});
  const auto mixed = tiny().encode(prompt_of({{true, end}, {false, end}, {true, end}}));
  EXPECT_EQ(mixed.size(), tiny().encode(end).size() + 2);
  EXPECT_EQ(mixed.front(), id_of(end));
  EXPECT_EQ(mixed.back(), id_of(end));
}

TEST(Tokenizer, TextJoinsAcrossRangesWithoutAddedTokens) {
  EXPECT_EQ(tiny().encode(prompt_of({{true, " th"}, {false, "e"}})), tiny().encode(" the"));
  EXPECT_EQ(tiny().encode(prompt_of({{false, "e"}, {true, "\u0301"}})), tiny().encode("\u00E9"));
}

TEST(Tokenizer, BadControlRangesAreRefused) {
  const auto code_of = [](std::vector<PromptText::Range> ranges) {
    try {
      (void)tiny().encode(PromptText{"<think>", std::move(ranges)});
    } catch (const Error& e) {
      return e.code();
    }
    return ErrorCode::internal;
  };
  EXPECT_EQ(code_of({{0, 8}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of({{4, 2}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of({{3, 5}, {0, 2}}), ErrorCode::invalid_argument);
}

TEST(Tokenizer, TheLongestOfTheLeftmostAddedTokensWins) {
  json file = tiny_json();
  const auto add = [&](const char* content, int id) {
    file["added_tokens"].push_back({{"id", id}, {"content", content}, {"special", true}, {"normalized", false}});
  };
  add("<th", 500);
  add("<think>!", 501);
  add("k>", 502);
  const Tokenizer tokenizer = Tokenizer::from_json(file.dump(), "test");
  EXPECT_EQ(tokenizer.encode_with_special("<think>!"), (std::vector<TokenId>{501}));
  const auto ids = tokenizer.encode_with_special("<think><thank>");
  EXPECT_EQ(ids[0], id_of("<think>"));
  EXPECT_EQ(ids[1], 500);
  EXPECT_EQ(ids.back(), 502);
}

TEST(Tokenizer, NormalizedAddedTokensAreFoundAfterNormalisation) {
  json file = tiny_json();
  file["added_tokens"].push_back({{"id", 500}, {"content", "<e\u0301>"}, {"special", false}, {"normalized", true}});
  file["added_tokens"].push_back({{"id", 501}, {"content", "<raw>"}, {"special", false}, {"normalized", false}});
  file["added_tokens"].push_back({{"id", 502}, {"content", "<cooked>"}, {"special", false}, {"normalized", true}});
  const Tokenizer tokenizer = Tokenizer::from_json(file.dump(), "test");
  EXPECT_EQ(tokenizer.encode_with_special("<e\u0301>"), (std::vector<TokenId>{500}));
  EXPECT_EQ(tokenizer.encode_with_special("<\u00E9>"), (std::vector<TokenId>{500}));
  // U+0338 makes one character of itself and the ">" before it: only a token looked for before that survives.
  EXPECT_EQ(tokenizer.encode_with_special("<raw>\u0338").front(), 501);
  EXPECT_NE(tokenizer.encode_with_special("<cooked>\u0338").front(), 502);
  EXPECT_EQ(tokenizer.encode_with_special("<cooked>").front(), 502);
}

TEST(Tokenizer, IllFormedTextIsReadAsReplacementCharacters) {
  EXPECT_EQ(tiny().encode("a\xFF"), tiny().encode("a\uFFFD"));
  EXPECT_EQ(tiny().encode("\xE4\xBD"), tiny().encode("\uFFFD"));
  EXPECT_EQ(tiny().encode_with_special("\xE4\xBD<think>").back(), id_of("<think>"));
}

TEST(Tokenizer, DecodesBytesAndLeavesOutSpecialTokensOnRequest) {
  std::vector<TokenId> ids = tiny().encode("caf\u00E9 \U0001F600");
  EXPECT_EQ(tiny().decode(ids), "caf\u00E9 \U0001F600");
  EXPECT_EQ(tiny().decode(std::span(ids).first(ids.size() - 1)), "caf\u00E9 \xF0\x9F\x98");
  ids.insert(ids.begin(), id_of("<|im_start|>"));
  ids.push_back(id_of("<think>"));  // added, but not special
  EXPECT_EQ(tiny().decode(ids, true), "caf\u00E9 \U0001F600<think>");
  EXPECT_EQ(tiny().decode(ids), "<|im_start|>caf\u00E9 \U0001F600<think>");
  EXPECT_EQ(tiny().token_bytes(id_of("</think>")), "</think>");
  std::string all;
  for (const TokenId id : ids) all += tiny().token_bytes(id);
  EXPECT_EQ(all, tiny().decode(ids));
}

TEST(Tokenizer, IdsOutOfRangeAreRefused) {
  for (const TokenId id : {-1, static_cast<TokenId>(tiny().size()), std::numeric_limits<TokenId>::max()}) {
    EXPECT_THROW((void)tiny().token_bytes(id), Error);
    EXPECT_THROW((void)tiny().is_added(id), Error);
    EXPECT_THROW((void)tiny().decode(std::vector<TokenId>{id}), Error);
  }
}

TEST(Tokenizer, UnusedIdsAreEmpty) {
  json file = tiny_json();
  file["added_tokens"].push_back({{"id", 1000}, {"content", "<far>"}, {"special", true}});
  const Tokenizer tokenizer = Tokenizer::from_json(file.dump(), "test");
  EXPECT_EQ(tokenizer.size(), 1001U);
  EXPECT_EQ(tokenizer.token_bytes(999), "");
  EXPECT_EQ(tokenizer.token_bytes(1000), "<far>");
}

TEST(Tokenizer, MayBeUsedFromManyThreads) {
  const std::string text = "What's the weather, Alex? The lights are on.\n";
  const auto expected = tiny().encode(text);
  std::vector<std::thread> threads;
  std::array<int, 4> equal{};
  for (std::size_t t = 0; t < equal.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) equal[t] += tiny().encode(text) == expected ? 1 : 0;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(equal, (std::array<int, 4>{200, 200, 200, 200}));
}

TEST(Tokenizer, OtherSplitExpressionsGoToPcre2) {
  json file = tiny_json();
  file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = R"(\p{N}{1,3}|\s)";
  const Tokenizer tokenizer = Tokenizer::from_json(file.dump(), "test");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("ab 1234 \u0928")), "ab 1234 \u0928");
  file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(";
  EXPECT_THROW(Tokenizer::from_json(file.dump(), "test"), Error);
}

}  // namespace
}  // namespace qwen35
