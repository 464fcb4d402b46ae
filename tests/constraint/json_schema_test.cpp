#include <gtest/gtest.h>
#include <qwen35/error.h>

#include "constraint/constraint_data.h"

namespace qwen35::test {
namespace {

void expect(const std::string& schema, const std::vector<std::string>& good, const std::vector<std::string>& bad) {
  SCOPED_TRACE(schema);
  const auto grammar = Grammar::from_json_schema(schema);
  for (const std::string& text : good) EXPECT_TRUE(matches(grammar, text)) << text;
  for (const std::string& text : bad) EXPECT_FALSE(matches(grammar, text)) << text;
}

std::string refusal(const std::string& schema) {
  try {
    Grammar::from_json_schema(schema);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    return error.what();
  }
  return "";
}

void refused(const std::string& schema, const std::string& part) {
  const std::string message = refusal(schema);
  EXPECT_NE(message.find(part), std::string::npos) << schema << "\n" << message;
}

TEST(JsonSchema, Objects) {
  const std::string body = R"("properties":{"a":{"type":"null"},"b":{"type":"boolean"},"c":{"enum":[1]}})";
  expect("{" + body + R"(,"required":["b"]})",
         {R"({"b":true})", R"({"a": null, "b": false,"c":1})", R"({"b":true,"c":1})"},
         {"{}", R"({"a":null})", R"({"c":1,"b":true})", R"({"b":true,})", R"({ "b":true})", R"({"b":true,"d":1})",
          R"({"b":  true})", R"({"a":null"b":true})"});
  expect("{" + body + "}", {"{}", R"({"c":1})", R"({"a":null,"c":1})"}, {R"({,"c":1})", R"({"a":null,})"});
  expect("{" + body + R"(,"additionalProperties":{"type":"null"}})",
         {R"({"a":null,"x":null,"ab":null})", R"({"x":null})", R"({"":null})"},
         {R"({"x":null,"b":null})", R"({"x":1})", R"({"\u0061":null})"});
  expect(R"({"type":"object"})", {"{}", R"({"x":[1,{"y":"z"}]})"}, {"[]", "{1:2}"});
  expect(R"({"required":["x"],"type":"object"})", {R"({"x":1})", R"({"x":1,"y":[]})"}, {"{}", R"({"y":1})"});
  expect(R"({"properties":{"a":{"type":"null"},"b":false}})", {"{}", R"({"a":null})"}, {R"({"b":1})"});
}

TEST(JsonSchema, Arrays) {
  expect(R"({"type":"array","items":{"enum":[1]},"minItems":1,"maxItems":3})", {"[1]", "[1, 1,1]"},
         {"[]", "[1,1,1,1]", "[1,]", "[1 ,1]", "[2]"});
  expect(R"({"prefixItems":[{"enum":[1]},{"enum":[2]}]})", {"[]", "[1]", "[1,2]"}, {"[2]", "[1,2,3]", "[,2]"});
  expect(R"({"prefixItems":[{"enum":[1]},{"enum":[2]}],"items":{"enum":[3]},"minItems":2})", {"[1,2]", "[1,2,3,3]"},
         {"[1]", "[]", "[1,3]", "[1,2,2]"});
  expect(R"({"type":"array","minItems":2,"items":{"enum":[1]}})", {"[1,1]", "[1,1,1,1]"}, {"[1]", "[]"});
  expect(R"({"type":"array","maxItems":0})", {"[]"}, {"[1]"});
}

TEST(JsonSchema, Strings) {
  expect(R"({"type":"string"})",
         {R"("")", R"("a\"b\\\/\b\f\n\r\t")", "\"\xC3\xA9\xF0\x9F\x98\x80\"", R"("\u0041\ud83d\uDE00")", "\"\x7f\""},
         {"\"\n\"", "\"\xC3\"", "\"\xC0\xAF\"", "\"\xED\xA0\x80\"", R"("\ud83d")", R"("\ude00")", R"("\x41")", "a",
          "\"\xF5\x80\x80\x80\"", R"("\u12")"});
  expect(R"({"type":"string","minLength":2,"maxLength":3})",
         {R"("ab")", "\"\xC3\xA9\xC3\xA9\xC3\xA9\"", R"("\u0041\n")", R"("\ud83d\ude00x")"},
         {R"("a")", R"("abcd")", R"("")", R"("\ud83d\ude00")"});
  expect(R"({"type":"string","pattern":"^a.c$"})",
         {R"("abc")", R"("a\"c")",
          "\"a\xC3\xA9"
          "c\""},
         {R"("ac")", R"("a\nc")", R"("xabc")", R"("abcd")"});
  expect(R"({"pattern":"b|^x$"})", {R"("abc")", R"("x")", R"("b")"}, {R"("xx")", R"("")"});
  expect(R"({"pattern":"^(?:\\d+|[^\\d\\s]{2})\\.?$"})", {R"("12.")", R"("ab")", "\"\xC3\xA9\xC3\xA9\""},
         {R"("1a")", R"("a b")"});
  expect(R"({"pattern":"^a*$","minLength":2,"maxLength":3})", {R"("aa")", R"("aaa")"},
         {R"("a")", R"("aaaa")", R"("ab")"});
  expect(R"({"format":"date"})", {R"("2024-02-29")", R"("2000-02-29")", R"("1999-12-31")"},
         {R"("2023-02-29")", R"("1900-02-29")", R"("2023-04-31")", R"("2023-13-01")", R"("2023-00-10")"});
  expect(R"({"format":"date-time"})", {R"("2024-02-29T23:59:59Z")", R"("2024-01-01T00:00:00.5+01:00")"},
         {R"("2024-01-01")", R"("2024-01-01T24:00:00Z")"});
}

