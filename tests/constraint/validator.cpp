#include "constraint/validator.h"

#include <cmath>
#include <regex>

namespace qwen35::test {
namespace {

using Json = nlohmann::json;

bool is_integer(const Json& value) {
  return value.is_number_integer() ||
         (value.is_number_float() && std::floor(value.get<double>()) == value.get<double>());
}

bool has_type(const Json& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "number") return value.is_number();
  if (type == "integer") return value.is_number() && is_integer(value);
  if (type == "boolean") return value.is_boolean();
  return type == "null" && value.is_null();
}

std::size_t code_points(const std::string& text) {
  std::size_t n = 0;
  for (const char c : text) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return n;
}

/// Well-formed UTF-8 as wide characters, for std::wregex. (wchar_t has 32 bits on every platform that we test on.)
std::wstring wide(const std::string& text) {
  std::wstring out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0) == 0x80) {
      out.back() = static_cast<wchar_t>(out.back() * 64 + (byte & 0x3F));
    } else {
      out += static_cast<wchar_t>(byte < 0x80   ? byte
                                  : byte < 0xE0 ? byte & 0x1F
                                  : byte < 0xF0 ? byte & 0x0F
                                                : byte & 7);
    }
  }
  return out;
}

bool is_date(const std::string& text) {
  static const std::regex form(R"((\d{4})-(\d\d)-(\d\d))");
  std::smatch part;
  if (!std::regex_match(text, part, form)) return false;
  const int year = std::stoi(part[1]);
  const int month = std::stoi(part[2]);
  const int day = std::stoi(part[3]);
  const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  const int days[] = {31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1];
}

bool is_time(const std::string& text) {
  static const std::regex form(R"((\d\d):(\d\d):(\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d))");
  std::smatch part;
  return std::regex_match(text, part, form) && std::stoi(part[1]) < 24 && std::stoi(part[2]) < 60 &&
         std::stoi(part[3]) < 60;
}

bool has_format(const std::string& text, const std::string& format) {
  if (format == "date") return is_date(text);
  if (format == "time") return is_time(text);
  if (format == "date-time") {
    return text.size() > 11 && text[10] == 'T' && is_date(text.substr(0, 10)) && is_time(text.substr(11));
  }
  if (format == "uuid") return std::regex_match(text, std::regex("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"));
  return format == "email" && std::regex_match(text, std::regex(R"([\w.+-]+@[\w-]+(\.[\w-]+)+)"));
}

std::string check_number(const Json& value, const Json& schema) {
  const double x = value.get<double>();
  if (schema.contains("minimum") && x < schema["minimum"].get<double>()) return "below minimum";
  if (schema.contains("maximum") && x > schema["maximum"].get<double>()) return "above maximum";
  if (schema.contains("exclusiveMinimum") && x <= schema["exclusiveMinimum"].get<double>()) return "not above";
  if (schema.contains("exclusiveMaximum") && x >= schema["exclusiveMaximum"].get<double>()) return "not below";
  if (schema.contains("multipleOf")) {
    const double times = x / schema["multipleOf"].get<double>();
    if (std::abs(times - std::round(times)) > 1e-6 * std::max(1.0, std::abs(times))) return "no multiple";
  }
  return "";
}

std::string check_string(const Json& value, const Json& schema) {
  const auto text = value.get<std::string>();
  if (schema.contains("minLength") && code_points(text) < schema["minLength"].get<std::size_t>()) return "too short";
  if (schema.contains("maxLength") && code_points(text) > schema["maxLength"].get<std::size_t>()) return "too long";
  if (schema.contains("format") && !has_format(text, schema["format"])) return "not of the format: " + text;
  if (schema.contains("pattern") &&
      !std::regex_search(wide(text), std::wregex(wide(schema["pattern"].get<std::string>())))) {
    return "not of the pattern: " + text;
  }
  return "";
}

std::string check_object(const Json& value, const Json& schema, const Json& root) {
  for (const Json& name : schema.value("required", Json::array())) {
    if (!value.contains(name.get<std::string>())) return "lacks " + name.dump();
  }
  for (const auto& [name, item] : value.items()) {
    std::string wrong;
    if (schema.contains("properties") && schema["properties"].contains(name)) {
      wrong = validate(item, schema["properties"][name], root);
    } else if (schema.contains("additionalProperties")) {
      wrong = validate(item, schema["additionalProperties"], root);
    }
    if (!wrong.empty()) return name + ": " + wrong;
  }
  return "";
}

std::string check_array(const Json& value, const Json& schema, const Json& root) {
  if (schema.contains("minItems") && value.size() < schema["minItems"].get<std::size_t>()) return "too few items";
  if (schema.contains("maxItems") && value.size() > schema["maxItems"].get<std::size_t>()) return "too many items";
  const Json prefix = schema.value("prefixItems", Json::array());
  for (std::size_t i = 0; i < value.size(); ++i) {
    std::string wrong;
    if (i < prefix.size()) {
      wrong = validate(value[i], prefix[i], root);
    } else if (schema.contains("items")) {
      wrong = validate(value[i], schema["items"], root);
    }
    if (!wrong.empty()) return "item " + std::to_string(i) + ": " + wrong;
  }
  return "";
}

}  // namespace

std::string validate(const Json& value, const Json& schema, const Json& root) {
  if (schema.is_boolean()) return schema.get<bool>() ? "" : "nothing is allowed";
  if (schema.contains("$ref")) {
    return validate(value, root.at(Json::json_pointer(schema["$ref"].get<std::string>().substr(1))), root);
  }
  for (const char* keyword : {"anyOf", "oneOf", "allOf"}) {
    if (!schema.contains(keyword)) continue;
    std::string wrong = "no branch";
    for (const Json& branch : schema[keyword]) {
      if (validate(value, branch, root).empty()) wrong.clear();
    }
    if (!wrong.empty()) return wrong;
  }
  if (schema.contains("const") && value != schema["const"]) return "not the constant";
  if (schema.contains("enum")) {
    bool found = false;
    for (const Json& option : schema["enum"]) found = found || option == value;
    if (!found) return "not in enum: " + value.dump();
  }
  if (schema.contains("type")) {
    bool found = false;
    const Json types = schema["type"].is_array() ? schema["type"] : Json::array({schema["type"]});
    for (const Json& type : types) found = found || has_type(value, type);
    if (!found) return "not of type " + types.dump() + ": " + value.dump();
  }
  if (value.is_number()) return check_number(value, schema);
  if (value.is_string()) return check_string(value, schema);
  if (value.is_object()) return check_object(value, schema, root);
  if (value.is_array()) return check_array(value, schema, root);
  return "";
}

}  // namespace qwen35::test
