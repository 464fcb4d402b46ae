#include "chat/loop_guard.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace qwen35 {
namespace {

using Loop = LoopGuard::Loop;

/// Words, single digits, single spaces and line ends, other characters one by one: more tokens, and so more chances to
/// repeat, than Qwen's tokenizer makes of the same text.
std::vector<TokenId> tokens_of(std::string_view text) {
  static std::map<std::string, TokenId, std::less<>> vocabulary;
  std::vector<TokenId> tokens;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at + 1;
    if (std::isalpha(static_cast<unsigned char>(text[at])) != 0) {
      while (end < text.size() && std::isalpha(static_cast<unsigned char>(text[end])) != 0) ++end;
    }
    const auto next = static_cast<TokenId>(vocabulary.size());
    tokens.push_back(vocabulary.try_emplace(std::string(text.substr(at, end - at)), next).first->second);
    at = end;
  }
  return tokens;
}

std::string repeated(std::string_view text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

/// Tokens of `text` that pass before the guard speaks; npos: it stays silent.
struct Verdict {
  std::size_t tokens = std::string::npos;
  Loop loop = Loop::none;
  std::size_t period = 0;
};

Verdict judge(std::string_view text) {
  LoopGuard guard;
  std::size_t count = 0;
  for (const TokenId token : tokens_of(text)) {
    ++count;
    if (guard.push(token) != Loop::none) return {count, guard.loop(), guard.period()};
  }
  return {};
}

TEST(LoopGuard, LetsGoodTextsPass) {
  std::map<std::string, std::string> texts;
  texts["laughter"] = repeated("ha ", 100);
  texts["chorus"] = repeated("We will, we will rock you!\n", 7) + "Buddy, you are a boy.\n" +
                    repeated("We will, we will rock you!\n", 7);
  texts["ruler"] = repeated("-", 200) + "\n" + repeated("=", 200) + "\n";
  texts["board"] = repeated(". . . . . . . .\n", 8);
  texts["zeros"] = "[" + repeated("[0, 0, 0, 0, 0, 0, 0, 0],\n", 8) + "]";
  texts["table head"] = "|" + repeated(" --- |", 12) + "\n";
  std::string& rows = texts["table"];
  std::string& items = texts["items"];
  std::string& list = texts["list"];
  std::string& code = texts["code"];
  std::string& calls = texts["assignments"];
  for (int i = 1; i <= 120; ++i) {
    const std::string n = std::to_string(i);
    rows += "| " + n + " | yes | no | " + std::to_string(i * 37 % 101) + " | done |\n";
    items += "{\"id\": " + n + ", \"kind\": \"item\", \"active\": true, \"tags\": [\"a\", \"b\"], \"count\": 0},\n";
    list += n + ", ";
    code += "                if (x[" + n + "] > 0) {\n                    return x[" + n + "];\n                }\n";
    calls += n + ". The answer to question number " + n + " is that we do not know it yet.\n";
  }
  for (const auto& [name, text] : texts) {
    const Verdict verdict = judge(text);
    EXPECT_EQ(verdict.loop, Loop::none) << name << " after " << verdict.tokens << " of " << tokens_of(text).size()
                                        << " tokens, period " << verdict.period;
  }
}

TEST(LoopGuard, NoticesRealLoopsInTime) {
  struct Case {
    std::string text;
    std::size_t period;
    std::size_t within;
  };
  const std::vector<Case> cases = {
      {repeated("I am happy to help you with that today. ", 100), 19, 128},
      {repeated("the ", 1000), 2, 256},
      {repeated("~", 1000), 1, 256},
      {repeated("no no no yes ", 1000), 8, 256},
      {"A good beginning of some words. " + repeated("Wait, let me think about this again. Hmm.\n", 100), 19, 160},
  };
  for (const Case& item : cases) {
    const Verdict verdict = judge(item.text);
    EXPECT_EQ(verdict.loop, Loop::repetition) << item.text.substr(0, 40);
    EXPECT_EQ(verdict.period, item.period) << item.text.substr(0, 40);
    EXPECT_LE(verdict.tokens, item.within) << item.text.substr(0, 40);
  }
}

TEST(LoopGuard, EveryPeriodIsNoticedWithinItsBound) {
  std::mt19937 random(2);
  for (std::size_t period = 1; period <= 400; ++period) {
    std::vector<TokenId> round(period);
    for (TokenId& token : round) token = static_cast<TokenId>(random() % 5000);
    LoopGuard guard;
    for (int i = 0; i < 50; ++i) guard.push(static_cast<TokenId>(random() % 5000));  // a good beginning
    std::size_t count = 0;
    while (guard.push(round[count % period]) == Loop::none) ASSERT_LT(++count, 10000U) << period;
    ++count;
    if (period <= LoopGuard::kLongestPeriod) {
      EXPECT_EQ(guard.loop(), Loop::repetition);
      EXPECT_EQ(guard.period(), period);
      EXPECT_LE(count, std::max<std::size_t>(256, 4 * period)) << period;
      EXPECT_GE(count, std::max<std::size_t>(128, 4 * period)) << period;
    } else {
      EXPECT_EQ(guard.loop(), Loop::no_progress);
      EXPECT_EQ(guard.period(), 0U);
      EXPECT_LE(count, 5 * period + 256) << period;
    }
    EXPECT_NE(guard.push(-1), Loop::none);  // it keeps its word
  }
}

TEST(LoopGuard, NoticesALongCircleWithSmallChanges) {
  std::string text;
  std::string round = "Let us look at it once more. ";
  for (int i = 0; i < 12; ++i) round += "The " + std::string(1, static_cast<char>('a' + i)) + " part goes there. ";
  for (int i = 0; i < 40; ++i) text += round + "That was time " + std::to_string(i) + ". ";
  const Verdict verdict = judge(text);
  EXPECT_EQ(verdict.loop, Loop::no_progress);
  EXPECT_LT(verdict.tokens, 8 * tokens_of(round).size());
}

TEST(LoopGuard, RandomTokensNeverLookLikeALoop) {
  std::mt19937 random(8);
  LoopGuard guard;
  for (int i = 0; i < 200000; ++i) ASSERT_EQ(guard.push(static_cast<TokenId>(random() % 40)), Loop::none) << i;
}

}  // namespace
}  // namespace qwen35
