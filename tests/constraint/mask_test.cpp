// Masks against a check of every token by itself, and what follows from them.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "constraint/constraint_data.h"

namespace qwen35::test {
namespace {

struct Case {
  const char* name;
  std::shared_ptr<const Grammar> grammar;
};

std::vector<Case> cases() {
  return {
      {"any object", Grammar::any_json_object()},
      {"any value", Grammar::from_json_schema("true")},
      {"tree",
       Grammar::from_json_schema(
           R"({"type":"object","properties":{"n":{"type":"integer"},"c":{"type":"array","items":{"$ref":"#"}}},"required":["n"]})")},
      {"lengths",
       Grammar::from_json_schema(R"({"type":"array","items":{"type":"string","minLength":1,"maxLength":40}})")},
      {"prefixes",
       Grammar::from_json_schema(
           R"({"anyOf":[{"type":"array","items":{"enum":["a","ab","abc"]}},{"type":"array","items":{"type":"string"}},{"type":"array","items":{"$ref":"#"}}]})")},
      {"ambiguous",
       Grammar::from_gbnf(
           "root ::= s\ns ::= \"a\" s \"b\" | \"a\" t \"ab\" | \"\"\nt ::= \"a\" s \"a\" | \"a\" t \"b\" | \"b\"\n")},
      {"list", Grammar::from_gbnf("root ::= item | item \",\" root\nitem ::= [0-9]+ | \"(\" root \")\"\n")},
      {"empties",
       Grammar::from_gbnf(
           "root ::= (x y)* z\nx ::= \"a\"? | \"(\" x \")\"\ny ::= x x | \"b\" root \"b\"\nz ::= \"\" | \"the\" x\n")},
  };
}

/// What mask() should leave, token by token.
bool legal_alone(const Constraint& constraint, const Vocabulary& vocabulary, TokenId token, std::size_t budget) {
  if (token == vocabulary.end) return constraint.can_end();
  const std::string_view bytes = vocabulary.trie->bytes(token);
  Constraint trial = constraint;
  if (bytes.empty() || !trial.accept_bytes(bytes)) return false;
  return budget == Constraint::no_budget || trial.ending_size() + 1 <= std::max(budget, constraint.ending_size());
}

void compare(const Vocabulary& vocabulary, int walks, std::size_t steps, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  for (const Case& one : cases()) {
    SCOPED_TRACE(one.name);
    for (int w = 0; w < walks; ++w) {
      Constraint constraint(one.grammar, vocabulary.trie, {vocabulary.end});
      for (std::size_t step = 0; step < steps && !constraint.must_end(); ++step) {
        const std::size_t budget = w % 2 == 0 ? Constraint::no_budget : constraint.ending_size() + random() % 4;
        std::vector<float> logits(vocabulary.size, 1.0F);
        constraint.mask(logits, budget);
        std::vector<TokenId> legal;
        for (std::size_t i = 0; i < logits.size(); ++i) {
          const auto id = static_cast<TokenId>(i);
          const bool expected = legal_alone(constraint, vocabulary, id, budget);
          ASSERT_EQ(std::isfinite(logits[i]), expected)
              << "token " << i << " `" << vocabulary.trie->bytes(id) << "` budget " << budget << " step " << step;
          ASSERT_EQ(constraint.allows(id, budget), expected) << i;
          if (expected && id != vocabulary.end) legal.push_back(id);
        }
        if (legal.empty()) break;
        // Rather structure than prose: short tokens lead to more states.
        TokenId choice = legal[random() % legal.size()];
        for (int k = 0; k < 3; ++k) {
          const TokenId other = legal[random() % legal.size()];
          const std::string_view bytes = vocabulary.trie->bytes(other);
          if (bytes.find_first_of("{}[]\",():") != std::string_view::npos) choice = other;
        }
        ASSERT_TRUE(constraint.accept(choice));
      }
    }
  }
}

TEST(Mask, EqualsACheckOfEveryTokenSmall) { compare(small_vocabulary(), 16, 50, 7); }
TEST(Mask, EqualsACheckOfEveryTokenMini) { compare(mini_vocabulary(), 4, 16, 8); }
TEST(Mask, EqualsACheckOfEveryTokenReal) {
  if (!has_real_vocabulary()) GTEST_SKIP() << "no tokenizer/tokenizer.json.xz in the shared folder";
  compare(real_vocabulary(), 2, 4, 9);
}

TEST(Mask, EndsAreLegalExactlyWhereTheTextMayEnd) {
  const Vocabulary vocabulary = small_vocabulary();
  Constraint constraint(Grammar::from_gbnf("root ::= \"ab\" \"c\"?"), vocabulary.trie, {vocabulary.end});
  std::vector<float> logits(vocabulary.size + 5, 0.0F);
  constraint.mask(logits);
  EXPECT_FALSE(std::isfinite(logits[static_cast<std::size_t>(vocabulary.end)]));
  EXPECT_FALSE(std::isfinite(logits[vocabulary.size + 2])) << "beyond the vocabulary";
  EXPECT_FALSE(constraint.accept(vocabulary.end));
  EXPECT_FALSE(constraint.accept('b'));
  EXPECT_TRUE(constraint.accept('a'));
  EXPECT_TRUE(constraint.accept('b'));
  EXPECT_TRUE(constraint.can_end());
  EXPECT_FALSE(constraint.must_end());
  logits.assign(vocabulary.size, 0.0F);
  constraint.mask(logits);
  EXPECT_TRUE(std::isfinite(logits[static_cast<std::size_t>(vocabulary.end)]));
  Constraint other = constraint;
  EXPECT_TRUE(other.accept('c'));
  EXPECT_TRUE(other.must_end());
  EXPECT_FALSE(constraint.must_end()) << "a copy went its own way";
  EXPECT_TRUE(constraint.accept(vocabulary.end));
  EXPECT_TRUE(constraint.ended());
  EXPECT_FALSE(constraint.accept('c'));
}

TEST(Mask, ShortestEndingEndsFromEveryState) {
  std::mt19937_64 random(11);
  const Vocabulary vocabulary = mini_vocabulary();
  for (const Case& one : cases()) {
    SCOPED_TRACE(one.name);
    Constraint constraint(one.grammar, vocabulary.trie, {vocabulary.end});
    for (int step = 0; step < 60 && !constraint.must_end(); ++step) {
      Constraint trial = constraint;
      const std::vector<TokenId> ending = trial.shortest_ending();
      ASSERT_EQ(ending.size(), trial.ending_size());
      for (const TokenId token : ending) {
        const std::size_t before = trial.ending_size();
        ASSERT_TRUE(trial.accept(token));
        ASSERT_LT(trial.ending_size(), before);
      }
      ASSERT_TRUE(trial.can_end());
      std::vector<float> logits = random_logits(vocabulary.size, random);
      logits[static_cast<std::size_t>(vocabulary.end)] = -1e9F;
      constraint.mask(logits);
      const auto best = std::max_element(logits.begin(), logits.end());
      const auto token = static_cast<TokenId>(best - logits.begin());
      if (token == vocabulary.end) break;
      ASSERT_TRUE(constraint.accept(token));
    }
  }
}

TEST(Mask, ThreadsShareAGrammar) {
  // The masks found are kept in common: the same replies come out as from one thread after the other.
  const Vocabulary vocabulary = mini_vocabulary();
  const auto run = [&](const std::shared_ptr<const Grammar>& grammar, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::string text;
    for (int reply = 0; reply < 5; ++reply) {
      Constraint constraint(grammar, vocabulary.trie, {vocabulary.end});
      for (std::size_t budget = 30; budget > 0; --budget) {
        std::vector<float> logits = random_logits(vocabulary.size, random);
        constraint.mask(logits, budget);
        const auto token = static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
        if (!constraint.accept(token) || token == vocabulary.end) break;
        text += vocabulary.trie->bytes(token);
      }
    }
    return text;
  };
  const auto shared = Grammar::any_json_object();
  std::vector<std::string> together(4);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < together.size(); ++i) {
    threads.emplace_back([&, i] { together[i] = run(shared, 100 + i); });
  }
  for (std::thread& thread : threads) thread.join();
  const auto alone = Grammar::any_json_object();
  for (std::size_t i = 0; i < together.size(); ++i) EXPECT_EQ(together[i], run(alone, 100 + i));
}

TEST(Mask, VocabularyWithoutSingleBytesIsRefused) {
  const auto trie = std::make_shared<const TokenTrie>(2, [](TokenId id) { return id == 0 ? "ab" : "b"; });
  EXPECT_THROW(Constraint(Grammar::from_gbnf("root ::= \"ab\""), trie), Error);
}

TEST(TokenTrie, HoldsEveryTokenOnce) {
  const Tokenizer tokenizer =
      Tokenizer::from_file(std::filesystem::path(QWEN35_SOURCE_MODELS) / "qwen35-mini/tokenizer.json");
  const TokenTrie trie(tokenizer);
  std::vector<int> seen(tokenizer.size(), 0);
  std::string path;
  for (std::uint32_t n = 0; n < trie.node_count(); ++n) {
    if (n > 0) {
      path.resize(trie.depth(n) - 1U);
      path += static_cast<char>(trie.byte(n));
    }
    for (const TokenId id : trie.tokens(n)) {
      EXPECT_EQ(tokenizer.token_bytes(id), path);
      ++seen[static_cast<std::size_t>(id)];
    }
  }
  for (std::size_t i = 0; i < seen.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    EXPECT_EQ(seen[i], !tokenizer.is_added(id) && !tokenizer.token_bytes(id).empty()) << i;
  }
}

}  // namespace
}  // namespace qwen35::test
