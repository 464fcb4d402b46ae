#include "text/tool_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "text/chat_template.h"
#include "text/tool_calls.h"

namespace qwen35 {
namespace {

using Json = nlohmann::ordered_json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

SchemaCheck check(const std::string& schema, const std::string& value) {
  const Json parsed = parse_json(schema, "schema");
  return check_json(parse_json(value, "value"), parsed, parsed, "arguments");
}

/// The one problem, "" if there is none; nothing may be unchecked.
std::string problem(const std::string& schema, const std::string& value) {
  const SchemaCheck result = check(schema, value);
  EXPECT_THAT(result.unchecked, IsEmpty()) << schema;
  EXPECT_LE(result.problems.size(), 1U) << schema;
  return result.problems.empty() ? "" : result.problems.front();
}

TEST(SchemaCheck, Types) {
  const std::vector<std::pair<std::string, std::string>> fitting = {
      {"string", "\"x\""}, {"integer", "-3"}, {"integer", "3.0"},   {"integer", "123456789012345678901234567890"},
      {"number", "3"},     {"number", "2.5"}, {"boolean", "false"}, {"null", "null"},
      {"array", "[1]"},    {"object", "{}"},
  };
  for (const auto& [type, value] : fitting) {
    EXPECT_EQ(problem("{\"type\": \"" + type + "\"}", value), "") << type << value;
    for (const std::string other : {"string", "integer", "boolean", "null", "array", "object"}) {
      if (other == type || (type == "number" && other == "integer")) continue;
      EXPECT_THAT(problem("{\"type\": \"" + other + "\"}", value), HasSubstr("expected the type \"" + other + "\""));
    }
  }
  EXPECT_EQ(problem(R"({"type": ["integer", "null"]})", "null"), "");
  EXPECT_EQ(problem(R"({"type": ["integer", "null"]})", "\"5\""),
            R"(arguments is "5"; expected one of the types ["integer", "null"])");
  EXPECT_THAT(problem(R"({"type": "integer"})", "2.5"), HasSubstr("is 2.5"));
}

TEST(SchemaCheck, ValuesBoundsAndLengths) {
  EXPECT_EQ(problem(R"({"enum": ["a", 1, {"x": 1, "y": [2]}]})", R"({"y": [2.0], "x": 1})"), "");
  EXPECT_EQ(problem(R"({"enum": ["celsius", "fahrenheit"]})", "\"kelvin\""),
            R"(arguments is "kelvin"; expected one of ["celsius", "fahrenheit"])");
  EXPECT_EQ(problem(R"({"const": 5})", "4"), "arguments is 4; expected 5");
  EXPECT_EQ(problem(R"({"minimum": 1, "maximum": 59})", "59"), "");
  EXPECT_EQ(problem(R"({"minimum": 1, "maximum": 59})", "60"), "arguments is 60; expected at most 59");
  EXPECT_EQ(problem(R"({"minimum": 1})", "-1.5"), "arguments is -1.5; expected at least 1");
  EXPECT_EQ(problem(R"({"exclusiveMinimum": 1})", "1"), "arguments is 1; expected more than 1");
  EXPECT_EQ(problem(R"({"exclusiveMaximum": 1})", "0.5"), "");
  EXPECT_EQ(problem(R"({"maximum": 9007199254740992})", "9007199254740993"),
            "arguments is 9007199254740993; expected at most 9007199254740992");
  EXPECT_THAT(problem(R"({"maximum": 5})", "123456789012345678901234567890"), HasSubstr("at most 5"));
  EXPECT_EQ(problem(R"({"minimum": 5})", "\"no number\""), "");
  EXPECT_EQ(problem(R"({"maxLength": 2})", "\"中文\""), "");
  EXPECT_EQ(problem(R"({"maxLength": 2})", "\"中文字\""), "arguments is \"中文字\"; expected at most 2 characters");
  EXPECT_EQ(problem(R"({"minLength": 1})", "\"\""), "arguments is \"\"; expected at least 1 characters");
  EXPECT_EQ(problem(R"({"minItems": 1})", "[]"), "arguments is []; expected at least 1 items");
  EXPECT_EQ(problem(R"({"pattern": "^\\d{2}:\\d{2}$"})", "\"07:30\""), "");
  EXPECT_THAT(problem(R"({"pattern": "^\\d{2}:\\d{2}$"})", "\"7:30\\n\""), HasSubstr("a match of the pattern"));
  EXPECT_EQ(problem(R"({"pattern": "b"})", "\"abc\""), "");  // unanchored
}

TEST(SchemaCheck, ObjectsAndArraysAreWalked) {
  const std::string schema = R"({"type": "object", "required": ["city", "days"], "additionalProperties": false,
      "properties": {"city": {"type": "string"}, "days": {"type": "array", "items": {"type": "object",
      "properties": {"hour": {"type": "integer", "maximum": 23}}}}}})";
  EXPECT_EQ(problem(schema, R"({"city": "Paris", "days": [{"hour": 3}, {}]})"), "");
  EXPECT_EQ(problem(schema, R"({"city": "Paris", "days": [{"hour": 3}, {"hour": 24}]})"),
            "arguments.days[1].hour is 24; expected at most 23");
  EXPECT_THAT(check(schema, R"({"cty": "Paris"})").problems,
              ElementsAre(R"(arguments has no "city"; expected it, as it is required)",
                          R"(arguments has no "days"; expected it, as it is required)",
                          R"(arguments has "cty", which is not known; expected only the properties of its schema)"));
  EXPECT_THAT(problem(R"({"additionalProperties": {"type": "integer"}})", R"({"a": 1, "b": "x"})"),
              HasSubstr("arguments.b is \"x\""));
  EXPECT_EQ(problem(R"({"properties": {"a": false}})", R"({"b": 1})"), "");
  EXPECT_THAT(problem(R"({"properties": {"a": false}})", R"({"a": 1})"), HasSubstr("arguments.a is 1"));
}

