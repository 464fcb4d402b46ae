// Grammars: small letters for the decoder, the grammar's spelling for the transcript.
#include "audio/spoken_grammar.h"

#include <gtest/gtest.h>
#include <qwen35/error.h>

namespace qwen35 {
namespace {

TEST(SpokenGrammar, WordsBecomeSmallAndComeBackAsWritten) {
  const SpokenGrammar grammar = parse_grammar(
      "#JSGF V1.0 UTF-8 en;\n// A Comment\ngrammar g;\n/* Another */ public <Top> = where is Big Ben {Tag} | "
      "<Name>'s <Name>;\n<Name> = Anna | i;\n",
      "g.gram");
  EXPECT_EQ(grammar.text,
            "#JSGF V1.0 UTF-8 en;\n// A Comment\ngrammar g;\n/* Another */ public <Top> = where is big ben {Tag} | "
            "<Name>'s <Name>;\n<Name> = anna | i;\n");
  EXPECT_EQ(grammar.spell("where is big ben"), "where is Big Ben");
  EXPECT_EQ(grammar.spell("anna  i"), "Anna i");
  EXPECT_EQ(grammar.spell(""), "");
}

TEST(SpokenGrammar, UnfinishedOnesDoNotRunAway) {
  for (const char* text :
       {"#JSGF", "#JSGF V1.0;\n<", "#JSGF V1.0;\n/*", "#JSGF V1.0;\n//", "#JSGF V1.0;\n{A", "#JSGF\nA"}) {
    EXPECT_EQ(parse_grammar(text, "g").text.size(), std::string_view(text).size());
  }
  EXPECT_THROW(parse_grammar("grammar g;", "g"), Error);
  EXPECT_THROW(parse_grammar("", "g"), Error);
}

}  // namespace
}  // namespace qwen35