TEST(JsonSchema, Numbers) {
  expect(R"({"type":"integer"})", {"0", "-5", "123456789012345678"},
         {"01", "-0", "1.0", "1e3", "+1", "1234567890123456789"});
  expect(R"({"type":"number"})", {"0", "-0.5", "12.50", "1e5", "1E-07", "-3.2e+10"}, {".5", "1.", "1e", "01", "1e100"});
  // Every integer near the bounds, for many bounds.
  const int bounds[] = {-1000, -101, -100, -99, -11, -10, -9, -1, 0, 1, 9, 10, 11, 99, 100, 101, 999, 1000};
  for (const int low : bounds) {
    for (const int high : bounds) {
      if (low > high) continue;
      const auto grammar = Grammar::from_json_schema(R"({"type":"integer","minimum":)" + std::to_string(low) +
                                                     R"(,"maximum":)" + std::to_string(high) + "}");
      for (int x = -1105; x <= 1105; x += (x > -120 && x < 120) || std::abs(x) > 990 ? 1 : 37) {
        ASSERT_EQ(matches(grammar, std::to_string(x)), x >= low && x <= high) << low << " " << x << " " << high;
      }
    }
  }
  expect(R"({"type":"integer","exclusiveMinimum":-2,"exclusiveMaximum":0.5})", {"-1", "0"}, {"-2", "1"});
  expect(R"({"type":"integer","minimum":-0.5})", {"0", "1", "99"}, {"-1"});
  expect(R"({"type":"integer","multipleOf":7,"minimum":-20,"maximum":30})", {"-14", "-7", "0", "7", "28"},
         {"-21", "1", "8", "35"});
  expect(R"({"type":"number","minimum":-1.25,"maximum":10.5})",
         {"-1.25", "-1.2", "-1", "-0.001", "0", "0.0", "10", "10.5", "10.500000", "9.999"},
         {"-1.26", "-1.250001", "-2", "10.51", "11", "10.500001", "1e1", "-10", "100"});
  expect(R"({"type":"number","exclusiveMinimum":0,"exclusiveMaximum":1})", {"0.1", "0.000001", "0.99"},
         {"0", "0.0", "1", "1.0", "-0.5"});
  expect(R"({"type":"number","minimum":0,"multipleOf":0.01})", {"1.25", "0.1", "3"}, {"1.255", "-1"});
}

TEST(JsonSchema, DecimalsAgainstArithmetic) {
  // All decimals of two places around the bounds, in hundredths.
  const int bounds[] = {-250, -101, -100, -99, -5, 0, 5, 99, 100, 101, 110, 1000, 1005};
  const auto text = [](int hundredths) {
    std::string out = hundredths < 0 ? "-" : "";
    const int x = std::abs(hundredths);
    return out + std::to_string(x / 100) + "." + std::to_string(x / 10 % 10) + std::to_string(x % 10);
  };
  for (const int low : bounds) {
    for (const int high : bounds) {
      if (low >= high) continue;
      const auto grammar = Grammar::from_json_schema(R"({"type":"number","exclusiveMinimum":)" + text(low) +
                                                     R"(,"maximum":)" + text(high) + "}");
      for (int x = -260; x <= 1100; x += std::abs(x) < 120 ? 1 : 3) {
        if (x == 0) continue;
        ASSERT_EQ(matches(grammar, text(x)), x > low && x <= high) << text(low) << " " << text(x) << " " << text(high);
      }
    }
  }
}