TEST(SchemaCheck, Alternatives) {
  const std::string any = R"({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]})";
  EXPECT_EQ(problem(any, "3"), "");
  EXPECT_EQ(problem(any, "null"), "");
  EXPECT_EQ(problem(any, "-1"),
            "arguments fits none of the 2 forms it may have; of the first: arguments is -1; expected at least 0");
  const std::string one = R"({"oneOf": [{"minimum": 0}, {"maximum": 10}]})";
  EXPECT_EQ(problem(one, "11"), "");
  EXPECT_THAT(problem(one, "5"), HasSubstr("fits 2 of 2 forms"));
  EXPECT_THAT(problem(R"({"allOf": [{"minimum": 0}, {"maximum": 10}]})", "11"), HasSubstr("at most 10"));
}

TEST(SchemaCheck, References) {
  const std::string schema = R"({"$defs": {"node": {"type": "object", "properties": {"value": {"type": "integer"},
      "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}, "a/b~c": {"type": "null"}},
      "properties": {"list": {"$ref": "#/$defs/node"}, "odd": {"$ref": "#/$defs/a~1b~0c"}}})";
  EXPECT_EQ(problem(schema, R"({"list": {"value": 1, "next": {"value": 2, "next": null}}, "odd": null})"), "");
  EXPECT_THAT(problem(schema, R"({"list": {"value": 1, "next": {"value": "x", "next": null}}})"),
              HasSubstr("arguments.list.next fits none"));
  EXPECT_THAT(check(R"({"$ref": "#/$defs/none"})", "1").unchecked,
              ElementsAre("arguments: $ref (#/$defs/none is not in this schema)"));
  EXPECT_THAT(check(R"({"$ref": "http://example.org/x"})", "1").unchecked, testing::SizeIs(1));
}

TEST(SchemaCheck, WhatItDoesNotKnowIsNamed) {
  const SchemaCheck result = check(R"({"title": "t", "description": "d", "default": 1, "format": "date", "not": {},
      "properties": {"a": {"multipleOf": 5}}, "minimum": "five", "type": "thing", "required": "a",
      "pattern": "("})",
                                   R"({"a": 3})");
  EXPECT_THAT(result.problems, IsEmpty());
  EXPECT_THAT(result.unchecked, ElementsAre("arguments: format", "arguments: not", "arguments.a: multipleOf",
                                            "arguments: minimum", "arguments: type", "arguments: required"));
  EXPECT_THAT(check(R"({"pattern": "("})", "\"x\"").unchecked, ElementsAre("arguments: pattern (it does not compile)"));
  EXPECT_THAT(check(R"({"additionalProperties": false, "patternProperties": {"^x": {}}})", R"({"x": 1})").unchecked,
              ElementsAre("arguments: additionalProperties", "arguments: patternProperties"));
  EXPECT_THAT(check("[1]", "1").unchecked, testing::SizeIs(1));
}

TEST(SchemaCheck, HostileSchemasAndValuesEndInAProblem) {
  EXPECT_THAT(problem(R"({"$ref": "#"})", "1"), HasSubstr("leads to itself"));
  // Two ways at each of 60 levels: 2^60 steps without a limit.
  std::string deep = "1";
  for (int i = 0; i < 60; ++i) deep = "[" + deep + "]";
  const std::string twice = R"({"anyOf": [{"items": {"$ref": "#"}, "type": "array"}, {"items": {"$ref": "#"}}],
      "type": "array"})";
  EXPECT_THAT(check(twice, deep).problems, testing::Not(IsEmpty()));
  const std::string long_text(10000, 'a');
  EXPECT_THAT(problem(R"({"pattern": "^(a+)+$"})", "\"" + long_text + "!\""), HasSubstr("takes too long"));
  std::string wide = "[";
  for (int i = 0; i < 300000; ++i) wide += "1,";
  EXPECT_THAT(check(R"({"items": {"type": "integer"}})", wide + "1]").problems, testing::SizeIs(1));
  EXPECT_THAT(check(R"({"items": {"type": "string"}})", wide + "1]").problems, testing::SizeIs(16));
  const SchemaCheck long_value = check(R"({"type": "integer"})", "\"" + long_text + "\"");
  EXPECT_LT(long_value.problems.at(0).size(), 150U);
  EXPECT_LT(check(R"({"additionalProperties": false})", "{\"" + long_text + "\": 1}").problems.at(0).size(), 200U);
}

const Json& tools() {
  static const Json value = parse_json(R"([{"type": "function", "function": {"name": "set_timer", "parameters": {
      "type": "object", "required": ["minutes"], "properties": {"minutes": {"type": "integer", "minimum": 1}}}}},
      {"name": "bare"}])",
                                       "tools");
  return value;
}

