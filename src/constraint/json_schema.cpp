#include "constraint/json_schema.h"

#include <algorithm>

#include "constraint/schema_reader.h"
#include "text/chat_template.h"
#include "text/utf8.h"

namespace qwen35::constraint {
namespace {

constexpr int depth_limit = 64;
constexpr std::size_t size_limit = std::size_t{4} << 20;  // bytes
constexpr std::size_t enum_limit = 20'000;

constexpr std::string_view annotations[] = {"title", "description", "default",    "examples", "example",   "$schema",
                                            "$id",   "$comment",    "deprecated", "readOnly", "writeOnly", "$anchor"};
constexpr std::string_view object_keywords[] = {"properties", "required", "additionalProperties"};
constexpr std::string_view array_keywords[] = {"items", "prefixItems", "minItems", "maxItems"};
constexpr std::string_view string_keywords[] = {"pattern", "minLength", "maxLength", "format"};
constexpr std::string_view number_keywords[] = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
                                                "multipleOf"};
constexpr std::string_view type_names[] = {"object", "array", "string", "number", "integer", "boolean", "null"};

template <std::size_t n>
bool among(const std::string_view (&names)[n], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

bool has_type(const nlohmann::ordered_json& value, const std::set<std::string>& types) {
  if (value.is_object()) return types.contains("object");
  if (value.is_array()) return types.contains("array");
  if (value.is_string()) return types.contains("string");
  if (value.is_boolean()) return types.contains("boolean");
  if (value.is_null()) return types.contains("null");
  if (types.contains("number")) return true;
  if (!types.contains("integer")) return false;
  if (!value.is_number_float()) return true;
  const double number = value.get<double>();
  return number == static_cast<double>(static_cast<std::int64_t>(std::clamp(number, -9e18, 9e18)));
}

}  // namespace

const SchemaReader::Json* SchemaReader::At::find(const char* keyword) const {
  const auto it = schema.find(keyword);
  return it == schema.end() ? nullptr : &*it;
}

SchemaReader::At SchemaReader::At::member(const Json& value, const std::string& name) const {
  constexpr std::size_t longest = 60;
  if (depth >= depth_limit) {
    refuse(path.substr(0, 200), "schemas are nested deeper than " + std::to_string(depth_limit) + " levels");
  }
  std::string shown_name = to_valid_utf8(name.substr(0, longest));
  return {value, path + "." + shown_name + (name.size() > longest ? "..." : ""), depth + 1};
}

std::string SchemaReader::shown(const Json& value) {
  constexpr std::size_t longest = 60;
  std::string text = value.is_binary() ? std::string("a number beyond 64 bits") : value.dump();
  if (text.size() > longest) text = to_valid_utf8(text.substr(0, longest)) + "...";
  return text;
}

RuleId SchemaReader::read() {
  const RuleId start = out_.add_rule("the schema at $");
  references_.emplace("#", start);
  pending_.emplace_back(start, "#");
  // References are followed here, one after the other, not where they stand: they may go round.
  while (!pending_.empty()) {
    const auto [rule, pointer] = pending_.back();
    pending_.pop_back();
    if (pointer == "#") {
      out_.define(rule, any({root_, "$", 0}));
      continue;
    }
    const std::size_t slash = pointer.find('/', 2);
    const std::string folder = pointer.substr(2, slash - 2);
    const std::string name = pointer.substr(slash + 1);
    out_.define(rule, any(At{root_, "$", 0}.member(root_.at(folder), folder).member(root_.at(folder).at(name), name)));
  }
  return start;
}

void SchemaReader::check_keywords(const At& at) const {
  for (const auto& [name, value] : at.schema.items()) {
    if (among(annotations, name) || among(object_keywords, name) || among(array_keywords, name) ||
        among(string_keywords, name) || among(number_keywords, name)) {
      continue;
    }
    constexpr std::string_view others[] = {"type", "enum", "const", "$ref", "anyOf", "oneOf", "allOf"};
    if (among(others, name)) continue;
    if (name == "$defs" || name == "definitions") {
      if (at.depth == 0 && value.is_object()) continue;
      refuse(at.path + "." + name, "is supported only as an object at the top of the schema");
    }
    if (name == "uniqueItems" && value == false) continue;
    refuse(at.member(value, name).path,
           "is not supported; supported are type, enum, const, properties, required, additionalProperties, items, "
           "prefixItems, minItems, maxItems, pattern, minLength, maxLength, format, minimum, maximum, "
           "exclusiveMinimum, exclusiveMaximum, multipleOf, $ref, anyOf, oneOf, allOf (of one), $defs and definitions");
  }
}

void SchemaReader::only_beside(const At& at, const char* keyword,
                               std::initializer_list<std::string_view> allowed) const {
  for (const auto& [name, value] : at.schema.items()) {
    if (name == keyword || among(annotations, name) || name == "$defs" || name == "definitions") continue;
    if (std::find(allowed.begin(), allowed.end(), name) != allowed.end()) continue;
    refuse(at.path, "`" + name + "` beside `" + keyword + "` is not supported; put both into one schema");
  }
}

ExprId SchemaReader::any(const At& at) {
  if (at.schema.is_boolean()) {
    if (at.schema == true) return values_.any_value();
    refuse(at.path, "is false: no value is valid");
  }
  if (!at.schema.is_object()) refuse(at.path, "must be a schema (an object or true), found " + shown(at.schema));
  check_keywords(at);
  if (const Json* pointer = at.find("$ref")) return reference(at, *pointer);
  for (const char* keyword : {"anyOf", "oneOf", "allOf"}) {
    if (at.find(keyword) != nullptr) return branches(at, keyword);
  }
  const std::set<std::string> types = types_of(at);
  if (at.find("enum") != nullptr || at.find("const") != nullptr) return enumeration(at, types);
  if (types.size() == std::size(type_names) - 1 && at.find("type") == nullptr) return values_.any_value();
  std::vector<ExprId> options;
  // In the order of the keyword, so that the grammar of a schema is always the same.
  for (const std::string_view type : type_names) {
    if (types.contains(std::string(type))) options.push_back(one_type(at, std::string(type)));
  }
  return options.size() == 1 ? options[0] : out_.choice(std::move(options));
}

std::set<std::string> SchemaReader::types_of(const At& at) const {
  std::set<std::string> types;
  const Json* given = at.find("type");
  const auto add = [&](const Json& name) {
    if (!name.is_string() || !among(type_names, name.get_ref<const std::string&>())) {
      refuse(at.path + ".type",
             "found " + shown(name) +
                 "; supported are object, array, string, number, integer, boolean, null and lists of them");
    }
    types.insert(name.get<std::string>());
  };
  if (given != nullptr && given->is_array()) {
    if (given->empty()) refuse(at.path + ".type", "is an empty list: no value is valid");
    for (const Json& name : *given) add(name);
  } else if (given != nullptr) {
    add(*given);
  } else {
    // Without a type, its own keywords tell: `properties` means an object.
    for (const auto& item : at.schema.items()) {
      if (among(object_keywords, item.key())) types.insert("object");
      if (among(array_keywords, item.key())) types.insert("array");
      if (among(string_keywords, item.key())) types.insert("string");
      if (among(number_keywords, item.key())) types.insert("number");
    }
    if (types.empty()) types = {"object", "array", "string", "number", "boolean", "null"};
    return types;
  }
  if (types.contains("number")) types.erase("integer");
  for (const auto& [name, value] : at.schema.items()) {
    const bool fits = (!among(object_keywords, name) || types.contains("object")) &&
                      (!among(array_keywords, name) || types.contains("array")) &&
                      (!among(string_keywords, name) || types.contains("string")) &&
                      (!among(number_keywords, name) || types.contains("number") || types.contains("integer"));
    if (!fits)
      refuse(at.path + "." + name, "says nothing about the type " + shown(*given) + "; take it out or add its type");
  }
  return types;
}

ExprId SchemaReader::one_type(const At& at, const std::string& type) {
  if (type == "object") return object(at);
  if (type == "array") return array(at);
  if (type == "string") return string(at);
  if (type == "boolean") return values_.boolean();
  if (type == "null") return values_.null();
  return number(at, type == "integer");
}

ExprId SchemaReader::reference(const At& at, const Json& pointer) {
  only_beside(at, "$ref", {});
  const std::string path = at.path + ".$ref";
  if (!pointer.is_string()) refuse(path, "must be a string, found " + shown(pointer));
  std::string text = pointer.get<std::string>();
  if (text != "#") {
    const bool known = text.starts_with("#/$defs/") || text.starts_with("#/definitions/");
    if (!known || text.find('%') != std::string::npos) {
      refuse(path, "found " + shown(pointer) + "; supported are #, #/$defs/NAME and #/definitions/NAME");
    }
    const std::size_t slash = text.find('/', 2);
    const std::string folder = text.substr(2, slash - 2);
    std::string name;
    for (std::size_t i = slash + 1; i < text.size(); ++i) {
      if (text[i] == '/') refuse(path, "found " + shown(pointer) + "; a reference into a definition is not supported");
      if (text[i] != '~') {
        name += text[i];
        continue;
      }
      ++i;
      if (i >= text.size() || (text[i] != '0' && text[i] != '1'))
        refuse(path, "found " + shown(pointer) + "; `~` stands only before 0 and 1");
      name += text[i] == '0' ? '~' : '/';
    }
    const auto definitions = root_.is_object() ? root_.find(folder) : root_.end();
    if (definitions == root_.end() || !definitions->is_object() || !definitions->contains(name)) {
      refuse(path, "found " + shown(pointer) + ", which is not in the schema; define it under " + folder);
    }
    text = "#/" + folder + "/" + name;
  }
  const auto known = references_.find(text);
  if (known != references_.end()) return out_.rule(known->second);
  const RuleId rule = out_.add_rule("the schema at " + to_valid_utf8(text.substr(0, 200)));
  references_.emplace(text, rule);
  pending_.emplace_back(rule, text);
  return out_.rule(rule);
}

ExprId SchemaReader::branches(const At& at, const char* keyword) {
  only_beside(at, keyword, {});
  const Json& list = *at.find(keyword);
  const At here = at.member(list, keyword);
  if (!list.is_array() || list.empty()) refuse(here.path, "must be a list of schemas, found " + shown(list));
  if (std::string_view(keyword) == "allOf" && list.size() != 1) {
    refuse(here.path, "is supported with one schema only, found " + std::to_string(list.size()) + "; merge them");
  }
  std::vector<ExprId> options;
  for (std::size_t i = 0; i < list.size(); ++i) {
    options.push_back(any({list[i], here.path + "[" + std::to_string(i) + "]", here.depth}));
  }
  return options.size() == 1 ? options[0] : out_.choice(std::move(options));
}

ExprId SchemaReader::enumeration(const At& at, const std::set<std::string>& types) {
  const Json* list = at.find("enum");
  const Json* constant = at.find("const");
  const char* keyword = list != nullptr ? "enum" : "const";
  only_beside(at, keyword, {"type"});
  if (list == nullptr) {
    if (at.find("type") != nullptr && !has_type(*constant, types)) {
      refuse(at.path + ".const", shown(*constant) + " is not of the type beside it");
    }
    return values_.constant(*constant);
  }
  if (!list->is_array() || list->empty())
    refuse(at.path + ".enum", "must be a list of at least one value, found " + shown(*list));
  if (list->size() > enum_limit) {
    refuse(at.path + ".enum",
           "has " + std::to_string(list->size()) + " values; at most " + std::to_string(enum_limit) + " are supported");
  }
  std::vector<ExprId> options;
  for (const Json& value : *list) {
    if (at.find("type") == nullptr || has_type(value, types)) options.push_back(values_.constant(value));
  }
  if (options.empty()) refuse(at.path + ".enum", "has no value of the type beside it");
  return options.size() == 1 ? options[0] : out_.choice(std::move(options));
}

RuleId read_json_schema(std::string_view schema, Expressions& out) {
  if (schema.size() > size_limit) {
    refuse("the schema",
           "has " + std::to_string(schema.size()) + " bytes; at most " + std::to_string(size_limit) + " are supported");
  }
  const nlohmann::ordered_json root = parse_json(schema, "the schema");
  return SchemaReader(root, out).read();
}

}  // namespace qwen35::constraint