TEST(JsonSchema, ReferencesAndBranches) {
  expect(R"({"$defs":{"a/b":{"enum":[1]}},"type":"array","items":{"$ref":"#/$defs/a~1b"}})", {"[1,1]"}, {"[2]"});
  expect(R"({"anyOf":[{"enum":["ab"]},{"enum":["abc",12]},{"type":"integer","minimum":120,"maximum":129}]})",
         {R"("ab")", R"("abc")", "12", "120", "129"}, {R"("a")", "1", "130", "119"});
  expect(R"({"allOf":[{"type":"null"}]})", {"null"}, {"1"});
  expect(R"({"type":["string","null"],"maxLength":1})", {"null", R"("a")"}, {R"("ab")"});
  expect(R"({"enum":[1,"a",null],"type":["string","null"]})", {R"("a")", "null"}, {"1"});
  expect(R"({"const":"a\nb\u0001\"é"})", {R"("a\nb\u0001\"é")"}, {R"("a")"});
  expect(R"({"const":18446744073709551616})", {"18446744073709551616"}, {"1"});
  const auto tree = Grammar::from_json_schema(R"({"type":"array","items":{"$ref":"#"}})");
  EXPECT_TRUE(matches(tree, "[[],[[]]]"));
  EXPECT_TRUE(matches(tree, std::string(32, '[') + std::string(32, ']')));
  EXPECT_FALSE(matches(tree, std::string(34, '[') + std::string(34, ']'))) << "the limit of levels";
}

TEST(JsonSchema, RefusalsNameThePath) {
  refused(R"({"type":"object","properties":{"x":{"type":"object","minProperties":1}}})",
          "$.properties.x.minProperties: is not supported");
  refused(R"({"patternProperties":{}})", "$.patternProperties");
  refused(R"({"type":"string","minLength":5,"maxLength":2})", "minLength 5");
  refused(R"({"type":"array","minItems":5,"maxItems":2})", "minItems 5");
  refused(R"({"type":"integer","minimum":5,"maximum":2})", "no number");
  refused(R"({"type":"integer","minimum":0.2,"maximum":0.8})", "no number");
  refused(R"({"type":"number","minimum":5,"exclusiveMaximum":5})", "no number");
  refused(R"({"type":"integer","minimum":8,"maximum":13,"multipleOf":7})", "contradict");
  refused(R"({"enum":[]})", "$.enum");
  refused(R"({"enum":[1],"type":"string"})", "$.enum");
  refused(R"({"const":1,"type":"string"})", "$.const");
  refused(R"({"required":["x"],"properties":{},"additionalProperties":false})", "`x`");
  refused(R"({"required":["x"],"properties":{"y":{}}})", "`x`");
  refused(R"({"type":"strin"})", "$.type");
  refused(R"({"type":[]})", "$.type");
  refused(R"({"type":"string","minimum":1})", "$.minimum");
  refused(R"({"$ref":"#/$defs/x"})", "#/$defs/x");
  refused(R"({"$ref":"http://example.com"})", "supported are");
  refused(R"({"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"})", "refers to itself");
  refused(R"({"$ref":"#"})", "refers to itself");
  refused(R"({"type":"object","properties":{"x":{"$ref":"#"}},"required":["x"]})", "never end");
  refused(R"({"allOf":[{},{}]})", "$.allOf");
  refused(R"({"anyOf":[]})", "$.anyOf");
  refused(R"({"anyOf":[{}],"type":"string"})", "beside");
  refused(R"({"type":"string","format":"ipv4"})", "\"ipv4\"");
  refused(R"({"type":"array","uniqueItems":true})", "$.uniqueItems");
  refused(R"({"type":"array","items":[{}]})", "prefixItems");
  refused("false", "is false");
  refused("3", "must be a schema");
  refused("{", "JSON");
  refused(R"({"type":"number","multipleOf":0.3})", "$.multipleOf");
  refused(R"({"type":"string","maxLength":-1})", "$.maxLength");
  refused(R"({"type":"string","maxLength":1000000000})", "$.maxLength");
  refused(R"({"pattern":"(?=a)b"})", "a lookahead");
  refused(R"({"pattern":"(a)\\1"})", "a back reference");
  refused(R"({"pattern":"\\bfoo"})", "a word boundary");
  refused(R"({"pattern":"a^b"})", "`^`");
  refused(R"({"pattern":"(ab"})", "`(` without");
  refused(R"({"pattern":"^[A-Z]$","minLength":2})", "contradict");
}

}  // namespace
}  // namespace qwen35::test