TEST(ToolSchema, ChecksNameAndArguments) {
  EXPECT_THAT(check_tool_call(tools(), {"set_timer", R"({"minutes": 5})"}).problems, IsEmpty());
  EXPECT_THAT(check_tool_call(tools(), {"set_timer", R"({"minutes": "five"})"}).problems,
              ElementsAre(R"(arguments.minutes is "five"; expected the type "integer")"));
  EXPECT_THAT(check_tool_call(tools(), {"set_alarm", "{}"}).problems,
              ElementsAre("there is no tool \"set_alarm\"; expected one of: set_timer, bare"));
  EXPECT_THAT(check_tool_call(nullptr, {"x", "{}"}).problems,
              ElementsAre("there is no tool \"x\"; expected one of: none"));
  EXPECT_THAT(check_tool_call(tools(), {"set_timer", "[1]"}).problems, ElementsAre(HasSubstr("no JSON object")));
  EXPECT_THAT(check_tool_call(tools(), {"set_timer", "{"}).problems, ElementsAre(HasSubstr("cannot be read as JSON")));
  EXPECT_THAT(check_tool_call(tools(), {"bare", R"({"x": 1})"}).unchecked, testing::SizeIs(1));
}

/// A parameter whose type stands behind a $ref, or in its enum alone, is read as that type.
TEST(ToolSchema, ArgumentsAreTypedThroughReferences) {
  const Json definitions = parse_json(R"([{"name": "f", "parameters": {"$defs": {"size": {"type": "integer"},
      "box": {"type": "object"}}, "properties": {"size": {"$ref": "#/$defs/size"}, "level": {"enum": [1, 2, null]},
      "box": {"anyOf": [{"$ref": "#/$defs/box"}, {"type": "null"}]}, "word": {"enum": ["1", "2"]},
      "loop": {"$ref": "#/properties/loop"}}}}])",
                                      "tools");
  EXPECT_EQ(typed_argument(definitions, "f", "size", "5"), Json(5));
  EXPECT_EQ(typed_argument(definitions, "f", "level", "2"), Json(2));
  EXPECT_EQ(typed_argument(definitions, "f", "level", "None"), Json(nullptr));
  EXPECT_EQ(typed_argument(definitions, "f", "word", "1"), Json("1"));
  EXPECT_EQ(typed_argument(definitions, "f", "loop", "1"), Json("1"));
  EXPECT_EQ(typed_argument(definitions, "f", "box", R"({"x": 1})"), Json({{"x", 1}}));
}

}  // namespace
}  // namespace qwen35
