#include "constraint/json_values.h"

#include <array>

namespace qwen35::constraint {

ExprId JsonValues::one_of(std::string_view bytes) {
  std::vector<ExprId> parts;
  for (const char c : bytes) {
    parts.push_back(out_.byte_ranges({{static_cast<std::uint8_t>(c), static_cast<std::uint8_t>(c)}}));
  }
  return out_.choice(std::move(parts));
}

ExprId JsonValues::free_character() {
  const CodePoints direct = CodePoints({{0x20, 0x10FFFF}}).minus(CodePoints({{'"', '"'}, {'\\', '\\'}}));
  const auto hex = [&](std::string_view first) {
    std::vector<ExprId> parts;
    for (std::size_t i = 0; i + 1 < first.size(); i += 2) {
      parts.push_back(
          out_.byte_ranges({{static_cast<std::uint8_t>(first[i]), static_cast<std::uint8_t>(first[i + 1])}}));
    }
    return out_.choice(std::move(parts));
  };
  const ExprId any = hex("09afAF");
  const ExprId d = hex("ddDD");
  const ExprId u = out_.bytes("u");
  const ExprId unicode = out_.sequence({out_.bytes("\\u"), hex("09acefACEF"), any, any, any});
  const ExprId below_surrogates = out_.sequence({out_.bytes("\\u"), d, hex("07"), any, any});
  const ExprId pair =
      out_.sequence({out_.bytes("\\u"), d, hex("89abAB"), any, any, out_.bytes("\\"), u, d, hex("cfCF"), any, any});
  const ExprId simple = out_.sequence({out_.bytes("\\"), one_of("\"\\/bfnrt")});
  return out_.choice({out_.code_points(direct), simple, unicode, below_surrogates, pair});
}

std::string JsonValues::plain(std::string_view text) {
  constexpr std::string_view hex = "0123456789abcdef";
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += "\\u00";
          out += hex[static_cast<unsigned char>(c) >> 4];
          out += hex[static_cast<unsigned char>(c) & 15];
        } else {
          out += c;
        }
    }
  }
  return out;
}

ExprId JsonValues::plain_character(const CodePoints& set) {
  const CodePoints special({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}});
  std::vector<ExprId> parts;
  const CodePoints direct = set.minus(special);
  if (!direct.empty()) parts.push_back(out_.code_points(direct));
  for (const CodePointRange& range : special.ranges()) {
    for (char32_t c = range.first; c <= range.last; ++c) {
      const char byte = static_cast<char>(c);
      if (set.contains(c)) parts.push_back(out_.bytes(plain(std::string_view(&byte, 1))));
    }
  }
  return out_.choice(std::move(parts));
}

ExprId JsonValues::plain_content() { return out_.repeat(plain_character(CodePoints::all()), 0, unbounded); }

ExprId JsonValues::quoted(ExprId content) { return out_.sequence({out_.bytes("\""), content, out_.bytes("\"")}); }

ExprId JsonValues::any_string() { return quoted(out_.repeat(free_character(), 0, unbounded)); }

ExprId JsonValues::boolean() { return out_.choice({out_.bytes("true"), out_.bytes("false")}); }

ExprId JsonValues::null() { return out_.bytes("null"); }

ExprId JsonValues::member(ExprId key, ExprId value) {
  return out_.sequence({key, out_.bytes(":"), out_.optional(out_.bytes(" ")), value});
}

ExprId JsonValues::any_object() {
  ListExpr list;
  list.open = "{";
  list.close = "}";
  list.has_rest = true;
  list.rest = member(any_string(), any_value());
  return out_.list(std::move(list));
}

ExprId JsonValues::any_array() {
  ListExpr list;
  list.open = "[";
  list.close = "]";
  list.has_rest = true;
  list.rest = any_value();
  return out_.list(std::move(list));
}

ExprId JsonValues::any_value() {
  if (!any_) {
    any_ = out_.add_rule("any JSON value");
    out_.define(*any_, out_.choice({any_string(), any_number(), boolean(), null(), any_object(), any_array()}));
  }
  return out_.rule(*any_);
}

ExprId JsonValues::constant(const nlohmann::ordered_json& value) {
  ListExpr list;
  if (value.is_object()) {
    list.open = "{";
    list.close = "}";
    for (const auto& [key, item] : value.items()) {
      list.items.push_back({member(out_.bytes('"' + plain(key) + '"'), constant(item)), true});
    }
    return out_.list(std::move(list));
  }
  if (value.is_array()) {
    list.open = "[";
    list.close = "]";
    for (const auto& item : value) list.items.push_back({constant(item), true});
    return out_.list(std::move(list));
  }
  if (value.is_string()) return out_.bytes('"' + plain(value.get_ref<const std::string&>()) + '"');
  if (value.is_binary()) {
    // An integer beyond 64 bits, kept as its digits.
    const auto& digits = value.get_binary();
    return out_.bytes(std::string(digits.begin(), digits.end()));
  }
  return out_.bytes(value.dump());
}

}  // namespace qwen35::constraint
