#include <gtest/gtest.h>
#include <qwen35/error.h>

#include "constraint/constraint_data.h"

namespace qwen35::test {
namespace {

std::string refusal(const std::string& grammar) {
  try {
    Grammar::from_gbnf(grammar);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    return error.what();
  }
  return "";
}

TEST(Gbnf, LiteralsClassesAndRepetitions) {
  const auto grammar = Grammar::from_gbnf(R"(# a comment
root ::= greeting " " name{1,2} [!?]* # another
greeting ::= "Hi" | "He" "l"{2} "o" |
  "\x48\u00e9\U0001F600\n\t\"\\"
name ::= [A-Z] [a-z]+ | [^a-zA-Z \x00-\x1f!?]
)");
  for (const char* text : {"Hi Bob", "Hello Al!", "Hi ß?!", "H\xC3\xA9\xF0\x9F\x98\x80\n\t\"\\ Bob", "Hi BobAl"}) {
    EXPECT_TRUE(matches(grammar, text)) << text;
  }
  for (const char* text : {"Hi", "Hi B", "Helo Bob", "Hi BobAlCy", "Hi \xC3", "hi Bob"}) {
    EXPECT_FALSE(matches(grammar, text)) << text;
  }
}

TEST(Gbnf, RecursionAndGroups) {
  const auto grammar =
      Grammar::from_gbnf("root ::= expr\nexpr ::= term ([-+] term)*\nterm ::= [0-9]{1,} | \"(\" expr \")\"");
  EXPECT_TRUE(matches(grammar, "1+(2-(34))-5"));
  EXPECT_FALSE(matches(grammar, "1+(2-(34)-5"));
  EXPECT_FALSE(matches(grammar, "1++2"));
  // Levels are limited, the ends of rules in tail position are none.
  EXPECT_TRUE(matches(grammar, std::string(10, '(') + "1" + std::string(10, ')')));
  EXPECT_FALSE(matches(grammar, std::string(100, '(') + "1" + std::string(100, ')')));
  const auto list = Grammar::from_gbnf("root ::= \"a\" | \"a,\" root");
  std::string many = "a";
  for (int i = 0; i < 500; ++i) many += ",a";
  EXPECT_TRUE(matches(list, many));
}

TEST(Gbnf, AmbiguityIsFollowedInAllWays) {
  // 2^n ways of reading n letters: the stacks are shared, so that this takes no time.
  const auto grammar = Grammar::from_gbnf(
      "root ::= s\ns ::= \"a\" s \"x\" | \"a\" t \"y\" | \"a\"\nt ::= \"a\" s \"y\" | \"a\" t \"x\" | \"a\"");
  EXPECT_TRUE(matches(grammar, std::string(20, 'a') + "xyxxyyxyxyxxyyxyxyx"));
  EXPECT_FALSE(matches(grammar, std::string(20, 'a') + "xyxxyyxyxyxxyyxyxyz"));
}

TEST(Gbnf, RefusalsNameThePlace) {
  EXPECT_NE(refusal("root ::= \"a\nb ::= \"c\"").find("line 1 column 12"), std::string::npos)
      << refusal("root ::= \"a\nb ::= \"c\"");
  EXPECT_NE(refusal("root ::= other").find("other"), std::string::npos);
  EXPECT_NE(refusal("a ::= \"x\"").find("root"), std::string::npos);
  EXPECT_NE(refusal("root ::= root \"a\" | \"b\"").find("left recursion"), std::string::npos);
  EXPECT_NE(refusal("root ::= a\na ::= b \"x\" | \"y\"\nb ::= [z]? a").find("left recursion"), std::string::npos);
  EXPECT_NE(refusal("root ::= \"a\" root").find("never end"), std::string::npos);
  EXPECT_NE(refusal("root ::= \"a\"{5,2}").find("above"), std::string::npos);
  EXPECT_NE(refusal("root ::= \"a\"{1000000000}").find("4096"), std::string::npos);
  EXPECT_NE(refusal("root ::= [b-a]").find("backwards"), std::string::npos);
  EXPECT_NE(refusal("root ::= []").find("no member"), std::string::npos);
  EXPECT_NE(refusal("root ::= \"\\q\"").find("escape"), std::string::npos);
  EXPECT_NE(refusal("root ::= \"\\uD800\"").find("Unicode"), std::string::npos);
  EXPECT_NE(refusal("root ::= (\"a\"").find("`)`"), std::string::npos);
  EXPECT_NE(refusal("root ::= *").find("line 1"), std::string::npos);
  EXPECT_NE(refusal("root = \"a\"").find("::="), std::string::npos);
  EXPECT_NE(refusal("root ::= \"a\"\nroot ::= \"b\"").find("twice"), std::string::npos);
  EXPECT_NE(refusal("root ::= \"\xFF\"").find("UTF-8"), std::string::npos);
  EXPECT_NE(refusal("").find("root"), std::string::npos);
}

}  // namespace
}  // namespace qwen35::test
