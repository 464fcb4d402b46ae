#include "text/python_json.h"

#include <gtest/gtest.h>
#include <qwen35/error.h>

#include <limits>

#include "text/chat_template.h"

namespace qwen35 {
namespace {

using Json = nlohmann::ordered_json;

std::string again(std::string_view text) { return python_json(parse_json(text, "text")); }

std::string error_of(const std::string& text) {
  try {
    (void)parse_json(text, "the text");
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
    return e.what();
  }
  return "no error";
}

TEST(PythonJson, FloatsAreWrittenAsByRepr) {
  // Python 3.11: [repr(x) for x in ...]
  const std::pair<double, const char*> examples[] = {{0.0, "0.0"},
                                                     {-0.0, "-0.0"},
                                                     {1.0, "1.0"},
                                                     {-1.5, "-1.5"},
                                                     {0.1, "0.1"},
                                                     {1e15, "1000000000000000.0"},
                                                     {1e16, "1e+16"},
                                                     {123456789012345680.0, "1.2345678901234568e+17"},
                                                     {0.0001, "0.0001"},
                                                     {0.00001, "1e-05"},
                                                     {0.00012345, "0.00012345"},
                                                     {1.2345e-5, "1.2345e-05"},
                                                     {9007199254740993.0, "9007199254740992.0"},
                                                     {1e100, "1e+100"},
                                                     {5e-324, "5e-324"},
                                                     {1.7976931348623157e308, "1.7976931348623157e+308"},
                                                     {100.0, "100.0"},
                                                     {123.456, "123.456"},
                                                     {1e22, "1e+22"},
                                                     {std::numeric_limits<double>::infinity(), "Infinity"}};
  for (const auto& [value, text] : examples) EXPECT_EQ(python_repr(value), text);
}

TEST(PythonJson, TextIsWrittenAsByJsonDumps) {
  EXPECT_EQ(again(R"({"b":1,"a":[true,false,null,"x"],"c":{}, "d":[]})"),
            R"({"b": 1, "a": [true, false, null, "x"], "c": {}, "d": []})");
  EXPECT_EQ(again(R"("\u00e9\u4e2d\ud83d\ude00\u007f\u2028\/")"), "\"\u00E9\u4E2D\U0001F600\x7F\u2028/\"");
  EXPECT_EQ(again(R"("\"\\\n\r\t\b\f\u0001\u001f\u0000")"), R"("\"\\\n\r\t\b\f\u0001\u001f\u0000")");
}

TEST(PythonJson, NumbersKeepTheirKind) {
  EXPECT_EQ(again("[1, 1.0, 1e2, -0, -0.0, 1E-7, 18446744073709551615, -9223372036854775808]"),
            "[1, 1.0, 100.0, 0, -0.0, 1e-07, 18446744073709551615, -9223372036854775808]");
  EXPECT_EQ(again("[123456789012345678901234567890, -99999999999999999999]"),
            "[123456789012345678901234567890, -99999999999999999999]");
  EXPECT_EQ(again(std::string(308, '9')), std::string(308, '9'));
  EXPECT_EQ(error_of(std::string(400, '9')).substr(0, 50), "the text cannot be read as JSON: number overflow p");
  EXPECT_LT(error_of(std::string(100'000, '9')).size(), 400U);
  EXPECT_NE(error_of("1e999"), "no error");
}

TEST(PythonJson, StrIsPythons) {
  EXPECT_EQ(python_str("a\"b"), "a\"b");
  EXPECT_EQ(python_str(true), "True");
  EXPECT_EQ(python_str(false), "False");
  EXPECT_EQ(python_str(nullptr), "None");
  EXPECT_EQ(python_str(1.0), "1.0");
  EXPECT_EQ(python_str(parse_json("123456789012345678901", "n")), "123456789012345678901");
  EXPECT_EQ(python_str(Json::array({true})), "[true]");
}

TEST(ParseJson, ARepeatedKeyKeepsItsPlaceAndTheLastValue) {
  EXPECT_EQ(again(R"({"a":1,"b":2,"a":3})"), R"({"a": 3, "b": 2})");
  std::string large = "{";
  for (int i = 0; i < 30'000; ++i) large += "\"k" + std::to_string(i) + "\":" + std::to_string(i) + ",";
  const Json value = parse_json(large + "\"k5\":{\"x\":[1]}}", "large");
  EXPECT_EQ(value.size(), 30'000U);
  EXPECT_EQ(value.begin().key(), "k0");
  EXPECT_EQ(value["k5"], Json({{"x", {1}}}));
  EXPECT_EQ(value["k29999"], 29'999);
}

TEST(ParseJson, ErrorsNameTheThingAndThePlace) {
  EXPECT_EQ(error_of("{\"a\": }").substr(0, 36), "the text cannot be read as JSON: par");
  EXPECT_NE(error_of("{\"a\": }").find("column 7"), std::string::npos);
  for (const char* text :
       {"", " ", "{", "[1,]", "[1 2]", "nul", "\"\\ud800\"", "\"\xFF\"", "'a'", "NaN", "[1] 2", "01", "\"\n\""}) {
    EXPECT_NE(error_of(text), "no error") << text;
  }
}

TEST(ParseJson, DepthIsLimited) {
  EXPECT_EQ(error_of(std::string(200, '[') + std::string(200, ']')), "no error");
  EXPECT_EQ(error_of(std::string(201, '[') + std::string(201, ']')),
            "the text cannot be read as JSON: nested more than 200 levels deep");
  EXPECT_NE(error_of(std::string(100'000, '[')), "no error");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_NE(error_of(objects), "no error");
}

}  // namespace
}  // namespace qwen35
