// Replies of a model that knows nothing: random logits, random budgets. Every one parses and is valid.

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "constraint/constraint_data.h"
#include "constraint/validator.h"

namespace qwen35::test {
namespace {

const std::vector<std::string>& schemas() {
  static const std::vector<std::string> all = {
      R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer","minimum":0,"maximum":150}},"required":["name","age"]})",
      R"({"type":"object","properties":{"a":{"type":"boolean"},"b":{"type":"null"},"c":{"type":"number"}},"required":["b"]})",
      R"({"enum":["red","reddish","green","grey",1,12,123,null,true,{"a":[1,2]},[],"re\"d","é😀"]})",
      R"({"const":{"x":1.5,"y":["a",null,{}]}})",
      R"({"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":4})",
      R"({"type":"array","prefixItems":[{"type":"string","maxLength":3},{"type":"boolean"}],"items":{"type":"null"},"minItems":1})",
      R"({"type":"string","minLength":3,"maxLength":7})",
      R"({"type":"string","pattern":"^[A-Z]{2}-\\d{3,5}(x|yz)?$"})",
      R"({"type":"string","pattern":"ab+c","maxLength":12})",
      R"({"type":"object","properties":{"d":{"type":"string","format":"date"},"t":{"type":"string","format":"time"},"dt":{"type":"string","format":"date-time"},"id":{"type":"string","format":"uuid"},"m":{"type":"string","format":"email"}},"required":["d","id","m"]})",
      R"({"type":"integer","minimum":-17,"maximum":1234})",
      R"({"type":"integer","exclusiveMinimum":99,"multipleOf":7,"maximum":100000})",
      R"({"type":"number","minimum":-0.25,"exclusiveMaximum":12.5})",
      R"({"type":"number","exclusiveMinimum":0,"maximum":1,"multipleOf":0.01})",
      R"({"$defs":{"node":{"type":"object","properties":{"value":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},"required":["value","next"]}},"$ref":"#/$defs/node"})",
      R"({"type":"object","properties":{"name":{"type":"string","maxLength":10},"children":{"type":"array","items":{"$ref":"#"}}},"required":["name","children"]})",
      R"({"anyOf":[{"type":"object","properties":{"kind":{"const":"circle"},"r":{"type":"number"}},"required":["kind","r"]},{"type":"object","properties":{"kind":{"const":"circuit"},"parts":{"type":"array","items":{"type":"string"}}},"required":["kind","parts"]},{"type":"string"}]})",
      R"({"type":"object","additionalProperties":{"type":["integer","null"]}})",
      R"({"type":"object","properties":{"id":{"type":"integer"}},"required":["id"],"additionalProperties":{"type":"string"}})",
      R"({"definitions":{"a":{"type":"array","items":{"oneOf":[{"$ref":"#/definitions/b"},{"type":"boolean"}]}},"b":{"type":"object","properties":{"a":{"$ref":"#/definitions/a"}}}},"$ref":"#/definitions/a"})",
      R"({"type":"object","properties":{"é":{"type":"string","pattern":"^[\\u00e0-\\u00ff\\u4e00-\\u9fff]{1,4}$"},"plan":{}},"required":["é","plan"]})",
      R"(true)",
  };
  return all;
}

struct Counts {
  int replies = 0;
  int valid = 0;
  std::size_t tokens = 0;
};

/// One reply: the best legal token of random logits each step, ended by the end token or the budget.
std::string reply(Constraint constraint, const Vocabulary& vocabulary, std::size_t budget, std::mt19937_64& random,
                  Counts& counts) {
  std::string text;
  while (true) {
    std::vector<float> logits = random_logits(vocabulary.size, random);
    constraint.mask(logits, budget);
    const auto best = std::max_element(logits.begin(), logits.end());
    EXPECT_TRUE(std::isfinite(*best)) << "nothing is legal behind " << text;
    if (!std::isfinite(*best)) return "";
    const auto token = static_cast<TokenId>(best - logits.begin());
    EXPECT_TRUE(constraint.allows(token, budget));
    EXPECT_TRUE(constraint.accept(token));
    if (token == vocabulary.end) return text;
    text += vocabulary.trie->bytes(token);
    ++counts.tokens;
    EXPECT_GT(budget, 0U);
    --budget;
    EXPECT_LE(constraint.ending_size(), budget) << text;
    if (budget == 0) {
      EXPECT_TRUE(constraint.can_end());
      return text;  // cut here
    }
  }
}

Counts replies(const Vocabulary& vocabulary, int each, std::uint64_t seed) {
  Counts counts;
  std::mt19937_64 random(seed);
  for (const std::string& source : schemas()) {
    const auto grammar = Grammar::from_json_schema(source);
    // As the grammars read it: without additionalProperties, what is not among the properties is not allowed.
    const auto schema = nlohmann::json::parse(source);
    const Constraint start(grammar, vocabulary.trie, {vocabulary.end});
    EXPECT_EQ(start.shortest_ending().size(), start.ending_size());
    for (int i = 0; i < each; ++i) {
      const std::size_t slack = i % 3 == 0 ? 0 : random() % (i % 3 == 1 ? 12 : 120);
      const std::string text =
          reply(start, vocabulary, std::max<std::size_t>(1, start.ending_size() + slack), random, counts);
      ++counts.replies;
      const auto value = nlohmann::json::parse(text, nullptr, false);
      EXPECT_FALSE(value.is_discarded()) << source << "\n" << text;
      if (value.is_discarded()) continue;
      const std::string wrong = validate(value, schema, schema);
      EXPECT_EQ(wrong, "") << source << "\n" << text;
      counts.valid += wrong.empty();
    }
  }
  return counts;
}

void report(const char* name, const Counts& counts) {
  std::printf("%s: %d of %d replies are valid, %zu tokens\n", name, counts.valid, counts.replies, counts.tokens);
  EXPECT_EQ(counts.valid, counts.replies);
  EXPECT_GE(counts.replies, 200);
}

TEST(RandomReplies, SmallVocabulary) { report("small vocabulary", replies(small_vocabulary(), 60, 1)); }

TEST(RandomReplies, MiniTokenizer) { report("mini's tokenizer", replies(mini_vocabulary(), 20, 2)); }

TEST(RandomReplies, RealTokenizer) {
  if (!has_real_vocabulary()) GTEST_SKIP() << "no tokenizer/tokenizer.json.xz in the shared folder";
  report("real tokenizer", replies(real_vocabulary(), 10, 3));
}

TEST(RandomReplies, AnyJsonObject) {
  std::mt19937_64 random(4);
  const Vocabulary vocabulary = mini_vocabulary();
  const Constraint start(Grammar::any_json_object(), vocabulary.trie, {vocabulary.end});
  Counts counts;
  for (int i = 0; i < 200; ++i) {
    const std::string text = reply(start, vocabulary, 2 + random() % 60, random, counts);
    const auto value = nlohmann::json::parse(text, nullptr, false);
    EXPECT_TRUE(value.is_object()) << text;
  }
}

}  // namespace
}  // namespace qwen35::test
