#include "chat/answer_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace qwen35 {
namespace {

using testing::ElementsAre;

const nlohmann::ordered_json kNoTools = nullptr;

/// Pushes `text` byte by byte; the pieces in the order they came, the last of finish().
std::vector<std::string> pieces_of(AnswerText& answer, std::string_view text) {
  std::vector<std::string> pieces;
  for (const char byte : text) {
    answer.push({&byte, 1});
    if (std::string piece = answer.take(); !piece.empty()) pieces.push_back(piece);
  }
  if (std::string rest = answer.finish(); !rest.empty()) pieces.push_back(rest);
  return pieces;
}

std::string joined(const std::vector<std::string>& pieces) {
  std::string all;
  for (const std::string& piece : pieces) all += piece;
  return all;
}

TEST(AnswerText, PiecesAreWholeCharacters) {
  AnswerText answer(kNoTools);
  EXPECT_THAT(pieces_of(answer, "aé中😀"), ElementsAre("a", "é", "中", "😀"));
  EXPECT_EQ(answer.text(), "aé中😀");
}

TEST(AnswerText, AnIllFormedTailBecomesOneReplacementCharacter) {
  AnswerText answer(kNoTools);
  EXPECT_THAT(pieces_of(answer, "a\xE4\xB8"), ElementsAre("a", "\uFFFD"));
  EXPECT_EQ(answer.text(), "a\uFFFD");
}

TEST(AnswerText, WhiteSpaceAroundIsTrimmedAndInsideKept) {
  AnswerText answer(kNoTools);
  EXPECT_THAT(pieces_of(answer, "\n\n a\n\nb \n"), ElementsAre("a", "\n\nb"));
  EXPECT_EQ(answer.text(), "a\n\nb");
  AnswerText blank(kNoTools);
  EXPECT_THAT(pieces_of(blank, " \n\n"), ElementsAre());
  EXPECT_EQ(blank.text(), "");
}

TEST(AnswerText, ToolCallsAreHeldBackFromTheFirstByteOn) {
  AnswerText answer(kNoTools);
  const auto pieces =
      pieces_of(answer,
                "Let me look.\n\n<tool_call>\n<function=weather>\n<parameter=city>\nParis\n</parameter>\n"
                "</function>\n</tool_call>");
  EXPECT_EQ(joined(pieces), "Let me look.");
  EXPECT_EQ(answer.text(), "Let me look.");
  ASSERT_EQ(answer.tool_calls().size(), 1U);
  EXPECT_EQ(answer.tool_calls()[0].name, "weather");
  EXPECT_EQ(nlohmann::json::parse(answer.tool_calls()[0].arguments), (nlohmann::json{{"city", "Paris"}}));
}

TEST(AnswerText, WhatOnlyBeginsLikeACallComesThrough) {
  for (const std::string text : {"a <tool", "1 <2", "<b>x</b>", "<tool_cal <tool_calm", "x<<<tool_", "<"}) {
    AnswerText answer(kNoTools);
    EXPECT_EQ(joined(pieces_of(answer, text)), text);
    EXPECT_EQ(answer.text(), text);
    EXPECT_TRUE(answer.tool_calls().empty());
  }
}

TEST(AnswerText, PiecesPutTogetherAreTheText) {
  const std::string call = "<tool_call>\n<function=f>\n</function>\n</tool_call>";
  for (const std::string& text : {"a" + call + "b", call + call, "x " + call + "\n\ny " + call + " z",
                                  std::string("a <tool_call>\n<function=f>\n<parameter=p>\nunfinished"),
                                  std::string("a <tool_call>nonsense</tool_call> b"), "\xFF" + call + "\xFF"}) {
    AnswerText answer(kNoTools);
    EXPECT_EQ(joined(pieces_of(answer, text)), answer.text()) << text;
    AnswerText at_once(kNoTools);
    at_once.push(text);
    std::string all = at_once.take();
    all += at_once.finish();
    EXPECT_EQ(all, answer.text()) << text;
    EXPECT_EQ(at_once.tool_calls(), answer.tool_calls()) << text;
  }
}

TEST(AnswerText, ACallIsKnownBeforeTheAnswerEnds) {
  AnswerText answer(kNoTools);
  answer.push("First. <tool_call><function=f></function>");
  EXPECT_EQ(answer.take(), "First.");
  EXPECT_EQ(answer.take_calls(), (std::vector<ToolCall>{{"f", "{}"}}));
  EXPECT_TRUE(answer.take_calls().empty());
  answer.push("</tool_call>\nThen");
  EXPECT_EQ(answer.take(), " \nThen");
  answer.push("<tool_call><function=g>");
  EXPECT_EQ(answer.finish(), "");
  EXPECT_EQ(answer.text(), "First. \nThen");
  EXPECT_EQ(answer.tool_calls().size(), 1U);
  EXPECT_EQ(answer.unfinished_call(), (UnfinishedCall{"g", "<tool_call><function=g>"}));
}

TEST(AnswerText, AStopStringEndsTheAnswer) {
  AnswerText answer(kNoTools, StopStrings({"\n\n", "END"}));
  answer.push("\n\nHello");  // white space before the answer does not count
  EXPECT_EQ(answer.take(), "Hello");
  answer.push(" EN");
  EXPECT_EQ(answer.take(), "");
  answer.push("T");
  EXPECT_EQ(answer.take(), " ENT");
  answer.push(" \n\nmore <tool_call><function=f></function>");
  EXPECT_EQ(answer.stopped_by(), "\n\n");
  answer.push("never");
  EXPECT_EQ(answer.take() + answer.finish(), "");
  EXPECT_EQ(answer.text(), "Hello ENT");
  EXPECT_TRUE(answer.tool_calls().empty());
}

TEST(AnswerText, StopStringsDoNotLookIntoCallsNorAcrossThem) {
  AnswerText answer(kNoTools, StopStrings({"ab", "f"}));
  const auto pieces = pieces_of(answer, "a<tool_call><function=f><parameter=s>ab</parameter></function></tool_call>bx");
  EXPECT_EQ(joined(pieces), "abx");
  EXPECT_EQ(answer.tool_calls().size(), 1U);
  EXPECT_FALSE(answer.stopped_by());
}

TEST(AnswerText, WhatAStopStringHeldBackComesAtTheEnd) {
  AnswerText answer(kNoTools, StopStrings({"long stop"}));
  EXPECT_EQ(joined(pieces_of(answer, "x long sto")), "x long sto");
}

TEST(AnswerText, ALongAnswerCostsLinearTime) {
  AnswerText answer(kNoTools);
  const std::string line = "<<<<tool_ \n";
  std::size_t bytes = 0;
  for (int i = 0; i < 200000; ++i) {
    answer.push(line);
    bytes += answer.take().size();
  }
  bytes += answer.finish().size();
  EXPECT_EQ(bytes, answer.text().size());
  EXPECT_EQ(bytes, 200000 * line.size() - 2);
}

}  // namespace
}  // namespace qwen35
