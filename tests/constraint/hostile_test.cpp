// Schemas and grammars made to cost time, memory or stack: refused or small, never an endless compile.

#include <gtest/gtest.h>
#include <qwen35/error.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "constraint/automaton.h"
#include "constraint/constraint_data.h"

namespace qwen35::test {
namespace {

std::string times(const std::string& text, int n) {
  std::string out;
  for (int i = 0; i < n; ++i) out += text;
  return out;
}

std::string schema_refusal(const std::string& schema) {
  try {
    Grammar::from_json_schema(schema);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    return error.what();
  }
  return "";
}

std::string gbnf_refusal(const std::string& grammar) {
  try {
    Grammar::from_gbnf(grammar);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    return error.what();
  }
  return "";
}

TEST(Hostile, DeepSchemas) {
  EXPECT_NE(schema_refusal(times(R"({"items":)", 10'000) + "{}" + times("}", 10'000)), "");
  EXPECT_NE(schema_refusal(times(R"({"items":)", 100) + "{}" + times("}", 100)), "");
  EXPECT_NE(schema_refusal(times(R"({"anyOf":[)", 90) + "{}" + times("]}", 90)), "");
  EXPECT_NE(schema_refusal(times("[", 1'000'000)), "");
}

TEST(Hostile, Repetitions) {
  EXPECT_NE(schema_refusal(R"({"type":"array","items":{"type":"null"},"maxItems":1000000000})"), "");
  EXPECT_NE(schema_refusal(R"({"pattern":"^(((a{1000}){1000}){1000})$"})"), "");
  EXPECT_NE(gbnf_refusal("root ::= (((\"a\"{4000}){4000}){4000}){4000}"), "");
  // Arrays of arrays of arrays, each of up to 4,000: rules are called, not copied.
  const auto nested = Grammar::from_json_schema(
      R"({"type":"array","maxItems":4000,"items":{"type":"array","maxItems":4000,"items":{"type":"array","maxItems":4000,"items":{"type":"string","maxLength":100}}}})");
  EXPECT_TRUE(matches(nested, R"([[["a"],[]],[]])"));
  EXPECT_LT(nested->automaton().size(), 200'000U);
}

TEST(Hostile, ExponentialPatterns) {
  EXPECT_NE(schema_refusal(R"({"pattern":"^(a|b)*a(a|b){30}$"})"), "");
  // Catastrophic for engines that go back; nothing here.
  const auto grammar = Grammar::from_json_schema(R"({"pattern":"^(((a*)*)*)*b$"})");
  EXPECT_FALSE(matches(grammar, '"' + std::string(5000, 'a') + '"'));
  EXPECT_NE(schema_refusal(R"({"pattern":")" + times("(", 5000) + times(")", 5000) + "\"}"), "");
  EXPECT_NE(schema_refusal(R"({"pattern":")" + times("(?:", 100) + times(")", 100) + "\"}"), "");
}

TEST(Hostile, DoublingReferences) {
  // Each rule stands for twice the one before: 2^40 copies if they were copied.
  std::string schema = R"({"$defs":{"d0":{"type":"null"})";
  std::string grammar = "d0 ::= \"x\"\n";
  for (int i = 1; i <= 40; ++i) {
    const std::string before = std::to_string(i - 1);
    schema += ",\"d" + std::to_string(i) + R"(":{"properties":{"a":{"$ref":"#/$defs/d)" + before +
              R"("},"b":{"$ref":"#/$defs/d)" + before + "\"}}}";
    grammar += "d" + std::to_string(i) + " ::= \"(\" d" + before + "? \"-\" d" + before + "? \")\"\n";
  }
  schema += R"(},"$ref":"#/$defs/d40"})";
  const auto from_schema = Grammar::from_json_schema(schema);
  EXPECT_TRUE(matches(from_schema, R"({"a":{"b":{}},"b":{}})"));
  EXPECT_LT(from_schema->automaton().size(), 50'000U);
  const auto from_gbnf = Grammar::from_gbnf(grammar + "root ::= d30 \"!\"");
  EXPECT_TRUE(matches(from_gbnf, "((-)-)!"));
  // The same with a shortest text of 2^40 bytes.
  std::string endless = "d0 ::= \"x\"\nroot ::= d40\n";
  for (int i = 1; i <= 40; ++i) {
    endless += "d" + std::to_string(i) + " ::= d" + std::to_string(i - 1) + " d" + std::to_string(i - 1) + "\n";
  }
  EXPECT_NE(gbnf_refusal(endless), "");
}

TEST(Hostile, Sizes) {
  std::string values;
  for (int i = 0; i < 15'000; ++i) values += (i > 0 ? "," : "") + ("\"value number " + std::to_string(i * 7919)) + "\"";
  const auto many = Grammar::from_json_schema("{\"enum\":[" + values + "]}");
  EXPECT_TRUE(matches(many, "\"value number 7919\""));
  EXPECT_FALSE(matches(many, "\"value number 7918\""));
  EXPECT_NE(schema_refusal("{\"enum\":[" + values + "," + values + "]}"), "");
  std::string rules = "root ::= r0\n";
  for (int i = 0; i < 5000; ++i) rules += "r" + std::to_string(i) + " ::= \"a\" r" + std::to_string(i + 1) + "\n";
  EXPECT_NE(gbnf_refusal(rules + "r5000 ::= \"b\"\n"), "");
  std::string chain = "root ::= r0\n";
  for (int i = 0; i < 4000; ++i) chain += "r" + std::to_string(i) + " ::= \"a\" r" + std::to_string(i + 1) + " \"b\"\n";
  const auto deep = Grammar::from_gbnf(chain + "r4000 ::= \"b\"\n");
  EXPECT_TRUE(matches(deep, std::string(4000, 'a') + "b" + std::string(4000, 'b')));
  std::string options = "root ::= \"x\"";
  std::string bodies;
  for (int i = 0; i < 1000; ++i) {
    const std::string name = "o" + std::to_string(i);
    options += " | " + name;
    bodies += name + " ::= \"y\" " + name + "? \"z\"\n";
  }
  EXPECT_NE(gbnf_refusal(options + "\n" + bodies), "");
  EXPECT_NE(gbnf_refusal(std::string(2 << 20, '#')), "");
  EXPECT_NE(gbnf_refusal("root ::= " + times("(", 10'000) + "\"a\"" + times(")", 10'000)), "");
}

TEST(Hostile, AmbiguityStaysUsable) {
  // Every rule calls every other behind the same letters: hundreds of items at once. Masks are cut short in time,
  // single bytes are all there, and replies still end within their budget.
  constexpr int n = 30;
  std::string grammar = "root ::= r0\n";
  for (int i = 0; i < n; ++i) {
    grammar += "r" + std::to_string(i) + " ::= \"a\"";
    for (int j = 0; j < n; ++j) {
      grammar += " | [a-z] r" + std::to_string(j) + " \"" + static_cast<char>('a' + (i * 7 + j) % 26) +
                 static_cast<char>('a' + (i * 3 + j * 5) % 26) + "\"";
    }
    grammar += "\n";
  }
  const Vocabulary vocabulary = mini_vocabulary();
  Constraint constraint(Grammar::from_gbnf(grammar), vocabulary.trie, {vocabulary.end});
  std::mt19937_64 random(5);
  for (std::size_t budget = 12; budget > 0 && !constraint.must_end(); --budget) {
    std::vector<float> logits = random_logits(vocabulary.size, random);
    constraint.mask(logits, budget);
    for (std::size_t i = 0; i < logits.size(); ++i) {
      const auto id = static_cast<TokenId>(i);
      if (std::isfinite(logits[i])) {
        EXPECT_TRUE(constraint.allows(id, budget)) << i;
      } else if (vocabulary.trie->bytes(id).size() == 1) {
        EXPECT_FALSE(constraint.allows(id, budget)) << i;
      }
    }
    const auto best = std::max_element(logits.begin(), logits.end());
    ASSERT_TRUE(std::isfinite(*best));
    const auto token = static_cast<TokenId>(best - logits.begin());
    ASSERT_TRUE(constraint.accept(token));
    if (token == vocabulary.end) break;
    ASSERT_LE(constraint.ending_size(), budget - 1);
  }
  EXPECT_TRUE(constraint.can_end());
}

TEST(Hostile, BadBytes) {
  EXPECT_NE(schema_refusal("{\"const\":\"\xFF\"}"), "");
  EXPECT_NE(schema_refusal(std::string("{\"const\":\"a\0b\"}", 15)), "");
  EXPECT_NE(schema_refusal(""), "");
  EXPECT_NE(schema_refusal(R"({"const":"\ud800"})"), "");
}

TEST(Hostile, LongestStringsStaySmall) {
  const auto grammar = Grammar::from_json_schema(R"({"type":"string","maxLength":4096})");
  EXPECT_TRUE(matches(grammar, '"' + std::string(4096, 'a') + '"'));
  EXPECT_FALSE(matches(grammar, '"' + std::string(4097, 'a') + '"'));
  EXPECT_LT(grammar->automaton().memory_bytes(), std::size_t{32} << 20);
}

}  // namespace
}  // namespace qwen35::test
